"""Write a layer as a file for other programs: mask GeoTIFF, GeoJSON, GeoPackage or a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
import shapely.geometry
from PIL import Image, ImageColor
from rasterio.enums import ColorInterp
from rasterio.features import shapes

from chat_app.memory.arrays import BoolArray
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session
from chat_app.page.render import palette
from chat_app.plan import ExportFormat
from spex_model.imaging.regions import label_regions
from spex_model.imaging.scene import Scene

MASK_NODATA = 255
_COLUMNS = ("region", "land_cover", "pixels", "area_m2", "area_ha", "confidence", "method", "source")
_SUFFIXES: dict[str, str] = {"geotiff": ".tif", "geojson": ".geojson", "gpkg": ".gpkg", "png": ".png"}


def export_layer(session: Session, layer: Layer, folder: Path, fmt: ExportFormat = "geotiff") -> Path:
    """Write one layer into a folder and return the file.

    geotiff: uint8 on the image's grid and CRS, 1 = class, 0 = not, 255 = not valid. geojson: one polygon a
    region in WGS84 (RFC 7946), in pixel coordinates (x, y from the upper left) where the image is not
    georeferenced. gpkg: the same in the image's own CRS. png: the mask in the layer's colour on nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", layer.name).strip("-").lower() or "layer"
    path = folder / f"{slug}-{layer.extraction_id[:8]}{_SUFFIXES[fmt]}"
    mask = session.extraction(layer).mask
    if fmt == "geotiff":
        write_mask(path, mask, session.scene, layer)
    elif fmt == "png":
        _write_picture(path, mask, layer)
    else:
        _write_vectors(path, session, layer, fmt)
    return path


def mask_profile(scene: Scene) -> dict[str, Any]:
    """What rasterio is told of a one-band uint8 GeoTIFF on the scene's own grid."""
    height, width = scene.shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": MASK_NODATA, "compress": "deflate",
    }  # fmt: skip
    return profile | ({"crs": scene.crs, "transform": scene.transform} if scene.georeferenced else {})


def write_mask(path: Path, mask: BoolArray, scene: Scene, layer: Layer) -> None:
    """A mask as GeoTIFF with nodata, colour table and names."""
    values = np.where(scene.valid, mask.astype(np.uint8), MASK_NODATA).astype(np.uint8)
    with rasterio.open(path, "w", **mask_profile(scene)) as dataset:
        dataset.write(values, 1)
        dataset.set_band_description(1, layer.land_cover)
        dataset.write_colormap(1, {0: (0, 0, 0, 0), 1: (*ImageColor.getrgb(palette()[layer.colour]), 255)})
        tags = {"LAND_COVER": layer.land_cover, "LAYER": layer.name, "SOURCE_IMAGE": scene.source}
        if not scene.georeferenced and scene.gsd_m is not None:
            tags["GSD_M"] = f"{scene.gsd_m:g}"
        dataset.update_tags(**tags)
        dataset.colorinterp = [ColorInterp.palette]


def _write_picture(path: Path, mask: BoolArray, layer: Layer) -> None:
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[mask] = (*ImageColor.getrgb(palette()[layer.colour]), 255)
    Image.fromarray(picture).save(path)


def polygons(mask: BoolArray, scene: Scene) -> list[shapely.Geometry]:
    """One (multi)polygon a region, largest first, in the scene's CRS, or in pixels (x, y) without one.

    Regions are 8-connected, so pieces that touch at a corner only make a multipolygon.
    """
    labels, count = label_regions(mask)
    pieces: dict[int, list[shapely.Geometry]] = {number: [] for number in range(1, count + 1)}
    transform = {"transform": scene.transform} if scene.georeferenced else {}
    for shape, number in shapes(labels.astype(np.int32), mask=mask, connectivity=4, **transform):
        pieces[int(number)].append(shapely.geometry.shape(shape))
    return [shapely.unary_union(parts) for parts in pieces.values()]


def region_table(session: Session, layer: Layer) -> geopandas.GeoDataFrame:
    """One row a region, largest first, with its measured attributes and its outline in the image's own CRS."""
    scene, extraction = session.scene, session.extraction(layer)
    regions = session.regions(layer)
    confidence = (
        _confidence(extraction.logits, extraction.mask, len(regions)) if extraction.logits is not None else None
    )
    rows = [
        {
            "region": region.id,
            "land_cover": layer.land_cover,
            "pixels": region.pixels,
            "area_m2": region.area_m2,
            "area_ha": None if region.area_m2 is None else region.area_m2 / 1e4,
            "confidence": None if confidence is None else confidence[region.id - 1],
            "method": extraction.method,
            "source": scene.source,
        }
        for region in regions
    ]
    crs = scene.crs.to_wkt() if scene.crs is not None else None
    outlines = polygons(extraction.mask, scene)
    return geopandas.GeoDataFrame(rows, columns=list(_COLUMNS), geometry=outlines, crs=crs)


def _write_vectors(path: Path, session: Session, layer: Layer, fmt: str) -> None:
    table = region_table(session, layer)
    if fmt == "geojson":
        world = table.to_crs("EPSG:4326") if table.crs is not None else table
        world.to_file(path, driver="GeoJSON", engine="pyogrio", **({"RFC7946": "YES"} if table.crs is not None else {}))
        return
    path.unlink(missing_ok=True)
    table.to_file(path, driver="GPKG", engine="pyogrio", layer=layer.name)


def _confidence(logits: np.ndarray, mask: BoolArray, count: int) -> list[float]:
    """Mean probability of each region's pixels, 0-1."""
    labels, _ = label_regions(mask)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    sums = np.bincount(labels.ravel(), probability.ravel(), minlength=count + 1)[1:]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return [round(float(value), 3) for value in sums / np.maximum(sizes, 1)]
