"""How good masks are: overlap, edges and false alarms, pooled over pixels and over places."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from spex_model.training.datasets import UNKNOWN

BOUNDARY_TOLERANCE_PX = 2.0
CLEAN = 0.01
"""An image without the class is clean when less than this share of it is marked."""


@dataclass(frozen=True)
class Counts:
    """Pixels of one image: true and false positives, missed ones, and edges (hit, drawn, hit back, true)."""

    site: str
    hit: int
    false: int
    missed: int
    known: int
    edges: tuple[int, int, int, int]

    @property
    def iou(self) -> float:
        """Intersection over union; NaN where neither mask nor label has anything."""
        either = self.hit + self.false + self.missed
        return self.hit / either if either else float("nan")


def count(mask: np.ndarray, labels: np.ndarray, site: str) -> Counts:
    """Counts of one image: mask (H, W) bool, labels (H, W) uint8 in {0, 1, 255}; what is not known counts for nothing."""
    known, truth = labels != UNKNOWN, labels == 1
    mask = mask & known
    hit = int((mask & truth).sum())
    return Counts(
        site, hit, int(mask.sum()) - hit, int(truth.sum()) - hit, int(known.sum()), _edges(mask, truth, known)
    )


def _edges(mask: np.ndarray, truth: np.ndarray, known: np.ndarray) -> tuple[int, int, int, int]:
    """Edge pixels drawn that lie near a true edge, all drawn, true ones near a drawn edge, and all true."""
    drawn, true = (find_boundaries(plane, mode="inner") & known for plane in (mask, truth))

    def near(edge: np.ndarray, other: np.ndarray) -> int:
        return int((distance_transform_edt(~other)[edge] <= BOUNDARY_TOLERANCE_PX).sum()) if other.any() else 0

    return near(drawn, true), int(drawn.sum()), near(true, drawn), int(true.sum())


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


@dataclass
class Tally:
    """The counts of one method on one kind of image."""

    images: list[Counts] = field(default_factory=list)

    def add(self, mask: np.ndarray, labels: np.ndarray, site: str = "") -> None:
        """Count one image (see `count`)."""
        self.images.append(count(mask, labels, site))

    def figures(self) -> dict[str, float | None]:
        """Pooled IoU with a 95 % interval, mean over sites, F1, precision, recall, boundary F1, area error, clean share.

        The interval is a bootstrap over sites, since images of one place are no independent witnesses. `clean` is the
        share of images without the class where less than 1 % is marked.
        """
        hit, false, missed = (sum(getattr(one, key) for one in self.images) for key in ("hit", "false", "missed"))
        edges = np.sum([one.edges for one in self.images], axis=0)
        sharp = edges[0] / edges[1] if edges[1] else 0.0
        found = edges[2] / edges[3] if edges[3] else 0.0
        empty = [one for one in self.images if one.hit + one.missed == 0]
        low, high = self._interval() if hit + missed else (None, None)
        sites = [iou for iou in self._site_ious() if not np.isnan(iou)]
        return {
            "iou": _share(hit, hit + false + missed),
            "low": low,
            "high": high,
            "site_mean": round(float(np.mean(sites)), 4) if sites and hit + missed else None,
            "image_mean": self._image_mean(),
            "f1": _share(2 * hit, 2 * hit + false + missed),
            "precision": _share(hit, hit + false),
            "recall": _share(hit, hit + missed),
            "boundary_f1": _share(2 * sharp * found, sharp + found) if edges[3] else None,
            "area_error": _share(false - missed, hit + missed),
            "clean": _share(sum(one.false < CLEAN * one.known for one in empty), len(empty)),
        }

    def _image_mean(self) -> float | None:
        """Mean IoU over the images that hold the class."""
        ious = [one.iou for one in self.images if one.hit + one.missed]
        return round(float(np.mean(ious)), 4) if ious else None

    def _by_site(self) -> dict[str, np.ndarray]:
        sites: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
        for one in self.images:
            sites[one.site] += (one.hit, one.hit + one.false + one.missed)
        return sites

    def _site_ious(self) -> list[float]:
        return [both / either if either else float("nan") for both, either in self._by_site().values()]

    def _interval(self, draws: int = 1000) -> tuple[float | None, float | None]:
        pairs = np.array(list(self._by_site().values()))
        chosen = np.random.default_rng(0).integers(len(pairs), size=(draws, len(pairs)))
        both, either = pairs[chosen].sum(1).T
        if not either.any():
            return None, None
        low, high = np.percentile(both[either > 0] / either[either > 0], (2.5, 97.5))
        return round(float(low), 4), round(float(high), 4)
