"""Measured facts of layers: every number that a reply states comes from here."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.measure import perimeter_crofton

from chat_app.answering.uncertainty import Calibration, estimate_area
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session
from spex_model.imaging.areas import mask_area_m2, pixel_size_m, to_wgs84
from spex_model.imaging.errors import BandsError
from spex_model.imaging.indices import canonical_index, compute_index, prior_for
from spex_model.imaging.masks import distances_to
from spex_model.imaging.regions import Region

ROUGH_LOGIT = 1.0
"""Pixels whose logit lies within this of the threshold may belong to either side (27-73 %)."""


def region_facts(region: Region, session: Session) -> dict[str, Any]:
    """One region in plain values; longitude and latitude (WGS84 degrees) where the image is georeferenced."""
    facts: dict[str, Any] = {
        "id": region.id,
        "pixels": region.pixels,
        "area_m2": _rounded(region.area_m2),
        "share": round(region.share, 6),
        "size": region.size_word,
        "place": region.place_word,
        "shape": region.shape_word,
        "centroid_px": [round(value, 1) for value in region.centroid_px],
    }
    if region.mean_index is not None:
        facts["mean_index"] = round(region.mean_index, 3)
    if session.scene.georeferenced:
        row, column = (np.array([value + 0.5]) for value in region.centroid_px)
        longitude, latitude = to_wgs84(session.scene, row, column)
        facts["longitude"], facts["latitude"] = round(float(longitude[0]), 6), round(float(latitude[0]), 6)
    return facts


def ranked_facts(session: Session, layer: Layer, rank: int) -> dict[str, Any] | None:
    """The region of a rank by size, 1 for the largest; None where the layer has fewer."""
    regions = session.regions(layer)
    return region_facts(regions[rank - 1], session) if 1 <= rank <= len(regions) else None


def _rounded(area_m2: float | None) -> float | None:
    return None if area_m2 is None else round(area_m2, 2)


def layer_facts(session: Session, layer: Layer) -> dict[str, Any]:
    """Area, share, number of regions and the largest ones of a layer, and where these numbers are from."""
    extraction = session.extraction(layer)
    regions = session.regions(layer)
    pixels, valid = int(extraction.mask.sum()), max(int(session.scene.valid.sum()), 1)
    facts: dict[str, Any] = {
        "layer": layer.name,
        "land_cover": layer.land_cover,
        "method": extraction.method,
        "pixels": pixels,
        "area_m2": _rounded(session.area_m2(layer)),
        "share": round(pixels / valid, 6),
        "regions": len(regions),
        "largest": [region_facts(region, session) for region in regions[:5]],
        "pixel_size_from": pixel_size_source(session),
    }
    return facts | range_facts(session, layer)


def pixel_size_source(session: Session) -> str:
    """Where the pixel size comes from: "georeference", "user", "file" or "unknown"."""
    if session.scene.georeferenced:
        return "georeference"
    if session.scene.gsd_m is None:
        return "unknown"
    return "user" if session.snapshot.gsd_m is not None else "file or option"


def range_facts(session: Session, layer: Layer) -> dict[str, Any]:
    """Between which areas the true one may lie, and by what: `area_range_m2`, `area_range_from`, `area_expected_m2`.

    By the calibrated probabilities where the weights bring a calibration of the land cover, and then with the expected
    area (see `uncertainty.estimate_area`); else the areas without and with the pixels whose logit lies near the
    threshold. Empty without probabilities or pixel size, and after steps, which look at regions and not at pixels.
    """
    extraction, scene = session.extraction(layer), session.scene
    logits = extraction.logits
    if logits is None or scene.gsd_m is None or extraction.steps:
        return {}
    if values := extraction.evidence.get("calibration"):
        estimate = estimate_area(logits, scene, Calibration(**values))
        if estimate is None:
            return {}
        return {
            "area_range_m2": [round(estimate.least_m2, 2), round(estimate.most_m2, 2)],
            "area_range_from": "calibrated probabilities, 90 %",
            "area_expected_m2": round(estimate.expected_m2, 2),
        }
    limit = np.log(extraction.threshold / (1 - extraction.threshold))
    edges = (limit + ROUGH_LOGIT, limit - ROUGH_LOGIT)
    least, most = (mask_area_m2((logits > edge) & scene.valid, scene) for edge in edges)
    if least is None or most is None:
        return {}
    return {"area_range_m2": [round(least, 2), round(most, 2)], "area_range_from": "pixels near the threshold"}


def evidence_facts(session: Session, layer: Layer) -> dict[str, Any]:
    """Why a layer is what it is: index inside and outside, share of its pixels that the index marks too, mean probability.

    A mask that an index made is explained by that index with the threshold and reason of then; its means are left out
    where the bands have been named anew since and no longer allow it.
    """
    extraction, scene = session.extraction(layer), session.scene
    mask = extraction.mask
    facts: dict[str, Any] = {
        "layer": layer.name,
        "method": extraction.method,
        "bands": list(scene.bands),
        "steps": [step.op for step in extraction.steps],
    }
    outside = scene.valid & ~mask
    if extraction.method == "change":
        return {**facts, "reason": extraction.evidence["reason"]}
    if extraction.method == "index":
        facts |= {name: extraction.evidence[name] for name in ("index", "threshold", "reason")}
        prior = prior_for(scene, layer.land_cover, index=facts["index"])
    else:
        prior = prior_for(scene, layer.land_cover)
        facts |= {"index": prior.index, "threshold": prior.threshold, "reason": prior.reason}
    if prior.values is not None:
        facts["mean_inside"], facts["mean_outside"] = _mean(prior.values, mask), _mean(prior.values, outside)
        facts["agreement"] = round(float((mask & prior.mask).sum() / mask.sum()), 3) if mask.any() else None
    if extraction.logits is not None and mask.any():
        probability = 1 / (1 + np.exp(-extraction.logits[mask].astype(np.float64)))
        facts["mean_probability"] = round(float(probability.mean()), 3)
    return facts


def _mean(values: np.ndarray, where: np.ndarray) -> float | None:
    inside = values[where]
    finite = inside[np.isfinite(inside)]
    return round(float(finite.mean()), 3) if finite.size else None


def distance_facts(session: Session, one: Layer, other: Layer) -> dict[str, Any]:
    """Shortest distance between two layers, edge to edge of their pixels: in pixels, and in metres where a pixel has a size."""
    first, second = session.extraction(one).mask, session.extraction(other).mask
    facts: dict[str, Any] = {"layers": [one.name, other.name], "distance_px": None, "distance_m": None}
    if first.any() and second.any():
        facts["distance_px"] = round(float(distances_to(second)[first].min()), 2)
        if (size_m := pixel_size_m(session.scene)) is not None:
            facts["distance_m"] = round(float(distances_to(second, size_m)[first].min()), 1)
    return facts


def perimeter_facts(session: Session, layer: Layer) -> dict[str, Any]:
    """Length of a layer's outline (Crofton's formula in four directions), in pixels and metres."""
    mask = session.extraction(layer).mask
    pixels = round(float(perimeter_crofton(np.pad(mask, 1), directions=4)), 1) if mask.any() else 0.0
    gsd_m = session.scene.gsd_m
    return {"perimeter_px": pixels, "perimeter_m": None if gsd_m is None else round(pixels * gsd_m, 1)}


def index_facts(session: Session, layer: Layer, index: str) -> dict[str, Any]:
    """Mean, spread and range of a spectral index inside a layer and its mean outside. Raises BandsError."""
    values, mask = compute_index(session.scene, index), session.extraction(layer).mask
    inside = values[mask]
    inside = inside[np.isfinite(inside)]
    found: dict[str, Any] = {"name": canonical_index(index), "mean_outside": _mean(values, session.scene.valid & ~mask)}
    if inside.size:
        low, high = (round(float(value), 3) for value in np.percentile(inside, (5, 95)))
        found |= {"mean": round(float(inside.mean()), 3), "std": round(float(inside.std()), 3), "p5": low, "p95": high}
    return found


def compare_facts(session: Session, one: Layer, other: Layer) -> dict[str, Any]:
    """Pixels and areas of two layers and of what they share."""
    first, second = session.extraction(one).mask, session.extraction(other).mask
    both = int((first & second).sum())
    return {
        "layers": [one.name, other.name],
        "pixels": [int(first.sum()), int(second.sum())],
        "area_m2": [_rounded(session.area_m2(one)), _rounded(session.area_m2(other))],
        "shared_pixels": both,
    }


def condition_facts(session: Session, layer: Layer) -> dict[str, Any]:
    """Vegetation condition within a layer; empty without near-infrared or for another land cover.

    NDVI: dense above 0.6, sparse or dry below 0.4. NDMI (near- against short-wave infrared, Gao 1996), where the
    bands allow it: moist leaves above 0.2, dry below 0.
    """
    mask = session.extraction(layer).mask
    if layer.land_cover not in ("vegetation", "trees") or not mask.any():
        return {}
    found: dict[str, Any] = {}
    for index, names, (high, low) in (
        ("NDVI", ("dense_share", "sparse_share"), (0.6, 0.4)),
        ("NDMI", ("moist_share", "dry_share"), (0.2, 0.0)),
    ):
        try:
            inside = compute_index(session.scene, index)[mask]
        except BandsError:
            continue
        inside = inside[np.isfinite(inside)]
        if inside.size:
            found[f"{index.lower()}_mean"] = round(float(inside.mean()), 3)
            found |= {
                names[0]: round(float((inside > high).mean()), 3),
                names[1]: round(float((inside < low).mean()), 3),
            }
    return found
