"""Pre-training hides what it asks for, learns to tell it, and hands its encoder on to the vision stage."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spex_model.imaging.bands import SLOTS
from spex_model.model.config import INDEX_CHANNELS, SpexConfig
from spex_model.training import pretrain, train_vision
from spex_model.training.datasets import UNKNOWN, synthetic_tiles
from spex_model.training.pretrain import hidden_loss
from spex_model.training.synthesis import synthesize
from spex_model.training.unlabelled import (
    MaskedCrop,
    MaskedStream,
    MaskSettings,
    folder_tiles,
    hide_blocks,
    mask_crop,
)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SETTINGS = MaskSettings(size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_image):
    """Two images without labels, and what is none."""
    made = tmp_path_factory.mktemp("images")
    (made / "north").mkdir()
    for seed, name in ((1, "a.tif"), (2, "north/b.tif")):
        write_image(made / name, synthesize(seed, size=96, sensor="sentinel2").scene)
    write_image(made / "a.label.tif", synthesize(1, size=96, sensor="sentinel2").scene)
    write_image(made / "small.tif", synthesize(3, size=32, sensor="sentinel2").scene)
    (made / "broken.tif").write_bytes(b"II*\0nothing")
    return made


def test_a_folder_gives_its_images_and_says_what_it_leaves_out(folder, caplog):
    tiles = folder_tiles(folder)
    assert [tile.name for tile in tiles] == ["a.tif", "north/b.tif"]
    assert tiles[0].gsd_m == 30 and "swir1" in tiles[0].bands and (tiles[0].covers == UNKNOWN).all()
    assert "small.tif is left out: its sides" in caplog.text and "broken.tif cannot be read" in caplog.text


@pytest.mark.parametrize("seed", range(12))
def test_what_is_asked_for_is_not_seen(seed):
    [tile] = synthetic_tiles(iter((seed,)), size=96)
    crop = mask_crop(tile, SETTINGS, np.random.default_rng(seed))
    assert crop.targets.shape == crop.wanted.shape == (len(SLOTS) + len(INDEX_CHANNELS), 64, 64)
    slots = slice(0, len(SLOTS))
    seen, shown = crop.pixel_values[len(SLOTS) : 2 * len(SLOTS)] == 1, crop.pixel_values[-3] == 1
    assert not (crop.wanted[slots] & seen).any() and (crop.pixel_values[slots][crop.wanted[slots]] == 0).all()
    assert (crop.pixel_values[slots][seen] == crop.targets[slots][seen]).all()
    assert (crop.wanted.any(0) | shown).all() and 0 < shown.float().mean() < 1
    lacking = [number for number, slot in enumerate(SLOTS) if slot not in tile.bands]
    assert not crop.wanted[lacking].any()
    again = mask_crop(tile, SETTINGS, np.random.default_rng(seed))
    assert all(torch.equal(one, two) for one, two in zip(crop, again, strict=True))


def test_about_the_asked_share_is_hidden_in_square_blocks():
    masks = [hide_blocks(MaskSettings(size=96, hidden=0.3), np.random.default_rng(seed)) for seed in range(60)]
    assert np.mean(masks) == pytest.approx(0.3, abs=0.04)
    assert all(
        (mask.reshape(12, 8, 12, 8).all((1, 3)) == mask.reshape(12, 8, 12, 8).any((1, 3))).all() for mask in masks
    )


def test_the_loss_is_blind_where_nothing_is_wanted():
    wanted = torch.zeros(1, 11, 2, 2, dtype=torch.bool)
    wanted[0, 0, 0, 0] = wanted[0, 8, 1, 1] = True
    crop = MaskedCrop(torch.zeros(1, 21, 2, 2), torch.zeros(1, 11, 2, 2), wanted)
    told = torch.full((1, 11, 2, 2), 9.0)
    told[0, 0, 0, 0], told[0, 8, 1, 1] = 0.25, -0.5
    assert hidden_loss(told, crop).item() == pytest.approx(0.75)
    assert hidden_loss(told, crop._replace(wanted=torch.zeros_like(wanted))).item() == 0


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A short run on the folder and two synthetic scenes, resumed once."""
    made = tmp_path_factory.mktemp("pretrain") / "run"
    for steps in (20, 60):
        pretrain.main([
            "--images", str(folder), "--run", str(made), "--synthetic=2", f"--steps={steps}", "--batch=8", "--size=64", "--warmup=5",
            "--lr=2e-3", "--score-every=20", f"--threads={torch.get_num_threads()}",
        ])  # fmt: skip
    return made


def test_the_loss_falls_and_a_run_goes_on_where_it_stopped(run):
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 20, 30, 40, 50, 60]
    assert records[-1]["loss"] < 0.85 * records[0]["loss"]
    scored = [record["step"] for record in records if "watched/bands error" in record]
    assert scored == [20, 40, 60] and records[-1]["watched/indices explained"] > 0.2
    assert "steps: 20" in (run / "options_until_20.yaml").read_text() and (run / "curves.svg").exists()


def test_a_seed_fixes_what_comes():
    tiles = synthetic_tiles(iter((1, 2)), size=96)
    one, same, other = (next(iter(MaskedStream(tiles, SETTINGS, seed))) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True)) and not torch.equal(
        one.targets, other.targets
    )


def test_the_vision_stage_begins_with_the_encoder_and_keeps_its_options(run, imagery, tmp_path):
    weights = load_file(run / "encoder.safetensors")
    options = train_vision_options(imagery, tmp_path / "vision", run / "encoder.safetensors")
    model = train_vision.PromptedVision(SpexConfig(aggregated_levels=1, condensed_tokens=1))
    untrained = {key: value.clone() for key, value in model.vision.encoder.state_dict().items()}
    train_vision.main(options)
    [record] = [json.loads(line) for line in (tmp_path / "vision" / "log.jsonl").read_text().splitlines()]
    assert record["step"] == 1 and 0 <= record["landsat/water"] <= 1
    trained = train_vision.load_prompted(tmp_path / "vision")
    assert trained.vision.config == model.vision.config and trained.prompts.shape[1] == 1
    moved = trained.vision.encoder.state_dict()
    assert moved.keys() == weights.keys() == untrained.keys()
    # One step with warm-up hardly moves a weight, so what is far from a fresh start must have come from the file.
    for key in ("stages.0.embed.0.weight", "stages.3.blocks.0.conv1.weight"):
        assert (moved[key] - weights[key]).abs().mean() < 0.01 * (untrained[key] - weights[key]).abs().mean()
    with pytest.raises(ValueError, match=r"was begun with .*Name another run"):
        train_vision.main([*options, "--aggregated-levels=2"])


def train_vision_options(imagery, run, encoder):
    return [
        "--imagery", str(imagery), "--run", str(run), "--encoder", str(encoder), "--steps=1", "--batch=2", "--synthetic=0", "--bands=rgb",
        "--aggregated-levels=1", "--condensed-tokens=1", "--watch-every=1", f"--threads={torch.get_num_threads()}",
    ]  # fmt: skip
