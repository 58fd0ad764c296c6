"""A conversation as a recipe: the plans that made its layers, saved as YAML and run again on other images."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import yaml
from pydantic import ValidationError

from chat_app.errors import ChatError
from chat_app.files.export import region_table
from chat_app.graph import Conversation
from chat_app.memory.session import Session
from chat_app.memory.turns import Turn, TurnDone
from chat_app.plan import Plan
from spex_model.imaging.errors import ImagingError

log = logging.getLogger(__name__)

VERSION = 1
_CHANGES = frozenset(
    {"extract", "refine", "show", "hide", "rename", "delete", "colour", "reset", "set_pixel_size", "set_bands"}
)
COLUMNS = ("image", "layer", "land_cover", "pixels", "area_m2", "share", "regions", "method", "error")


@dataclass(frozen=True)
class RecipeStep:
    """What was said and the plan that it became."""

    say: str
    plan: Plan


def steps_of(turns: Iterable[Turn]) -> list[RecipeStep]:
    """The steps of a conversation that still stand: what was undone, corrected or gone back from is left out."""
    standing: list[RecipeStep] = []
    undone: list[RecipeStep] = []
    after: list[list[RecipeStep]] = [[]]
    for turn in turns:
        plan = turn.plan
        if plan is not None and turn.error is None:
            if plan.intent == "undo" and standing:
                undone.append(standing.pop())
            elif plan.intent == "redo" and undone:
                standing.append(undone.pop())
            elif plan.intent == "back_to" and (plan.turn or 0) < len(after):
                standing = list(after[plan.turn or 0])
            elif plan.intent in _CHANGES:
                if plan.correction and standing:
                    standing.pop()
                standing.append(RecipeStep(turn.message, plan.model_copy(update={"correction": None})))
                undone.clear()
        after.append(list(standing))
    return standing


def write_recipe(session: Session, path: Path) -> Path:
    """Write the session's recipe as YAML."""
    steps = [{"say": step.say, "plan": step.plan.to_dict()} for step in steps_of(session.turns)]
    recipe = {"spex_recipe": VERSION, "made_with": session.scene.source, "steps": steps}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def read_recipe(path: Path) -> list[RecipeStep]:
    """Read a recipe; raises ChatError with what is wrong."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(recipe, dict) or recipe.get("spex_recipe") != VERSION:
            raise ChatError(f"{path.name} is no recipe of version {VERSION}.")
        return [RecipeStep(str(step["say"]), Plan.model_validate(step["plan"])) for step in recipe["steps"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ChatError(f"{path.name} cannot be read as a recipe: {error}") from error


def replay(
    steps: Sequence[RecipeStep],
    images: Sequence[Path],
    conversation: Conversation,
    out: Path,
    *,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[dict[str, Any]]:
    """Run a recipe on images: OUT/results.csv (one row a layer) and OUT/results.gpkg (one table a layer, own CRS).

    An image that fails gets a row with its error, and the rest go on. Returns the rows.
    """
    out.mkdir(parents=True, exist_ok=True)
    package = out / "results.gpkg"
    package.unlink(missing_ok=True)
    rows: list[dict[str, Any]] = []
    for image in progress(images):
        try:
            rows += _replay_one(steps, image, conversation, package)
        except (ChatError, ImagingError) as error:
            log.warning("%s: %s", image.name, error)
            rows.append({"image": image.name, "error": str(error)})
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _replay_one(
    steps: Sequence[RecipeStep], image: Path, conversation: Conversation, package: Path
) -> list[dict[str, Any]]:
    session = conversation.store.create(image)
    try:
        errors = []
        for step in steps:
            *_, done = conversation.run_turn(session.id, step.say, plan=step.plan)
            if isinstance(done, TurnDone) and done.turn.error:
                errors.append(f"{step.say}: {done.turn.error}")
        rows = [_row(session, layer, image, "; ".join(errors)) for layer in session.layers]
        for layer in session.layers:
            table: geopandas.GeoDataFrame = region_table(session, layer)
            table.to_file(package, driver="GPKG", engine="pyogrio", layer=f"{image.stem} {layer.name}")
        return rows or [{"image": image.name, "error": "; ".join(errors) or "the recipe leaves no layer"}]
    finally:
        conversation.store.delete(session.id)


def _row(session: Session, layer: Any, image: Path, error: str) -> dict[str, Any]:
    extraction = session.extraction(layer)
    pixels = int(extraction.mask.sum())
    return {
        "image": image.name,
        "layer": layer.name,
        "land_cover": layer.land_cover,
        "pixels": pixels,
        "area_m2": session.area_m2(layer),
        "share": pixels / max(1, int(session.scene.valid.sum())),
        "regions": len(session.regions(layer)),
        "method": extraction.method,
        "error": error,
    }
