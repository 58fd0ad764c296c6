"""Spectral instruction data: prompts made of an image's spectral attributes, and grounded descriptions.

A description says only what its prompt states, so every sentence can be checked and none is learnt to be
invented. `describe_examples` draws attributes at random for the language alone; `scene_record` takes them
from an image.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.regions import PLACE_WORDS, SIZE_WORDS
from spex_model.imaging.scene import Scene
from spex_model.imaging.spectral_words import put_into_words

PROMPTS = Path(__file__).parents[3] / "prompts"
ATTRIBUTE_LIMIT = 3

_INDEX_OF = {
    "water": ("MNDWI", "NDWI"), "vegetation": ("NDVI", "VARI"), "trees": ("NDVI", "VARI"), "buildings": ("NDBI",),
    "bare soil": ("BI",),
}  # fmt: skip
_BANDS = (
    "red, green, blue",
    "red, green, blue, nir",
    "blue, green, red, nir",
    "blue, green, red, nir, swir1, swir2",
)
_SHAPES = ("elongated", "round", "irregular", "irregular", "compact")
_MEANING = {
    "MNDWI": "green light comes back far more than short-wave infrared",
    "NDWI": "green light comes back more than near-infrared",
    "NDVI": "near-infrared is reflected far more than red",
    "VARI": "green exceeds red",
    "NDBI": "short-wave infrared exceeds near-infrared",
    "BI": "short-wave infrared and red exceed near-infrared and blue",
}
_PLURAL = ("trees", "buildings")
_CUES = {
    "water": "dark, even surfaces with smooth shores", "vegetation": "colour and texture", "trees": "the grain of crowns and their shade",
    "buildings": "straight edges, roofs and their shadows", "bare soil": "bright, even ground",
}  # fmt: skip


@dataclass(frozen=True)
class DescribeExample:
    """A describing prompt and the reply to learn."""

    land_cover: str
    prompt: str
    reply: str


def describe_prompt(land_cover: str, evidence: str, attributes: str) -> str:
    """Render prompts/extract.md."""
    template = (PROMPTS / "extract.md").read_text().strip()
    return template.format(land_cover=land_cover, evidence=evidence, attributes=attributes)


def _first(land_cover: str, count: int | None, rng: random.Random) -> str:
    if count is None:
        return rng.choice(
            (
                f"I look for {land_cover} by shape and texture here.",
                f"The {land_cover} must be told by shape and texture in this image.",
            )
        )
    pieces = "1 region" if count == 1 else f"{count} regions"
    return rng.choice(
        (
            f"I see {land_cover} in {pieces}.",
            f"The {land_cover} {'show' if land_cover in _PLURAL else 'shows'} up in {pieces}.",
            f"The spectral evidence points to {land_cover} in {pieces}.",
        )
    )


def _about(rank: str, item: tuple[str, str, str], rng: random.Random) -> str:
    size, place, shape = item
    where = "in the center" if place == "center" else f"in the {place}"
    return rng.choice(
        (
            f"The {rank} is {size} and {shape} and lies {where}.",
            f"The {rank}, {size} and {shape}, lies {where}.",
            f"{where.capitalize()} lies the {rank}, which is {size} and {shape}.",
        )
    )


def _evidence(land_cover: str, index: str, threshold: str, mean: str, rng: random.Random) -> str:
    return rng.choice(
        (
            f"There {index} is above {threshold}, with a mean of {mean}, because {_MEANING[index]}.",
            f"The evidence is {index}: above {threshold}, mean {mean}, since {_MEANING[index]}.",
        )
    )


def describe_reply(land_cover: str, evidence: str, attributes: str, rng: random.Random) -> str:
    """A description of three to five short sentences that states the prompt's facts and nothing else."""
    found = re.fullmatch(r"(\w+) above (-?[\d.]+), mean (-?[\d.]+), (\d+) regions?", evidence)
    if found is None:
        nowhere = re.fullmatch(r"(\w+) above (-?[\d.]+) nowhere", evidence)
        cue = _CUES[land_cover]
        if nowhere:
            return (
                f"The index shows no {land_cover}. {nowhere[1]} is nowhere above {nowhere[2]}. "
                f"I still look for {land_cover} by {cue}."
            )
        bands = evidence.removeprefix("no index, the bands are ")
        return f"{_first(land_cover, None, rng)} The bands {bands} allow no index for it. What decides is {cue}."
    items: list[tuple[str, str, str]] = []
    for line in attributes.splitlines():
        size, place, shape = line.split(": ", 1)[1].split(", ")
        items.append((size, place, shape))
    sentences = [_first(land_cover, int(found[4]), rng)]
    if items:
        sentences.append(_about("largest" if int(found[4]) > 1 else "region", items[0], rng))
    if len(items) > 1:
        sentences.append(_about("second", items[1], rng))
    sentences.append(_evidence(land_cover, found[1], found[2], found[3], rng))
    return " ".join(sentences)


def describe_examples(seed: int, count: int, *, spectral_words: bool = True) -> Iterator[DescribeExample]:
    """Examples with attributes drawn at random; the same seed gives the same examples.

    Without `spectral_words` prompts name the bands and nothing that was measured.
    """
    rng = random.Random(seed)
    for _ in range(count):
        land_cover = rng.choice(LAND_COVERS)
        index = rng.choice(_INDEX_OF[land_cover])
        threshold = f"{rng.choice((0.0, 0.0, 0.3, 0.5, 0.1, rng.uniform(-0.3, 0.6))):.2f}"
        draw = rng.random()
        if draw < 0.1 or not spectral_words:
            evidence, attributes = f"no index, the bands are {rng.choice(_BANDS)}", "none"
        elif draw < 0.18:
            evidence, attributes = f"{index} above {threshold} nowhere", "none"
        else:
            pieces = int(rng.expovariate(0.02)) + 1 if rng.random() < 0.6 else rng.randint(1, 4)
            mean = float(threshold) + rng.uniform(0.02, 0.5)
            evidence = f"{index} above {threshold}, mean {mean:.2f}, {pieces} region{'s' if pieces != 1 else ''}"
            sizes = sorted(rng.choices(range(len(SIZE_WORDS)), k=min(pieces, ATTRIBUTE_LIMIT)))
            attributes = "\n".join(
                f"{number}: {SIZE_WORDS[size][1]}, {rng.choice(rng.choice(PLACE_WORDS))}, {rng.choice(_SHAPES)}"
                for number, size in enumerate(sizes, start=1)
            )
        prompt = describe_prompt(land_cover, evidence, attributes)
        yield DescribeExample(land_cover, prompt, describe_reply(land_cover, evidence, attributes, rng))


def scene_record(scene: Scene, land_cover: str, rng: random.Random, *, spectral_words: bool = True) -> DescribeExample:
    """The describing prompt that serving would build for this scene, and a grounded reply.

    Without `spectral_words` the prompt is that of an image whose bands allow no index: to measure what the words of
    spectral priors are worth.
    """
    evidence, attributes = f"no index, the bands are {', '.join(scene.bands[:7])}", "none"
    if spectral_words:
        words = put_into_words(scene, land_cover, limit=ATTRIBUTE_LIMIT)
        evidence, attributes = words.evidence, words.attributes
    prompt = describe_prompt(land_cover, evidence, attributes)
    return DescribeExample(land_cover, prompt, describe_reply(land_cover, evidence, attributes, rng))
