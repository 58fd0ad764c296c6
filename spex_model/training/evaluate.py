"""Measure a checkpoint: masks against labels and against spectral indices, on held-out tiles and frozen scenes.

`python -m spex_model.training.evaluate` measures the synthetic scenes that anyone can make anew;
`--imagery FOLDER` adds the held-out side of the labelled imagery. The whole path of the product runs:
prior, prompt, reply, hidden states, condensation, decoder.
"""

import argparse
import itertools
import json
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.scene import Scene
from spex_model.model.processor import Painting, SceneFeatures, paint
from spex_model.model.weights import ASSETS, build_checkpoint, load_language, load_vision
from spex_model.training.baselines import Baselines
from spex_model.training.contact_sheet import ContactSheet
from spex_model.training.datasets import UNKNOWN, load_imagery, split
from spex_model.training.metrics import Tally
from spex_model.training.replies import load_replies, reply_batch, tile_scene
from spex_model.training.spie.descriptions import scene_record
from spex_model.training.synthesis import FIRST_EVALUATION_SEED, VARIANTS, cover_mask, evaluation_scene

log = logging.getLogger(__name__)

VIEWS: dict[str, tuple[str, ...]] = {
    "model, RGB and near-infrared": ("blue", "green", "red", "nir"),
    "model, RGB only": ("blue", "green", "red"),
}
AGAINST = {"trees": ("buildings", "bare soil", "water")}
"""For trees a second question: told from sealed ground, bare soil and water alone, grass and crops left out."""


@dataclass(frozen=True)
class Case:
    """An image with its labels (H, W) uint8 in {0, 1, 255} a land cover; `site` groups images of one place."""

    group: str
    source: str
    site: str
    scene: Scene
    labels: dict[str, np.ndarray]


class Speaker:
    """The language model and the vision side of one checkpoint, answering as the product does.

    Without `spectral_words` it is told of no index and no region (see `scene_record`).
    """

    def __init__(self, checkpoint: Path, *, spectral_words: bool = True) -> None:
        self.spectral_words = spectral_words
        self.vision = load_vision(checkpoint)
        self.language, self.tokenizer, self.projector = load_language(checkpoint)

    def states(self, scene: Scene, features: SceneFeatures, land_cover: str) -> Tensor:
        """Hidden states (T, language_hidden_size) of the model's own description."""
        prompt = scene_record(scene, land_cover, random.Random(0), spectral_words=self.spectral_words).prompt
        [(_, states)] = reply_batch(self.language, self.tokenizer, self.projector, [prompt], features.tokens[None])
        return states

    def mask(
        self, scene: Scene, features: SceneFeatures, states: Tensor, condensed: Tensor | None = None
    ) -> np.ndarray:
        """The mask (H, W) bool that a reply's states paint, or a condensed prompt in their place."""
        painting = Painting(features, states)
        if condensed is not None:
            painting.said = condensed
        paint([(painting, window) for window in features.windows])
        return (painting.logits() > 0) & scene.valid

    @torch.inference_mode()
    def mean_prompts(self, replies: Path) -> dict[str, Tensor]:
        """The mean condensed prompt (condensed_tokens, decoder_width) of each land cover over cached training replies."""
        pools = defaultdict(list)
        for reply in load_replies(replies):
            if not reply.held_out:
                pools[reply.land_cover].append(self.vision.condensation([reply.states])[0])
        return {cover: torch.stack(prompts).mean(0) for cover, prompts in pools.items()}


def keep_bands(scene: Scene, wanted: tuple[str, ...]) -> Scene:
    """The scene with only some of its bands."""
    numbers = [number for number, band in enumerate(scene.bands) if band in wanted]
    return Scene(
        scene.reflectance[numbers].copy(), scene.valid.copy(), tuple(scene.bands[number] for number in numbers), scene.transform,
        scene.crs, scene.gsd_m, source=scene.source, calibrated=scene.calibrated,
    )  # fmt: skip


def synthetic_cases(scenes: int, covers: Sequence[str]) -> Iterator[Case]:
    """The first `scenes` frozen evaluation scenes of each variant."""
    for variant in VARIANTS:
        for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + scenes):
            made = evaluation_scene(seed, variant)
            labels = {cover: cover_mask(made.labels, cover) for cover in covers}
            yield Case(f"synthetic {variant}", "synthetic", str(seed), made.scene, labels)


def real_cases(imagery: Path) -> Iterator[Case]:
    """The held-out labelled tiles."""
    _, held_out = split(load_imagery(imagery))
    for tile in held_out:
        labels = dict(zip(LAND_COVERS, tile.covers, strict=True))
        yield Case(tile.source, tile.source, tile.site, tile_scene(tile), labels)


def told_apart(labels: dict[str, np.ndarray], cover: str) -> np.ndarray:
    """Labels (H, W) of a land cover against those of `AGAINST` alone; the rest is unknown."""
    plane = labels[cover].copy()
    others = np.any([labels[other] == 1 for other in AGAINST[cover]], axis=0)
    plane[(plane != 1) & ~others] = UNKNOWN
    plane[(plane == 1) & others] = UNKNOWN
    return plane


