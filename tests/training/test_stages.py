"""The stages around the vision side run one after the other on tiny imagery, each from what the one before left."""

import json

import pytest
import torch
from safetensors.torch import load_file

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.config import SpexConfig
from spex_model.training import train_clicks, train_condenser, train_vision
from spex_model.training.datasets import limit_bands, synthetic_tiles

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def steps(run):
    return [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(imagery, tmp_path_factory):
    """A folder with the runs of vision, clicks and condenser, and what the condenser exported."""
    made = tmp_path_factory.mktemp("runs")
    common = ["--imagery", str(imagery), "--batch=2", "--synthetic=0", f"--threads={torch.get_num_threads()}"]
    vision = ["--run", str(made / "vision"), "--aggregated-levels=2", "--condensed-tokens=1", "--watch-every=1"]
    train_vision.main([*common, *vision, "--steps=1"])
    train_clicks.main([*common, "--vision", str(made / "vision"), "--run", str(made / "clicks"), "--steps=3"])
    train_vision.main([*common, *vision, "--steps=2"])
    replies = [
        {"tile": "landsat/2", "land_cover": cover, "held_out": False, "text": "", "states": torch.randn(7, SpexConfig().language_hidden_size)}
        for cover in LAND_COVERS
    ]  # fmt: skip
    torch.save(replies, made / "replies.pt")
    train_condenser.main([
        *common, "--vision", str(made / "vision"), "--replies", str(made / "replies.pt"), "--run", str(made / "condenser"),
        "--export", str(made / "weights"), "--imitation-steps=4", "--steps=1", "--reply-states=last",
    ])  # fmt: skip
    return made


def test_each_stage_leaves_its_log_its_options_and_its_curves(runs):
    assert steps(runs / "vision") == [1, 2] and steps(runs / "clicks") == [3] and steps(runs / "condenser") == [0, 1]
    for stage in ("vision", "clicks", "condenser"):
        assert (runs / stage / "curves.svg").read_text().startswith("<svg")
        assert "imagery: " in (runs / stage / "options.yaml").read_text()
    assert "steps: 1\n" in (runs / "vision" / "options_until_1.yaml").read_text()


def test_the_network_that_was_asked_for_is_trained_and_exported(runs):
    config = SpexConfig.load(runs / "weights" / "spex.json")
    assert (config.aggregated_levels, config.condensed_tokens, config.reply_states) == (2, 1, "last")
    weights = load_file(runs / "weights" / "vision.safetensors")
    assert weights["aggregation.lateral.1.weight"].ndim == 4 and "aggregation.lateral.2.weight" not in weights
    assert weights["click_head.out.weight"].any()  # zero until the clicks stage


def test_between_prompts_the_plain_head_learns_and_prompts_can_be_kept(runs, imagery, tmp_path):
    before = train_vision.load_prompted(runs / "vision")
    train_vision.main([
        "--imagery", str(imagery), "--batch=2", "--synthetic=0", "--run", str(tmp_path), "--begin-with", str(runs / "vision"),
        "--aggregated-levels=2", "--condensed-tokens=1", "--steps=2", "--prompt-every=2", "--keep-prompts",
        f"--threads={torch.get_num_threads()}",
    ])  # fmt: skip
    after = train_vision.load_prompted(tmp_path)
    assert torch.equal(before.prompts, after.prompts)
    assert not torch.equal(before.dense.tell.weight, after.dense.tell.weight)


def test_tiles_are_held_to_the_bands_of_a_set():
    [tile] = synthetic_tiles(iter((1,)), size=64)
    assert limit_bands(tile, "all") is tile and "swir1" in tile.bands
    assert set(limit_bands(tile, "rgbn").bands) == {"blue", "green", "red", "nir"}
    few = limit_bands(tile, "rgb")
    assert set(few.bands) == {"blue", "green", "red"} and len(few.reflectance) == 3
    assert (few.reflectance[few.bands.index("red")] == tile.reflectance[tile.bands.index("red")]).all()
