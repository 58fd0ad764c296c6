"""Prompts of the instruction records: the paper's list of attributes, and the block of measured facts."""

from spex_model.imaging.regions import attributes_paper
from spex_model.training.spie.answers import (
    RANKS,
    bands_words,
    cover_name,
    hectares,
    meaning,
    name_of,
    of_what,
    percent,
    square_metres,
)
from spex_model.training.spie.facts import (
    DENSE_COVER,
    DENSE_NDVI,
    DRY_NDMI,
    DRY_NDVI,
    LEAST_RIM,
    MOIST_NDMI,
    SPARSE_COVER,
    CoverFacts,
    Group,
)

PAPER_NAMES = {
    "water": "water bodies",
    "vegetation": "vegetation",
    "trees": "tree",
    "buildings": "building",
    "bare soil": "bare soil",
}


def attribute_prompt(found: CoverFacts) -> str:
    """The paper's prompt form with its list of attributes, and the measured facts below it."""
    listed = attributes_paper([piece.region for piece in found.largest], found.scene.shape, 10)
    asked = f"Based on the provided image and the attributes of the {PAPER_NAMES[found.land_cover]} regions, please provide a detailed description of them:"
    return f"{asked}\n{listed}\n{facts_block(found)}"


def facts_block(found: CoverFacts) -> str:
    """The measured facts of a land cover, a line each, for the prompt."""
    scene, name = found.scene, name_of(found)
    size = f"{found.pixels:,} pixels, the image carries no pixel size"
    if found.area_m2 is not None:
        size = f"{hectares(found.area_m2)} or {square_metres(found.area_m2)}, {found.pixels:,} pixels"
    lines = [
        f"bands: {bands_words(scene)}",
        f"labelled: {percent(found.known)} of the pixels",
        f"regions: {found.regions:,}",
        f"area: {size}",
        f"share: {percent(found.share)} {of_what(found)} (dense from {percent(DENSE_COVER)} on, sparse below {percent(SPARSE_COVER)})",
    ]
    for rank, piece in zip(RANKS, found.largest, strict=False):
        region = piece.region
        sizes = f"{region.pixels:,} pixels"
        if region.area_m2 is not None:
            sizes = f"{hectares(region.area_m2)} or {square_metres(region.area_m2)}"
        lines.append(f"{rank}: {region.size_word}, {region.place_word}, {piece.shape}, {sizes}")
    if found.pixels:
        for key, rim in (("rim", found.rim), ("rim of the largest", found.largest_rim)):
            shares = ", ".join(f"{cover_name(cover, scene)} {percent(share)}" for cover, share in rim.items())
            lines.append(f"{key}: {shares or f'no labelled land cover with {percent(LEAST_RIM)} or more'}")
        lines.append("objects: " + "; ".join(_object_line(group) for group in found.groups[:4]))
    lines += _evidence_lines(found)
    return f"Measured of the {name}:\n" + "\n".join(lines)


def _object_line(group: Group) -> str:
    what = f"{group.count:,} {group.size}" + (f" {group.shape}" if group.shape else "")
    return f"{group.place} {what}" + (" in a row" if group.row else "")


def _evidence_lines(found: CoverFacts) -> list[str]:
    lines = []
    if evidence := found.evidence:
        outside = "" if evidence.outside is None else f", outside {evidence.outside:.2f}"
        compared = f"; {meaning(evidence.index)}" if evidence.explained else ""
        lines.append(
            f"{evidence.index}: inside {evidence.inside:.2f}{outside}, {percent(evidence.agreement)} above {evidence.threshold:.2f}{compared}"
        )
    elif found.prior.index is None:
        lines.append("index: none, the bands allow none")
    if found.absent and found.marked_by_index:
        lines.append(f"{found.prior.index} marks: {percent(found.marked_by_index)} of the image")
    if condition := found.condition:
        lines.append(
            f"plants: mean NDVI {condition.ndvi:.2f}, {percent(condition.dense)} above {DENSE_NDVI:.1f} (dense), "
            f"{percent(condition.dry)} below {DRY_NDVI:.1f} (sparse or dry)"
        )
        if condition.ndmi is not None:
            lines.append(f"leaf water: mean NDMI {condition.ndmi:.2f}, moist above {MOIST_NDMI:.1f}, dry below {DRY_NDMI:.1f}")  # fmt: skip
    elif not found.scene.calibrated:
        lines.append("calibration: none, limits of NDVI do not hold")
    return lines
