"""A conversation as a recipe: the plans that made its layers, saved as YAML and run again on other images."""

from __future__ import annotations

import csv
import logging
import os
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
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session
from chat_app.memory.turns import TurnDone
from chat_app.plan import Plan
from spex_model.imaging.errors import ImagingError

log = logging.getLogger(__name__)

VERSION = 1
_ON_A_LAYER = frozenset({"refine", "show", "hide", "rename", "delete", "colour"})
_CHANGES = _ON_A_LAYER | {"extract", "reset", "set_pixel_size", "set_bands"}
COLUMNS = ("image", "layer", "land_cover", "pixels", "area_m2", "share", "regions", "method", "table", "error")


@dataclass(frozen=True)
class RecipeStep:
    """What was said and the plan that it became."""

    say: str
    plan: Plan


def steps_of(session: Session) -> list[RecipeStep]:
    """The steps that led to the session as it is, oldest first.

    What was undone, corrected or gone back from is not among them, nor what was done to layers that show a change:
    one image alone has none.
    """
    steps = (_step(session, number) for number in session.snapshot.turns if number)
    return [step for step in steps if step is not None]


def _step(session: Session, number: int) -> RecipeStep | None:
    """What a turn did, with the layer it meant by its name: on another image nobody picks one by hand."""
    turn = session.turns[number - 1]
    plan = turn.plan
    if plan is None or plan.intent not in _CHANGES or turn.error is not None:
        return None
    before = session.after_turn[number - 2].layers if number > 1 else ()
    touched = turn.changed or {layer.id for layer in before}.difference(turn.layer_ids)
    meant = [layer for layer in before if layer.id in touched]
    if meant and all(session.extraction(layer).method == "change" for layer in meant):
        return None
    values: dict[str, Any] = {"correction": None}
    if plan.intent in _ON_A_LAYER and plan.target is None and len(meant) == 1:
        values["target"] = meant[0].name
    return RecipeStep(turn.message, plan.model_copy(update=values))


def write_recipe(session: Session, path: Path) -> Path:
    """Write the session's recipe as YAML."""
    steps = [{"say": step.say, "plan": step.plan.to_dict()} for step in steps_of(session)]
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

    Both call an image by its file name, or by its path from the folder that holds all of them where file names
    repeat. An image that fails gets a row with its error, and the rest go on. Returns the rows.
    """
    out.mkdir(parents=True, exist_ok=True)
    package = _Package(out / "results.gpkg")
    rows: list[dict[str, Any]] = []
    for image, name in zip(progress(images), _image_names(images), strict=True):
        try:
            rows += [{"image": name, **row} for row in _replay_one(steps, image, name, conversation, package)]
        except (ChatError, ImagingError) as error:
            log.warning("%s: %s", name, error)
            rows.append({"image": name, "error": str(error)})
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _image_names(images: Sequence[Path]) -> list[str]:
    paths = [image.parent.resolve() / image.name for image in images]
    if len({path.stem.casefold() for path in paths}) == len(paths):
        return [path.name for path in paths]
    folder = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(folder).as_posix() for path in paths]


class _Package:
    """A new GeoPackage in which no table takes the place of another."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._taken: set[str] = set()

    def add(self, table: geopandas.GeoDataFrame, name: str) -> str:
        """Write a table under this name, with a number where it is taken, and return the name."""
        number, free = 2, name
        # SQLite takes names that differ in case only for the same.
        while free.casefold() in self._taken:
            free, number = f"{name} {number}", number + 1
        self._taken.add(free.casefold())
        table.to_file(self._path, driver="GPKG", engine="pyogrio", layer=free)
        return free


def _replay_one(
    steps: Sequence[RecipeStep], image: Path, name: str, conversation: Conversation, package: _Package
) -> list[dict[str, Any]]:
    session = conversation.store.create(image)
    try:
        errors = []
        for step in steps:
            *_, done = conversation.run_turn(session.id, step.say, plan=step.plan)
            if isinstance(done, TurnDone) and done.turn.error:
                errors.append(f"{step.say}: {done.turn.error}")
        error, rows = "; ".join(errors), []
        for layer in session.layers:
            table = package.add(region_table(session, layer), f"{Path(name).with_suffix('')} {layer.name}")
            rows.append({**_measure(session, layer), "table": table, "error": error})
        return rows or [{"error": error or "the recipe leaves no layer"}]
    finally:
        conversation.store.delete(session.id)


def _measure(session: Session, layer: Layer) -> dict[str, Any]:
    extraction = session.extraction(layer)
    pixels = int(extraction.mask.sum())
    return {
        "layer": layer.name,
        "land_cover": layer.land_cover,
        "pixels": pixels,
        "area_m2": session.area_m2(layer),
        "share": pixels / max(1, int(session.scene.valid.sum())),
        "regions": len(session.regions(layer)),
        "method": extraction.method,
    }
