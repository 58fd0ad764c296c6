"""Stage four: probabilities that hold. Fits a temperature and a bias a land cover to logits on held-out tiles.

`python -m spex_model.training.calibrate --imagery FOLDER` fits on every other held-out tile, reports the expected
calibration error on the tiles between, before and after, and writes both numbers into assets/weights/spex.json. A land
cover whose error does not shrink on the tiles between gets none.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.config import SpexConfig
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.model.weights import ASSETS, CONFIG_FILE, build_checkpoint, load_vision
from spex_model.training.datasets import UNKNOWN, Tile, load_imagery, split, synthetic_tiles
from spex_model.training.replies import Reply, load_replies, tile_scene
from spex_model.training.synthesis import FIRST_EVALUATION_SEED

log = logging.getLogger(__name__)

PIXELS_A_TILE = 1500
BINS = 15


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, any shape."""
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Naeini 2015): mean gap between confidence and frequency over equal bins of probability."""
    slot = np.minimum((probability * bins).astype(int), bins - 1)
    weights = np.bincount(slot, minlength=bins)
    said, true = (np.bincount(slot, values, minlength=bins) for values in (probability, truth.astype(float)))
    filled = weights > 0
    return float(np.abs(said[filled] - true[filled]).sum() / len(truth))


def fit(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float] | None:
    """Temperature and bias by logistic regression (Platt 1999); None where the class or its absence does not occur."""
    if len(np.unique(truth)) < 2:
        return None
    model = LogisticRegression(C=1e6).fit(logits[:, None], truth)
    slope, bias = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (1 / slope, bias) if 0.05 < slope < 20 and abs(bias) < 10 else None


def gather(
    tiles: dict[str, Tile], replies: list[Reply], vision: SpexVision
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Logits and truth of random known pixels, a pair of arrays (N,) for each tile of each land cover."""
    rng = np.random.default_rng(0)
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {cover: [] for cover in LAND_COVERS}
    features: dict[str, SceneFeatures] = {}
    for reply in replies:
        tile = tiles.get(reply.tile)
        if tile is None:
            continue
        labels = tile.covers[LAND_COVERS.index(reply.land_cover)]
        known = np.flatnonzero((labels != UNKNOWN) & tile.valid)
        if not len(known):
            continue
        if reply.tile not in features:
            features = {reply.tile: SceneFeatures(vision, tile_scene(tile))}
        logits = decode_scene(features[reply.tile], reply.states)
        picked = rng.choice(known, min(PIXELS_A_TILE, len(known)), replace=False)
        pairs[reply.land_cover].append((logits.ravel()[picked], labels.ravel()[picked] == 1))
    return pairs


def main() -> None:
    """Fit, report and write."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.calibrate", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True)
    parser.add_argument("--replies", type=Path, default=Path("runs/replies.pt"))
    parser.add_argument("--threads", type=int, default=2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, held_out = split(load_imagery(options.imagery))
    held_out += synthetic_tiles(iter(range(FIRST_EVALUATION_SEED + 500, FIRST_EVALUATION_SEED + 525)), size=256)
    tiles = {f"{tile.source}/{tile.name}": tile for tile in held_out}
    replies = [reply for reply in load_replies(options.replies) if reply.held_out]
    replies.sort(key=lambda reply: reply.tile)
    found: dict[str, dict[str, float]] = {}
    for cover, pairs in gather(tiles, replies, load_vision(build_checkpoint())).items():
        if len(pairs) < 4:
            continue
        (logits, truth), (other, true) = (
            (np.concatenate([pair[0] for pair in half]), np.concatenate([pair[1] for pair in half]))
            for half in (pairs[::2], pairs[1::2])
        )
        fitted = fit(logits, truth)
        before = calibration_error(sigmoid(other), true)
        after = calibration_error(sigmoid(other / fitted[0] + fitted[1]), true) if fitted else before
        log.info("%s: %d tiles, calibration error %.4f before, %.4f after %s", cover, len(pairs), before, after, fitted)
        if fitted and after < before:
            found[cover] = {"temperature": round(fitted[0], 4), "bias": round(fitted[1], 4)}
    config = SpexConfig.load(ASSETS / CONFIG_FILE)
    dataclasses.replace(config, calibration=found).save(ASSETS / CONFIG_FILE)


if __name__ == "__main__":
    main()