class Evaluation:
    """Tallies of every method, filled case by case."""

    def __init__(self, speaker: Speaker, baselines: Baselines, mean_prompts: dict[str, Tensor]) -> None:
        self.speaker = speaker
        self.baselines = baselines
        self.mean_prompts = mean_prompts
        self.tallies: dict[tuple[str, str, str], Tally] = defaultdict(Tally)
        self._before: dict[str, Tensor] = {}

    def add(self, case: Case, *, views: bool) -> dict[str, np.ndarray]:
        """Measure one image; returns the model's mask a land cover."""
        known = [cover for cover in case.labels if (case.labels[cover] != UNKNOWN).any()]
        scene = case.scene
        features = SceneFeatures(self.speaker.vision, scene)
        states = {cover: self.speaker.states(scene, features, cover) for cover in known}
        masks = {cover: self.speaker.mask(scene, features, states[cover]) for cover in known}
        for cover in known:
            self._count(case, cover, "model", masks[cover])
            for name, mask in self.baselines.masks(case.source, scene, cover).items():
                self._count(case, cover, name, mask)
        self._swap_replies(case, features, states)
        if views:
            self._fewer_bands(case, known)
        return masks

    def _count(self, case: Case, cover: str, method: str, mask: np.ndarray) -> None:
        self.tallies[case.group, cover, method].add(mask, case.labels[cover], case.site)
        if cover in AGAINST and set(AGAINST[cover]) <= set(case.labels):
            plane = told_apart(case.labels, cover)
            if (plane == 1).any() and (plane == 0).any():
                self.tallies[case.group, f"{cover}, of clear cases", method].add(mask, plane, case.site)

    def _swap_replies(self, case: Case, features: SceneFeatures, states: dict[str, Tensor]) -> None:
        """What language steers: the mask with the states of another reply."""
        for cover, said in states.items():
            if not (case.labels[cover] == 1).any():
                continue
            other = "vegetation" if cover != "vegetation" else "water"
            if other in states:
                mask = self.speaker.mask(case.scene, features, states[other])
                self._count(case, cover, f"reply about {other}", mask)
            if cover in self._before:
                self._count(
                    case, cover, "reply of another image", self.speaker.mask(case.scene, features, self._before[cover])
                )
            if cover in self.mean_prompts:
                mask = self.speaker.mask(case.scene, features, said, self.mean_prompts[cover])
                self._count(case, cover, "mean prompt of the land cover", mask)
        self._before |= states

    def _fewer_bands(self, case: Case, covers: Sequence[str]) -> None:
        for name, bands in VIEWS.items():
            if not set(bands) < set(case.scene.bands):
                continue
            scene = keep_bands(case.scene, bands)
            features = SceneFeatures(self.speaker.vision, scene)
            for cover in covers:
                states = self.speaker.states(scene, features, cover)
                self._count(case, cover, name, self.speaker.mask(scene, features, states))

    def figures(self) -> dict[str, dict[str, float | None]]:
        """The figures of every tally, as {"landsat | water | model": {"iou": 0.6, …}, …}."""
        return {" | ".join(key): tally.figures() for key, tally in sorted(self.tallies.items())}


COLUMNS = {
    "iou": "IoU", "low": "95 % from", "high": "to", "site_mean": "mean of sites", "image_mean": "mean of images", "precision": "precision",
    "recall": "recall", "boundary_f1": "edge F1", "area_error": "area error", "clean": "clean when absent",
}  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"| images | land cover | method | {' | '.join(COLUMNS.values())} |",
        f"|---|---|---|{'---|' * len(COLUMNS)}",
    ]
    for key, values in figures.items():
        cells = ["-" if values[name] is None else f"{values[name]:.3f}" for name in COLUMNS]
        lines.append(f"| {' | '.join(key.split(' | ') + cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.evaluate", description=__doc__)
    parser.add_argument("--imagery", type=Path, help="labelled imagery; without it the synthetic scenes alone")
    parser.add_argument("--scenes", type=int, default=2, help="synthetic scenes of each variant")
    parser.add_argument("--covers", nargs="+", choices=LAND_COVERS, default=LAND_COVERS, help="of the synthetic scenes")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder of the weights to measure")
    parser.add_argument("--views", action="store_true", help="also answer with fewer bands")
    parser.add_argument(
        "--spectral-words",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tell the language model what the indices show",
    )
    parser.add_argument("--baselines", type=Path, help="run of spex_model.training.baselines")
    parser.add_argument("--replies", type=Path, help="cached replies, for the mean prompt of each land cover")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of best, median and worst cases here (PNG)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    speaker = Speaker(build_checkpoint(assets=options.assets), spectral_words=options.spectral_words)
    means = speaker.mean_prompts(options.replies) if options.replies else {}
    evaluation = Evaluation(speaker, Baselines(options.baselines), means)
    sheet = ContactSheet()
    cases: Iterator[Case] = synthetic_cases(options.scenes, options.covers)
    if options.imagery:
        cases = itertools.chain(cases, real_cases(options.imagery))
    for case in cases:
        masks = evaluation.add(case, views=options.views)
        sheet.add(case.group, case.scene, masks, case.labels)
        log.info("%s %s", case.group, case.scene.source)
        if options.json:
            options.json.write_text(json.dumps(evaluation.figures(), indent=1))
    if options.sheet:
        sheet.save(options.sheet)
    print(table(evaluation.figures()))


if __name__ == "__main__":
    main()
