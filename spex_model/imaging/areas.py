"""True areas of pixels on the ellipsoid, whatever the image's coordinate system."""

from functools import lru_cache

import numpy as np
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from scipy.ndimage import map_coordinates

from spex_model.imaging.scene import Scene

WGS84 = Geod(ellps="WGS84")
_LATTICE = 17


def to_wgs84(scene: Scene, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes in degrees of pixel positions (0, 0 is the outer corner of the first pixel)."""
    assert scene.crs is not None  # callers ask scene.georeferenced first
    x, y = scene.transform @ (np.asarray(columns, float), np.asarray(rows, float))
    return _transformer(scene.crs.to_wkt()).transform(x, y)


@lru_cache(maxsize=32)
def _transformer(wkt: str) -> Transformer:
    return Transformer.from_crs(ProjCRS.from_wkt(wkt), "EPSG:4326", always_xy=True)


def _cell_area_m2(scene: Scene, row: float, column: float) -> float:
    """Geodesic area of a pixel-sized square around a position, its edges densified by their middles."""
    corners = np.array([(0, 0), (0, 0.5), (0, 1), (0.5, 1), (1, 1), (1, 0.5), (1, 0), (0.5, 0)]) - 0.5
    longitudes, latitudes = to_wgs84(scene, row + corners[:, 0], column + corners[:, 1])
    return abs(WGS84.polygon_area_perimeter(longitudes, latitudes)[0])


def pixel_areas_m2(scene: Scene) -> np.ndarray | None:
    """Area of each pixel in m2 as an array that broadcasts to (H, W), or None when the pixel size is not known.

    Without CRS: gsd_m squared. With one: geodesic areas on a lattice of positions, interpolated between,
    since the scale of any projection changes smoothly; in geographic coordinates only the row matters.
    """
    height, width = scene.shape
    if not scene.georeferenced:
        return None if scene.gsd_m is None else np.full((1, 1), scene.gsd_m**2)
    by_row_only = bool(scene.crs and scene.crs.is_geographic) and scene.transform.b == 0 == scene.transform.d
    rows = np.linspace(0.5, height - 0.5, min(height, 4 * _LATTICE if by_row_only else _LATTICE))
    columns = np.array([width / 2]) if by_row_only else np.linspace(0.5, width - 0.5, min(width, _LATTICE))
    lattice = np.array([[_cell_area_m2(scene, row, column) for column in columns] for row in rows])
    if np.ptp(lattice) <= 1e-9 * lattice.max():
        return np.full((1, 1), lattice.mean())
    row_position = np.linspace(0, len(rows) - 1, height)
    column_position = np.linspace(0, len(columns) - 1, width) if len(columns) > 1 else np.zeros(1)
    grid = np.meshgrid(row_position, column_position, indexing="ij")
    return map_coordinates(lattice, grid, order=1, mode="nearest")


def mask_area_m2(mask: np.ndarray, scene: Scene) -> float | None:
    """Area in m2 of a mask (H, W) bool, or None when the pixel size is not known."""
    areas = pixel_areas_m2(scene)
    if areas is None:
        return None
    if areas.size == 1:
        return float(mask.sum() * areas.item())
    return float((mask.sum(1) * areas[:, 0]).sum() if areas.shape[1] == 1 else areas[mask].sum())


def label_areas_m2(labels: np.ndarray, count: int, scene: Scene) -> np.ndarray | None:
    """Areas (count,) in m2 of labels 1..count in (H, W) int, or None when the pixel size is not known."""
    areas = pixel_areas_m2(scene)
    if areas is None:
        return None
    weights = None if areas.size == 1 else np.broadcast_to(areas, labels.shape).ravel()
    sums = np.bincount(labels.ravel(), weights, minlength=count + 1)[1 : count + 1]
    return sums * areas.item() if areas.size == 1 else sums
