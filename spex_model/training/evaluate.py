"""Measure a checkpoint: masks against labels and against spectral indices, on held-out tiles and frozen scenes.

`python -m spex_model.training.evaluate` measures the synthetic scenes that anyone can make anew;
`--imagery FOLDER` adds the held-out side of the labelled imagery. The whole path of the product runs:
prior, prompt, reply, hidden states, condensation, decoder.
"""

import argparse
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spex_model.imaging.indices import available_indices, prior_for
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.scene import Scene
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.model.weights import build_checkpoint, load_language, load_vision
from spex_model.training.datasets import UNKNOWN, load_imagery, split
from spex_model.training.replies import reply_batch, tile_scene
from spex_model.training.spie import scene_record
from spex_model.training.synthesis import FIRST_EVALUATION_SEED, VARIANTS, cover_mask, evaluation_scene

log = logging.getLogger(__name__)

VISIBLE = ("blue", "green", "red")


@dataclass
class Tally:
    """Pixel counts of one method on one kind of image."""

    both: int = 0
    either: int = 0
    predicted: int = 0
    actual: int = 0
    clean: int = 0
    empty: int = 0

    def add(self, mask: np.ndarray, labels: np.ndarray) -> None:
        """Count one image: mask (H, W) bool, labels (H, W) uint8 in {0, 1, 255}."""
        known, truth = labels != UNKNOWN, labels == 1
        mask = mask & known
        self.both += int((mask & truth).sum())
        self.either += int((mask | truth).sum())
        self.predicted += int(mask.sum())
        self.actual += int(truth.sum())
        if not truth.any():
            self.empty += 1
            self.clean += int(mask.sum() < 0.01 * known.sum())

    def figures(self) -> dict[str, float | None]:
        """IoU over all pixels, relative area error, and the share of images without the class left clean (< 1 % false)."""
        return {
            "iou": round(self.both / self.either, 4) if self.either else None,
            "area_error": round((self.predicted - self.actual) / self.actual, 4) if self.actual else None,
            "clean": round(self.clean / self.empty, 3) if self.empty else None,
        }


class Speaker:
    """The language model and the vision side of one checkpoint, answering as the product does."""

    def __init__(self, checkpoint: Path) -> None:
        self.vision = load_vision(checkpoint)
        self.language, self.tokenizer, self.projector = load_language(checkpoint)

    def states(self, scene: Scene, features: SceneFeatures, land_cover: str) -> torch.Tensor:
        """Hidden states (T, language_hidden_size) of the model's own description."""
        prompt = scene_record(scene, land_cover, random.Random(0)).prompt
        [(_, states)] = reply_batch(self.language, self.tokenizer, self.projector, [prompt], features.tokens[None])
        return states


def _keep_bands(scene: Scene, wanted: tuple[str, ...]) -> Scene:
    numbers = [number for number, band in enumerate(scene.bands) if band in wanted]
    return Scene(
        scene.reflectance[numbers].copy(), scene.valid.copy(), tuple(scene.bands[number] for number in numbers), scene.transform,
        scene.crs, scene.gsd_m, source=scene.source, calibrated=scene.calibrated,
    )  # fmt: skip


def synthetic_cases(scenes: int, covers: Sequence[str]) -> Iterator[tuple[str, Scene, dict[str, np.ndarray]]]:
    """The first `scenes` frozen evaluation scenes of each variant as (group, scene, labels a land cover)."""
    for variant in VARIANTS:
        for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + scenes):
            made = evaluation_scene(seed, variant)
            yield (
                f"synthetic {variant}",
                made.scene,
                {cover: cover_mask(made.labels, cover) for cover in covers},
            )


def real_cases(imagery: Path) -> Iterator[tuple[str, Scene, dict[str, np.ndarray]]]:
    """The held-out labelled tiles."""
    _, held_out = split(load_imagery(imagery))
    for tile in held_out:
        yield tile.source, tile_scene(tile), dict(zip(LAND_COVERS, tile.covers, strict=True))


def index_masks(scene: Scene, land_cover: str) -> dict[str, np.ndarray]:
    """Masks of the usual indices at their usual thresholds, as baselines."""
    names = {"water": ("NDWI", "MNDWI"), "vegetation": ("NDVI",), "trees": ("NDVI",)}.get(land_cover, ())
    return {name: prior_for(scene, land_cover, index=name).mask for name in names if name in available_indices(scene)}


def measure(
    speaker: Speaker, cases: Iterator[tuple[str, Scene, dict[str, np.ndarray]]], *, rgb_too: bool
) -> dict[str, Any]:
    """Tallies a group, land cover and method; with `rgb_too` the model also answers from red, green and blue alone."""
    tallies: dict[tuple[str, str, str], Tally] = {}
    swapped: dict[tuple[str, str, str], Tally] = {}
    for group, scene, labels in cases:
        views = {"model": scene}
        if rgb_too and set(VISIBLE) < set(scene.bands):
            views["model, RGB only"] = _keep_bands(scene, VISIBLE)
        for name, view in views.items():
            features = SceneFeatures(speaker.vision, view)
            states = {
                cover: speaker.states(view, features, cover) for cover in labels if (labels[cover] != UNKNOWN).any()
            }
            for cover, said in states.items():
                mask = (decode_scene(features, said) > 0) & view.valid
                tallies.setdefault((group, cover, name), Tally()).add(mask, labels[cover])
            if name == "model" and {"water", "vegetation"} <= set(states):
                other = states["vegetation"]
                mask = (decode_scene(features, other) > 0) & view.valid
                swapped.setdefault((group, "water", "reply about vegetation"), Tally()).add(mask, labels["water"])
        for cover in labels:
            if (labels[cover] != UNKNOWN).any():
                for name, mask in index_masks(scene, cover).items():
                    tallies.setdefault((group, cover, name), Tally()).add(mask, labels[cover])
        log.info("%s %s", group, scene.source)
    return {" | ".join(key): tally.figures() for key, tally in sorted((tallies | swapped).items())}


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| images | land cover | method | IoU | area error | clean when absent |",
        "|---|---|---|---|---|---|",
    ]
    for key, values in figures.items():
        cells = ["-" if value is None else f"{value:.3f}" for value in values.values()]
        lines.append(f"| {' | '.join(key.split(' | ') + cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.evaluate", description=__doc__)
    parser.add_argument("--imagery", type=Path, help="labelled imagery; without it the synthetic scenes alone")
    parser.add_argument("--scenes", type=int, default=2, help="synthetic scenes of each variant")
    parser.add_argument("--covers", nargs="+", choices=LAND_COVERS, default=LAND_COVERS, help="of the synthetic scenes")
    parser.add_argument("--rgb", action="store_true", help="also answer from red, green and blue alone")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    speaker = Speaker(build_checkpoint())
    figures = measure(speaker, synthetic_cases(options.scenes, options.covers), rgb_too=options.rgb)
    if options.imagery:
        figures |= measure(speaker, real_cases(options.imagery), rgb_too=options.rgb)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print(table(figures))


if __name__ == "__main__":
    main()
