"""Lay a second image of one place on the grid of the first, by their georeference or pixel on pixel."""

from dataclasses import dataclass, replace

import numpy as np
from rasterio.enums import Resampling
from rasterio.warp import reproject

from spex_model.imaging.errors import AlignmentError
from spex_model.imaging.scene import Scene

_MUCH_FINER = 0.6
_LEAST_OVERLAP = 0.01
_SAME_PX = 0.01


@dataclass(frozen=True, eq=False)
class Aligned:
    """A scene on the grid of another, and sentences about how well the two can be compared."""

    scene: Scene
    remarks: tuple[str, ...] = ()


def align(first: Scene, second: Scene) -> Aligned:
    """`second` on the grid, CRS and pixel size of `first`; NaN and not valid where it has nothing.

    Both georeferenced: reprojected, bilinear, or averaged where its pixels are much finer. Else images of equal size
    are laid pixel on pixel, and a remark says so. Raises AlignmentError when they share too little, or when size and
    georeference both tell nothing.
    """
    if first.crs is not None and second.crs is not None:
        moved = second if _same_grid(first, second) else _reproject(first, second)
        remarks = _resolution_remark(first, second)
    elif first.shape == second.shape:
        moved = replace(second, transform=first.transform, crs=first.crs, gsd_m=first.gsd_m)
        remarks = (
            "At least one of the images is not georeferenced, so they were laid pixel on pixel, being of equal size: "
            "where they don't show exactly the same ground, the change is not real.",
        )
    else:
        raise AlignmentError(
            f"The images can't be laid on each other: {_words(first)} and {_words(second)}. "
            "Give two georeferenced images, or two of exactly the same size and place."
        )
    shared = float((moved.valid & first.valid).sum()) / max(1, int(first.valid.sum()))
    if shared < _LEAST_OVERLAP:
        raise AlignmentError(f"The images share {shared:.1%} of the first one's ground; they show different places.")
    if shared < 0.995:
        remarks += (f"The images share {shared:.0%} of the first one's ground; only that is compared.",)
    if set(first.bands) != set(second.bands):
        remarks += (
            f"The images have different bands ({', '.join(first.bands)} and {', '.join(second.bands)}), "
            "so that some of the change may come from that.",
        )
    return Aligned(moved, remarks)


def _same_grid(first: Scene, second: Scene) -> bool:
    """Whether the pixels of both lie on each other, by the four corners: a degree is no metre, a pixel is one always."""
    if first.shape != second.shape or first.crs != second.crs:
        return False
    rows, columns = first.shape
    to_first = ~first.transform @ second.transform
    corners_xy = [(0, 0), (columns, 0), (0, rows), (columns, rows)]
    return all(np.allclose(to_first @ corner_xy, corner_xy, rtol=0, atol=_SAME_PX) for corner_xy in corners_xy)


def _reproject(first: Scene, second: Scene) -> Scene:
    finer = first.gsd_m is not None and second.gsd_m is not None and second.gsd_m < _MUCH_FINER * first.gsd_m
    method = Resampling.average if finer else Resampling.bilinear
    values = np.full((len(second.bands), *first.shape), np.nan, np.float32)
    reproject(
        np.where(second.valid, second.reflectance, np.nan).astype(np.float32), values,
        src_transform=second.transform, src_crs=second.crs, src_nodata=np.nan,
        dst_transform=first.transform, dst_crs=first.crs, dst_nodata=np.nan, resampling=method,
    )  # fmt: skip
    valid = np.asarray(np.isfinite(values).all(axis=0))
    values[:, ~valid] = np.nan
    return replace(second, reflectance=values, valid=valid, transform=first.transform, crs=first.crs, gsd_m=first.gsd_m)


def _resolution_remark(first: Scene, second: Scene) -> tuple[str, ...]:
    if first.gsd_m is None or second.gsd_m is None or 1 / 1.5 < second.gsd_m / first.gsd_m < 1.5:
        return ()
    return (
        f"The first image has pixels of {first.gsd_m:.3g} m and the second of {second.gsd_m:.3g} m; it was resampled to "
        "the first one's, and small pieces and edges may seem to change for that alone.",
    )


def _words(scene: Scene) -> str:
    rows, columns = scene.shape
    return f"{columns} x {rows} pixels {'with' if scene.georeferenced else 'without'} georeference"
