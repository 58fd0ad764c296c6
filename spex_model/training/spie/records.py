"""Instruction-following records of labelled images: prompts with measured facts, and answers that state nothing else."""

import json
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.spectral_words import put_into_words
from spex_model.training.spie.answers import (
    Said,
    say_condition,
    say_evidence,
    say_extent,
    say_neighbours,
    say_objects,
    say_piece,
)
from spex_model.training.spie.descriptions import ATTRIBUTE_LIMIT, describe_prompt, describe_reply
from spex_model.training.spie.facts import CoverFacts, index_explained, measure_cover
from spex_model.training.spie.prompts import attribute_prompt, facts_block
from spex_model.training.spie.questions import QUESTION_KINDS, Exchange, ask_absent, ask_present
from spex_model.training.spie.samples import Sample

TASKS = ("attributes", "compact", *QUESTION_KINDS, "absent", "cannot tell")
QUESTIONS_EACH = 4


@dataclass(frozen=True)
class Record:
    """One instruction and its answer.

    speaks_of: "labels", or "index" for the compact prompt, whose attributes are those of the spectral prior. facts: the
    measured facts that the answer states, in plain values (areas in m2, shares 0-1). seed: repeats the wording.
    """

    id: str
    image: str
    site: str
    source: str
    sensor: str
    land_cover: str
    task: str
    prompt: str
    answer: str
    facts: dict[str, Any]
    speaks_of: str
    held_out: bool
    seed: int


def _rng(sample: Sample, land_cover: str, seed: int) -> random.Random:
    """A generator that does not depend on which other images are there."""
    return random.Random(zlib.crc32(f"{sample.name}/{land_cover}/{seed}".encode()))


def _joined(said: Iterable[Said]) -> tuple[str, dict[str, Any]]:
    parts = list(said)
    facts: dict[str, Any] = {}
    for part in parts:
        facts |= part.facts
    return " ".join(part.text for part in parts), facts


def describe(found: CoverFacts, rng: random.Random) -> tuple[Said, ...]:
    """A description: how much, the largest regions, the objects, the neighbours, the evidence, the state of plants."""
    middle = [say_piece(found, 0, rng)]
    if found.regions > 1:
        middle.append(say_piece(found, 1, rng))
    if found.regions > 2:
        middle.append(say_objects(found, rng))
    if found.rim:
        middle.append(say_neighbours(found, rng, of_largest=False))
    last = [say_evidence(found, rng)]
    if state := say_condition(found, rng):
        last.append(state)
    return (say_extent(found, rng), *middle, *last)


def _compact(sample: Sample, land_cover: str, rng: random.Random) -> tuple[str, str, dict[str, Any]] | None:
    """The prompt and reply that the shipped model was trained on, and what they state of the index.

    None where the reply would explain the index by bands that differ the other way.
    """
    words = put_into_words(sample.scene, land_cover, limit=ATTRIBUTE_LIMIT)
    prior = words.prior
    if prior.index and prior.mask.any() and not index_explained(sample.scene, prior.index, prior.mask):
        return None
    prompt = describe_prompt(land_cover, words.evidence, words.attributes)
    reply = describe_reply(land_cover, words.evidence, words.attributes, rng)
    attributes = [] if words.attributes == "none" else words.attributes.splitlines()
    facts: dict[str, Any] = {"evidence": words.evidence, "attributes": attributes}
    return prompt, reply, facts


def _instructions(
    sample: Sample, land_cover: str, rng: random.Random
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Task, prompt, answer and facts of one land cover: the compact prompt, and what its labels allow beyond that."""
    compact = _compact(sample, land_cover, rng)
    if compact is not None:
        yield ("compact", *compact)
    found = measure_cover(sample.scene, sample.covers, land_cover)
    if found is None:
        return
    exchanges: list[Exchange | None] = []
    if found.pixels:
        yield ("attributes", attribute_prompt(found), *_joined(describe(found, rng)))
        exchanges = [ask_present(found, kind, rng) for kind in rng.sample(QUESTION_KINDS, QUESTIONS_EACH)]
    elif found.absent:
        exchanges = [ask_absent(found, rng)]
    for exchange in exchanges:
        if exchange is not None:
            prompt = f"{facts_block(found)}\nQuestion: {exchange.question}"
            yield (exchange.task, prompt, *_joined(exchange.said))


def sample_records(sample: Sample, seed: int) -> Iterator[Record]:
    """All records of one image, land cover by land cover; the same sample and seed give the same records."""
    for cover in LAND_COVERS:
        made = _instructions(sample, cover, _rng(sample, cover, seed))
        for number, (task, prompt, answer, facts) in enumerate(made, start=1):
            name = f"{sample.name}/{cover}/{number}".replace(" ", "-")
            speaks_of = "index" if task == "compact" else "labels"
            yield Record(
                name, sample.name, sample.site, sample.source, sample.sensor, cover, task, prompt, answer, facts,
                speaks_of, sample.held_out, seed,
            )  # fmt: skip


def write_records(records: Iterable[Record], path: Path) -> int:
    """Write records as JSON lines; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            count += 1
    return count


def read_records(path: Path) -> list[Record]:
    """Records written by `write_records`."""
    with path.open(encoding="utf-8") as lines:
        return [Record(**json.loads(line)) for line in lines]
