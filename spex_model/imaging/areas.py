"""True areas of pixels on the ellipsoid, whatever the image's coordinate system."""

from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer

from spex_model.imaging.scene import Scene

WGS84 = Geod(ellps="WGS84")
_LATTICE, _FINE_LATTICE, _MANY_ROWS = 33, 257, 100_000
_SAME = 1e-5
_areas_of: WeakKeyDictionary[Scene, np.ndarray] = WeakKeyDictionary()


def to_wgs84(scene: Scene, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes in degrees of pixel positions (0, 0 is the outer corner of the first pixel)."""
    assert scene.crs is not None  # callers ask scene.georeferenced first
    x, y = scene.transform @ (np.asarray(columns, float), np.asarray(rows, float))
    if x.size == 1:  # pyproj takes arrays of one element for numbers, and warns
        longitude, latitude = _transformer(scene.crs.to_wkt()).transform(x.item(), y.item())
        return np.full(x.shape, longitude), np.full(x.shape, latitude)
    return _transformer(scene.crs.to_wkt()).transform(x, y)


@lru_cache(maxsize=32)
def _transformer(wkt: str) -> Transformer:
    return Transformer.from_crs(ProjCRS.from_wkt(wkt), "EPSG:4326", always_xy=True)


def pixel_size_m(scene: Scene) -> tuple[float, float] | None:
    """(height, width) in metres of the pixel at the image's centre, or None when the pixel size is not known.

    Without CRS: gsd_m twice. With one: on the ellipsoid, as `pixel_areas_m2` has it; the height is the step from row
    to row and the width that from column to column, however the grid is rotated.
    """
    if scene.georeferenced:
        row, column = (np.array([side / 2]) for side in scene.shape)
        ends = [_geocentric_m(scene, row + y, column + x) for y, x in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]
        height, width = (float(np.linalg.norm(end - start)) for start, end in (ends[:2], ends[2:]))
        if 0 < height < np.inf and 0 < width < np.inf:
            return height, width
    return None if scene.gsd_m is None else (scene.gsd_m, scene.gsd_m)


def _lattice_areas_m2(scene: Scene, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Areas (rows, columns) in m2 of the pixels around positions: cross product of a pixel's sides in space.

    In geocentric coordinates neither a pole nor the date line is special; sides are chords, which for pixels of
    one degree is 0.003 % short. 0 where the projection has no place on Earth.
    """
    row, column = np.meshgrid(rows, columns, indexing="ij")
    ends = [_geocentric_m(scene, row + y, column + x) for y, x in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]
    area = np.linalg.norm(np.cross(ends[1] - ends[0], ends[3] - ends[2]), axis=-1)
    return np.nan_to_num(area, nan=0.0, posinf=0.0)


def _geocentric_m(scene: Scene, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Positions (…, 3) in metres from the Earth's centre on the WGS84 ellipsoid, NaN where there is none."""
    longitude, latitude = (
        np.radians(np.where(np.isfinite(angle), angle, np.nan)) for angle in to_wgs84(scene, rows, columns)
    )
    normal = WGS84.a / np.sqrt(1 - WGS84.es * np.sin(latitude) ** 2)
    return np.stack(
        [
            normal * np.cos(latitude) * np.cos(longitude),
            normal * np.cos(latitude) * np.sin(longitude),
            normal * (1 - WGS84.es) * np.sin(latitude),
        ],
        axis=-1,
    )


def pixel_areas_m2(scene: Scene) -> np.ndarray | None:
    """Area of each pixel in m2 as an array that broadcasts to (H, W), or None when the pixel size is not known.

    Without CRS: gsd_m squared. With one: areas on the ellipsoid on a lattice of positions, interpolated between,
    since the scale of any projection changes smoothly. (1, 1) where they differ by less than 0.001 %, (H, 1) where
    only the row matters, as in geographic coordinates; float32 (H, W) else. Computed once a scene.
    """
    if not scene.georeferenced:
        return None if scene.gsd_m is None else np.full((1, 1), scene.gsd_m**2)
    if scene not in _areas_of:
        _areas_of[scene] = _interpolated_areas_m2(scene)
    return _areas_of[scene]


def _interpolated_areas_m2(scene: Scene) -> np.ndarray:
    height, width = scene.shape
    for nodes in (_LATTICE, _FINE_LATTICE):
        rows = np.linspace(0.5, height - 0.5, min(height, nodes))
        columns = np.linspace(0.5, width - 0.5, min(width, nodes))
        lattice = _lattice_areas_m2(scene, rows, columns)
        if np.ptp(lattice) <= _SAME * lattice.max():
            return np.full((1, 1), lattice.mean())
        if np.ptp(lattice) <= 0.02 * lattice.max():
            break
    if (np.ptp(lattice, axis=1) <= _SAME * lattice.max(1)).all():
        every_row = np.arange(height) + 0.5
        if height <= _MANY_ROWS:
            return _lattice_areas_m2(scene, every_row, columns[:1])
        return np.interp(every_row, rows, lattice[:, 0])[:, None]
    by_rows = np.stack([np.interp(np.arange(height) + 0.5, rows, line) for line in lattice.T], axis=1)
    result = np.empty((height, width), np.float32)
    for row, line in enumerate(by_rows):
        result[row] = np.interp(np.arange(width) + 0.5, columns, line)
    return result


def mask_area_m2(mask: np.ndarray, scene: Scene) -> float | None:
    """Area in m2 of a mask (H, W) bool, or None when the pixel size is not known."""
    areas = pixel_areas_m2(scene)
    if areas is None:
        return None
    if areas.size == 1:
        return float(mask.sum() * areas.item())
    return float((mask.sum(1) * areas[:, 0]).sum() if areas.shape[1] == 1 else areas[mask].sum(dtype=np.float64))


def label_areas_m2(labels: np.ndarray, count: int, scene: Scene) -> np.ndarray | None:
    """Areas (count,) in m2 of labels 1..count in (H, W) int, or None when the pixel size is not known."""
    areas = pixel_areas_m2(scene)
    if areas is None:
        return None
    weights = None if areas.size == 1 else np.broadcast_to(areas, labels.shape).ravel()
    sums = np.bincount(labels.ravel(), weights, minlength=count + 1)[1 : count + 1]
    return sums * areas.item() if areas.size == 1 else sums
