"""How sure an area is: calibrated probabilities of the pixels, and errors that come in patches.

A calibration belongs to a land cover and stands beside the model's weights, in `spex.json` under "calibration":
`{"water": {"temperature": 1.4, "bias": -0.2}}`; the calibrated logit is logit / temperature + bias.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spex_model.imaging.areas import pixel_areas_m2
from spex_model.imaging.scene import Scene

log = logging.getLogger(__name__)

WEIGHTS_CONFIG = Path(__file__).parents[2] / "assets" / "weights" / "spex.json"
BLOCK_PX = 32
"""Side of the blocks, in pixels, within which errors are taken to go together, where a calibration names none.

Measured on water in 30 Landsat tiles, one a site, calibrated on other sites: the interval held the true area in 28 of
30 with blocks of 32, in 22 with 16 and in 2 with single pixels; +-1 logit round the threshold held it in 11.
"""
NINE_TENTHS = 1.645
"""Half width of the interval that holds nine tenths of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits of one land cover into probabilities that hold: logit / temperature + bias."""

    temperature: float
    bias: float = 0.0
    block_px: int = BLOCK_PX

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the evidence of a layer."""
        return asdict(self)


@dataclass(frozen=True)
class AreaEstimate:
    """An area in m2 by probabilities, and the interval that holds it nine times in ten."""

    expected_m2: float
    least_m2: float
    most_m2: float


def read_calibration(land_cover: str, config: Path = WEIGHTS_CONFIG) -> Calibration | None:
    """The calibration of a land cover beside the weights, None where there is none or it makes no sense."""
    try:
        values = json.loads(config.read_text(encoding="utf-8")).get("calibration", {}).get(land_cover)
        if values is None:
            return None
        found = Calibration(
            float(values["temperature"]), float(values.get("bias", 0.0)), int(values.get("block_px", BLOCK_PX))
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("the calibration of %s in %s can't be read", land_cover, config, exc_info=error)
        return None
    sane = 0.05 <= found.temperature <= 20 and abs(found.bias) <= 10 and 1 <= found.block_px <= 4096
    return found if sane else None


def probabilities(logits: npt.NDArray[np.floating], calibration: Calibration) -> npt.NDArray[np.float64]:
    """(H, W) probability 0-1 of each pixel."""
    moved = logits.astype(np.float64) / calibration.temperature + calibration.bias
    return np.asarray(1 / (1 + np.exp(-np.clip(moved, -60, 60))))


def estimate_area(logits: npt.NDArray[np.floating], scene: Scene, calibration: Calibration) -> AreaEstimate | None:
    """The expected area and its 90 % interval; None without a pixel size.

    Expected: the sum over valid pixels of probability times pixel area. Spread: a pixel's area has the standard
    deviation a sqrt(p (1 - p)). Errors of neighbours are no accidents of their own (a shallow bay is missed as a
    whole), so within a block of `block_px` x `block_px` pixels they are taken to go wholly together, where deviations
    add up, and between blocks not at all, where variances do. Independent pixels would make the interval far too
    narrow, a wholly dependent image too wide. The interval is +-1.645 deviations, cut to what is possible. It speaks
    of the model's doubt about pixels of scenes like those of the calibration; another kind of image may be worse.
    """
    areas = pixel_areas_m2(scene)
    if areas is None:
        return None
    probability = np.where(scene.valid, probabilities(logits, calibration), 0.0)
    expected = float((probability * areas).sum())
    blocks = sum_blocks(np.sqrt(probability * (1 - probability)) * areas, calibration.block_px)
    spread = NINE_TENTHS * float(np.sqrt((blocks**2).sum()))
    whole = float((scene.valid * areas).sum())
    return AreaEstimate(expected, max(0.0, expected - spread), min(whole, expected + spread))


def sum_blocks(values: npt.NDArray[np.floating], side: int) -> npt.NDArray[np.float64]:
    """Sums of (H, W) values over blocks of side x side pixels; those at the lower and right edge may be smaller."""
    rows = np.add.reduceat(values.astype(np.float64), np.arange(0, values.shape[0], side), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], side), axis=1))
