"""A picture of how good and how bad it gets: best, median and worst case of each kind of image and land cover."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from spex_model.imaging.composites import rgb_composite
from spex_model.imaging.scene import Scene
from spex_model.training.datasets import UNKNOWN

SIDE = 192
"""Side of one picture in pixels."""
_RIGHT, _FALSE, _MISSED = (60, 170, 255), (255, 70, 60), (255, 210, 40)


@dataclass(frozen=True)
class _Entry:
    iou: float
    name: str
    picture: Image.Image


class ContactSheet:
    """Collects small pictures while an evaluation runs."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], list[_Entry]] = {}

    def add(self, group: str, scene: Scene, masks: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> None:
        """Remember an image: masks (H, W) bool and labels (H, W) uint8 in {0, 1, 255} a land cover."""
        for cover, mask in masks.items():
            known, truth = labels[cover] != UNKNOWN, labels[cover] == 1
            if not truth.any():
                continue
            iou = float((mask & truth).sum() / ((mask | truth) & known).sum())
            picture = _paint(scene, mask & known, truth)
            self._entries.setdefault((group, cover), []).append(_Entry(iou, scene.source or "", picture))

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG: a row a group and land cover; blue is right, red is false, yellow is missed."""
        rows = sorted(self._entries.items())
        sheet = Image.new("RGB", (170 + 3 * (SIDE + 8), len(rows) * (SIDE + 26) + 8), "white")
        draw = ImageDraw.Draw(sheet)
        for row, ((group, cover), entries) in enumerate(rows):
            top = 8 + row * (SIDE + 26)
            draw.text((6, top + 4), f"{group}\n{cover}\n{len(entries)} images", fill="black")
            ranked = sorted(entries, key=lambda entry: -entry.iou)
            for column, (word, entry) in enumerate(
                zip(("best", "median", "worst"), (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True)
            ):
                left = 170 + column * (SIDE + 8)
                sheet.paste(entry.picture, (left, top))
                draw.text((left, top + SIDE + 4), f"{word}: IoU {entry.iou:.2f}", fill="black")
        sheet.save(path)


def _paint(scene: Scene, mask: np.ndarray, truth: np.ndarray) -> Image.Image:
    base = Image.fromarray(rgb_composite(scene)[..., :3])
    pixels = np.asarray(base).astype(float)
    for where, colour in ((mask & truth, _RIGHT), (mask & ~truth, _FALSE), (truth & ~mask, _MISSED)):
        pixels[where] = 0.45 * pixels[where] + 0.55 * np.array(colour)
    return Image.fromarray(pixels.astype(np.uint8)).resize((SIDE, SIDE))
