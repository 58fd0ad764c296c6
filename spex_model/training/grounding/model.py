"""The truth of the shipped model's own free-running replies, before anything checks them.

A reply is held to three masks: the spectral index that its prompt describes (does the model copy?), the mask that its
hidden states paint (is what is shown described?), and the labels where they know every pixel (is it so?).
"""

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.scene import Scene
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.model.weights import build_checkpoint
from spex_model.training.datasets import load_imagery, split
from spex_model.training.evaluate import Speaker
from spex_model.training.grounding.check import Tally, report
from spex_model.training.grounding.measures import index_mask
from spex_model.training.grounding.statements import find_statements
from spex_model.training.grounding.subject import Ground
from spex_model.training.replies import reply_batch, tile_scene
from spex_model.training.spie.descriptions import scene_record
from spex_model.training.synthesis import VARIANTS, cover_mask, evaluation_scene

log = logging.getLogger(__name__)

REFERENCES = {
    "index": "held to the spectral index that the prompt describes",
    "mask": "held to the mask that the reply paints",
    "labels": "held to the labels, where they know every pixel",
}
Case = tuple[str, Scene, Mapping[str, np.ndarray]]


def cases(imagery: Path | None, scenes: int, tiles: int) -> Iterator[Case]:
    """(group, scene, labels): synthetic scenes of each variant, then held-out tiles, each source in turn."""
    for variant in VARIANTS:
        for number in range(scenes):
            made = evaluation_scene(9000 + number, variant)
            yield "synthetic", made.scene, {cover: cover_mask(made.labels, cover) for cover in LAND_COVERS}
    if imagery is None:
        return
    held_out = split(load_imagery(imagery))[1]
    turns: dict[str, list[int]] = defaultdict(list)
    for number, tile in enumerate(held_out):
        turns[tile.source].append(number)
    order = sorted((turn, source, number) for source, numbers in turns.items() for turn, number in enumerate(numbers))
    for _, source, number in order[:tiles]:
        tile = held_out[number]
        yield source, tile_scene(tile), dict(zip(LAND_COVERS, tile.covers, strict=True))


def measure_model(imagery: Path | None, scenes: int, tiles: int) -> dict[str, dict[str, Tally]]:
    """For each reference of `REFERENCES` the tallies "all", each land cover and each source."""
    speaker = Speaker(build_checkpoint())
    found: dict[str, dict[str, Tally]] = {name: defaultdict(Tally) for name in REFERENCES}
    for group, scene, labels in cases(imagery, scenes, tiles):
        features = SceneFeatures(speaker.vision, scene)
        for cover in LAND_COVERS:
            prompt = scene_record(scene, cover, random.Random(0)).prompt
            [(text, states)] = reply_batch(
                speaker.language, speaker.tokenizer, speaker.projector, [prompt], features.tokens[None]
            )
            mask = (decode_scene(features, states) > 0) & scene.valid
            grounds = {
                "index": Ground(scene, cover, index_mask(scene, cover).mask),
                "mask": Ground(scene, cover, mask),
            }
            if not (scene.valid & (labels[cover] == 255)).any():
                grounds["labels"] = Ground(scene, cover, scene.valid & (labels[cover] == 1))
            for name, ground in grounds.items():
                statements, unread = find_statements(text, ground)
                for row in ("all", f"land cover {cover}", f"source {group}"):
                    found[name][row].add(statements, unread, f"{scene.source}/{cover}: {text!r}")
        log.info("%s %s, so far against the mask: %s", group, scene.source, found["mask"]["all"].row("all"))
    return found


def report_model(found: Mapping[str, Mapping[str, Tally]]) -> str:
    """One report a reference."""
    parts = [report(tallies, f"The model's replies, {REFERENCES[name]}") for name, tallies in found.items() if tallies]
    return "\n".join(parts)
