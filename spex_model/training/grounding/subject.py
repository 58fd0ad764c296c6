"""What a description speaks of, and one of its sentences while it is being read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from spex_model.imaging.scene import Scene
from spex_model.training.grounding import measures
from spex_model.training.grounding.measures import IndexMask, Piece


@dataclass(frozen=True)
class Statement:
    """One checkable statement: its kind, the words, whether it is true, and what was measured."""

    kind: str
    said: str
    true: bool
    measured: str


@dataclass(eq=False)
class Ground:
    """What a text speaks of: a scene, a land cover and its mask (H, W) bool.

    planes: labels of land covers (H, W) uint8, 1, 0 and 255 not known; they are needed for neighbours, and without
    them all that the mask leaves out counts as known to be absent.
    """

    scene: Scene
    land_cover: str
    mask: np.ndarray
    planes: Mapping[str, np.ndarray] = field(default_factory=dict)
    speaks_of_labels: bool = True

    @cached_property
    def pieces(self) -> list[Piece]:
        return measures.pieces_of(self.mask)

    @cached_property
    def index(self) -> IndexMask:
        return measures.index_mask(self.scene, self.land_cover)

    @cached_property
    def areas_m2(self) -> np.ndarray | None:
        return measures.pixel_areas(self.scene)

    @property
    def valid(self) -> int:
        return int(self.scene.valid.sum())

    @cached_property
    def unknown(self) -> np.ndarray:
        """Valid pixels of which the labels say nothing (H, W) bool."""
        if not self.speaks_of_labels or self.land_cover not in self.planes:
            return np.zeros(self.mask.shape, bool)
        return self.scene.valid & (self.planes[self.land_cover] == 255)

    @cached_property
    def absent(self) -> np.ndarray:
        """Valid pixels known not to be the land cover (H, W) bool."""
        return self.scene.valid & ~self.mask & ~self.unknown

    def area_m2(self, mask: np.ndarray) -> float | None:
        return None if self.areas_m2 is None else float((mask.sum(1, keepdims=True) * self.areas_m2).sum())

    def ranked(self, rank: int) -> list[Piece]:
        """The regions that may be called the one of this rank: those with as many pixels."""
        if rank >= len(self.pieces):
            return []
        return [piece for piece in self.pieces if piece.pixels == self.pieces[rank].pixels]

    def mask_of(self, piece: Piece) -> np.ndarray:
        alone = np.zeros(self.mask.shape, bool)
        alone[tuple(piece.coordinates.T)] = True
        return alone

    def mean(self, index: str, where: np.ndarray) -> float | None:
        values = measures.index_values(self.scene, index)
        if values is None or not np.isfinite(values[where]).any():
            return None
        return float(np.nanmean(values[where], dtype=np.float64))


def _half_unit(figure: str) -> float:
    decimals = len(figure.partition(".")[2])
    return 0.5 * 10.0**-decimals * 1.001


def near(figure: str, measured: float | None, slack: float = 0.0) -> bool:
    return measured is not None and abs(float(figure.replace(",", "")) - measured) <= _half_unit(figure) + slack


def show(value: float | None, digits: int = 3) -> str:
    return "nothing" if value is None else f"{value:.{digits}f}"


class Sentence:
    """One sentence being read: `left` is what no pattern has taken yet."""

    def __init__(self, text: str, ground: Ground) -> None:
        self.text, self.left, self.ground = text, text, ground
        self.rank = _rank_in(text)

    def take(self, pattern: str) -> Iterator[re.Match[str]]:
        """Matches of a pattern in what is left, which are then blanked."""
        for match in list(re.finditer(pattern, self.left, re.IGNORECASE)):
            self.left = self.left[: match.start()] + " " * len(match[0]) + self.left[match.end() :]
            yield match

    @property
    def subjects(self) -> list[np.ndarray]:
        """Masks that the sentence may be about: of the region of its rank, or the whole one."""
        if self.rank is None:
            return [self.ground.mask]
        return [self.ground.mask_of(piece) for piece in self.ground.ranked(self.rank)]


def _rank_in(text: str) -> int | None:
    lowered = text.lower()
    for rank, pattern in ((2, r"\bthe third\b"), (1, r"\bthe second\b"), (0, r"\blargest\b|\bbiggest\b|\bonly region\b|\bthe region\b")):  # fmt: skip
        if re.search(pattern, lowered):
            return rank
    return None
