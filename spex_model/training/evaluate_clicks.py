"""Does the decoder hear a click? A click, or a box, on the largest errors of the model's own masks on held-out images.

`python -m spex_model.training.evaluate_clicks --imagery FOLDER` prints how often the clicked pixel turned, and what it
did to the IoU of the whole mask, for missed things (added) and false ones (removed).
"""

import argparse
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD, POINT_REMOVE
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.model.weights import build_checkpoint
from spex_model.training.datasets import UNKNOWN
from spex_model.training.evaluate import Case, Speaker, real_cases, synthetic_cases

log = logging.getLogger(__name__)

SMALLEST_PX = 16
"""Errors smaller than this are nothing that somebody would click on."""


@dataclass
class Heard:
    """How one kind of mark did."""

    obeyed: list[bool] = field(default_factory=list)
    gained: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        gained = np.array(self.gained)
        return (
            f"{sum(self.obeyed)} of {len(self.obeyed)} obeyed, IoU {gained.mean():+.4f} on average, "
            f"worse in {(gained < -0.001).mean():.0%}"
        )


def iou(mask: np.ndarray, labels: np.ndarray) -> float:
    """IoU over known pixels; mask (H, W) bool, labels (H, W) uint8 in {0, 1, 255}."""
    truth, mask = labels == 1, mask & (labels != UNKNOWN)
    either = (mask | truth).sum()
    return float((mask & truth).sum() / either) if either else 1.0


def largest_error(wrong: np.ndarray) -> np.ndarray | None:
    """The largest connected piece of an error mask (H, W) bool, None below `SMALLEST_PX` pixels."""
    pieces, _ = ndimage.label(wrong)
    sizes = np.bincount(pieces.ravel())[1:]
    return pieces == sizes.argmax() + 1 if len(sizes) and sizes.max() >= SMALLEST_PX else None


def deepest_pixel(piece: np.ndarray) -> tuple[int, int]:
    """The pixel (row, column) of a piece that lies farthest from its edge."""
    row, column = np.unravel_index(ndimage.distance_transform_edt(np.pad(piece, 1))[1:-1, 1:-1].argmax(), piece.shape)
    return int(row), int(column)


def marks_on_errors(
    mask: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[str, list[tuple[float, float, int]], tuple[int, int], bool]]:
    """Marks on the largest errors: (kind, points of the decoder, the pixel that shall turn, what it shall become)."""
    for kind, wrong, label in (
        ("add", (labels == 1) & ~mask, POINT_ADD),
        ("remove", (labels == 0) & mask, POINT_REMOVE),
    ):
        piece = largest_error(wrong)
        if piece is None:
            continue
        pixel = deepest_pixel(piece)
        yield f"click, {kind}", [(*pixel, label)], pixel, kind == "add"
        if kind == "add":
            rows, columns = np.argwhere(piece).T
            corners = [(rows.min(), columns.min(), BOX_TOP_LEFT), (rows.max(), columns.max(), BOX_BOTTOM_RIGHT)]
            yield "box, add", [(float(r), float(c), k) for r, c, k in corners], pixel, True


def measure(speaker: Speaker, cases: Iterator[Case], heard: dict[str, Heard]) -> None:
    """Mark the largest errors of every case and land cover."""
    for case in cases:
        features = SceneFeatures(speaker.vision, case.scene)
        for cover, labels in case.labels.items():
            if not (labels == 1).any():
                continue
            states = speaker.states(case.scene, features, cover)
            mask = (decode_scene(features, states) > 0) & case.scene.valid
            for kind, points, pixel, wanted in marks_on_errors(mask, labels):
                after = (decode_scene(features, states, points) > 0) & case.scene.valid
                heard[kind].obeyed.append(bool(after[pixel]) == wanted)
                heard[kind].gained.append(iou(after, labels) - iou(mask, labels))
        log.info("%s: %s", case.scene.source, {kind: str(result) for kind, result in heard.items()})


def main() -> None:
    """Measure and print a line a kind of mark."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.evaluate_clicks", description=__doc__)
    parser.add_argument("--imagery", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every n-th held-out tile")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    heard: dict[str, Heard] = defaultdict(Heard)
    speaker = Speaker(build_checkpoint())
    if options.imagery:
        measure(speaker, iter(list(real_cases(options.imagery))[:: options.every]), heard)
    else:
        measure(speaker, synthetic_cases(1, ("water", "vegetation", "trees", "bare soil")), heard)
    for kind, result in heard.items():
        print(f"{kind}: {result}")


if __name__ == "__main__":
    main()
