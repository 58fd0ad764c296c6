"""The checkpoint build: the base is checked, adapters find their place, the result holds every part."""

import json

import pytest
import torch
from torch import nn

from spex_model.model import weights
from spex_model.model.weights import WeightsError, build_checkpoint, load_language, load_vision, merge_adapter


def test_an_adapter_adds_its_low_rank_product():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    before = model[0].weight.clone()
    down, up = torch.randn(1, 3), torch.randn(2, 1)
    merge_adapter(model, {"0.lora_A": down, "0.lora_B": up}, 2.0)
    torch.testing.assert_close(model[0].weight, before + 2 * up @ down)


def test_an_adapter_for_an_unknown_module_is_refused():
    with pytest.raises(WeightsError, match="elsewhere"):
        merge_adapter(
            nn.Linear(2, 2), {"elsewhere.lora_A": torch.ones(1, 2), "elsewhere.lora_B": torch.ones(2, 1)}, 1.0
        )


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"vision\.safetensors"):
        build_checkpoint(tmp_path / "cache", assets=tmp_path)


def test_a_damaged_base_is_refused(monkeypatch):
    monkeypatch.setattr(weights, "BASE_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        weights.find_base()


def test_the_shipped_checkpoint_builds_once_and_loads(tmp_path_factory):
    folder = build_checkpoint()
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert build_checkpoint() == folder and (folder / "model.safetensors").stat().st_mtime_ns == stamp
    config = json.loads((folder / "config.json").read_text())
    vision = load_vision(folder)
    model, tokenizer, projector = load_language(folder)
    assert config["architectures"] == ["SpexForConditionalGeneration"]
    assert projector.in_features == vision.config.vision_hidden_size == config["vision_hidden_size"]
    assert projector.out_features == model.config.hidden_size == vision.config.language_hidden_size
    assert tokenizer.encode("<image>", add_special_tokens=False) == [config["image_token_id"]]
