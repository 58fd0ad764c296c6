"""The datasheet of an instruction data set: what it holds, how it was made, its counts, terms and limits."""

from collections import Counter
from collections.abc import Callable, Sequence

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.training.spie.facts import DENSE_NDVI, DRY_NDVI, KNOWN_ENOUGH, LEAST_RIM, RECTANGULAR
from spex_model.training.spie.records import TASKS, Record

TERMS = {
    "landsat": "Landsat 8, public domain (USGS). Labels: drawn water, ESA WorldCover 2020/21 (CC BY 4.0; name ESA and its contributors where records are passed on), JRC.",
    "naip": "public domain (USDA). Labels: Chesapeake land cover.",
    "buildings": "samples of Inria, SpaceNet, WHU, CrowdAI and Potsdam: research data sets, each with terms of its own. Keep records and pictures of them apart from what is passed on; `--without buildings` leaves them out.",
    "clouds": "Sentinel-2 (Copernicus open data) and Landsat 5 (public domain), with cloud labels.",
    "synthetic": "made by spex_model/training/synthesis.py: public domain, exact by construction.",
    "own": "images that were given with `--pair`: their owner's terms.",
}
_TASK_WORDS = {
    "attributes": "the paper's attribute prompt with measured facts, and a description",
    "compact": "the short prompt of the shipped model with its reply; speaks of what the spectral index marks, not of labels",
    "count": "how many regions", "area": "how much, in hectares, square metres or percent", "where": "where the largest region lies",
    "shape": "what shape the largest region has", "neighbours": "what borders the largest region", "density": "dense or sparse in the image",
    "condition": "state of plants by NDVI and NDMI", "why": "what the spectral index says for or against the label",
    "objects": "the objects as a person lists them", "absent": "the land cover is nowhere in the image: a refusal",
    "cannot tell": "bands, calibration or pixel size don't allow an answer: a refusal with the reason",
}  # fmt: skip


def _counts(records: Sequence[Record], key: Callable[[Record], str], columns: Sequence[str]) -> list[str]:
    """A Markdown table: a line for each task, a column for each value of `key`."""
    tally = Counter((record.task, key(record)) for record in records)
    lines = [f"| task | {' | '.join(columns)} | all |", f"|---|{'---|' * (len(columns) + 1)}"]
    for task in TASKS:
        values = [tally[task, column] for column in columns]
        lines.append(f"| {task} | {' | '.join(map(str, values))} | {sum(values)} |")
    totals = [sum(tally[task, column] for task in TASKS) for column in columns]
    return [*lines, f"| all | {' | '.join(map(str, totals))} | {sum(totals)} |"]


def write_datasheet(records: Sequence[Record], command: str) -> str:
    """The datasheet as Markdown; every count is taken from the records."""
    sources = sorted({record.source for record in records})
    images, sites = {record.image for record in records}, {(record.source, record.site) for record in records}
    held_out = sum(record.held_out for record in records)
    lines = [
        "# Spectral instruction records", "",
        f"{len(records)} records on {len(images)} images of {len(sites)} sites; {held_out} of the records are held out for measuring (`held_out`), by site. Language: English.", "",
        "## What is in the folder",
        "- `records.jsonl`: one record a line: `id`, `image`, `site`, `source`, `sensor`, `land_cover`, `task`, `prompt`, `answer`, `facts` (what the answer states, in plain values: areas in m2, shares 0-1), `speaks_of` (`labels` or `index`), `held_out`, `seed`.",
        "- `scenes/NAME.tif`: the image, bands named, reflectance x 10,000 (uint16, scale in the file, 65535 not valid) or 8-bit brightness where it is not calibrated. `labels/NAME.tif`: a band for each land cover (1 present, 0 absent, 255 not known), and `valid`.",
        "- `index.html`: pictures with label outlines and their records, to browse; works from disk.", "",
        "## How it was made",
        "Labels are split into 8-connected regions and measured: counts, areas (on the ellipsoid where the image is georeferenced), shares, size and place words, shapes, neighbours, means of the usual index inside and outside. Each answer is written from those facts, in wordings drawn by seed, and every figure in it stands in its prompt. No language model took part.",
        f"- A land cover is spoken of where labels know at least {KNOWN_ENOUGH:.0%} of the valid pixels. What they don't know is never counted; shares are then `of the labelled pixels`. Absence is stated only where all valid pixels are known.",
        f"- A region is elongated from sides of 3 to 1, round from 0.72 of its circle, rectangular from {RECTANGULAR:g} of its smallest rectangle, else irregular; under 12 pixels it is compact.",
        f"- A neighbour takes at least {LEAST_RIM:.0%} of the rim. Plants are dense above an NDVI of {DENSE_NDVI:g}, sparse or dry below {DRY_NDVI:g}; that is said of calibrated reflectance only.", "",
        "## Tasks", *(f"- {task}: {_TASK_WORDS[task]}." for task in TASKS), "",
        "## Counts by task and land cover", *_counts(records, lambda record: record.land_cover, LAND_COVERS), "",
        "## Counts by task and source", *_counts(records, lambda record: record.source, sources), "",
        "## Terms", *(f"- {source}: {TERMS[source]}" for source in sources), "",
        "## Known limits",
        "- Answers are as true as the labels: WorldCover at 30 m knows built-up land and tree cover, not houses and single trees, and is named so; drawn water includes floods under trees; NAIP building labels miss some houses; outlines of CrowdAI and WHU are a little generous.",
        "- `compact` records describe what the index marks, which may be shadow in place of water; that is what their prompt says, too.",
        "- The aerial tiles have pixels of 0.3 to 0.6 m, which one is not known for each: their areas are in pixels and percent. Where a pixel size is given without georeference, areas rest on it.",
        "- Region counts follow the labels pixel by pixel: touching houses are one region, single labelled pixels are regions.",
        "- English only, written by templates: wordings are many, sentence patterns few. Size words follow the paper and are shares of the image, not metres.", "",
        "## How to repeat", "```", command, "python -m spex_model.training.grounding.check --records FOLDER   # checks every statement anew", "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
