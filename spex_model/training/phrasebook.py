"""Phrasebooks: how people say what the chat can do, one set of YAML files a language in `phrasebooks/`.

Wordings stand under the intent, step or detail that they mean, with slots in braces that `plan_data` fills: {c} a
land cover, {p} and {pp} a piece and pieces, {a} an area and {s} a distance with unit, {n} a number from two on,
{nth} its ordinal, {w} a part of the image, {i} an index, {v} a value, {t} a layer, {o} another layer, {k} a colour,
{f} a file format, {x} a new name, {b} bands, {m} a request.
"""

import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "phrasebooks"
LANGUAGES = ("en", "de", "fr", "es", "zh")


@dataclass(frozen=True)
class Phrasebook:
    """All wordings of one language: nested mappings that end in lists."""

    language: str
    entries: dict[str, Any]

    def wordings(self, *path: str | int) -> list[str]:
        """The wordings under a path of keys; empty where there are none."""
        found: Any = self.entries
        for key in path:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return found or []

    def keys(self, *path: str) -> list[Any]:
        """The keys below a path."""
        found: Any = self.entries
        for key in path:
            found = found.get(key, {})
        return list(found)

    def pick(self, rng: random.Random, *path: str | int) -> str:
        """One wording at random. Raises KeyError where there is none."""
        found = self.wordings(*path)
        if not found:
            raise KeyError(f"{self.language} has no wording of {'/'.join(map(str, path))}")
        return found if isinstance(found, str) else rng.choice(found)


def _merge(into: dict[Any, Any], new: dict[Any, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            known = into.setdefault(key, [])
            known += [item for item in dict.fromkeys(value) if item not in known]
        else:
            into[key] = value


@lru_cache
def phrasebook(language: str) -> Phrasebook:
    """The phrasebook of a language: all files whose names begin with its code, merged. Raises FileNotFoundError."""
    paths = sorted(FOLDER.glob(f"{language}*.yaml"))
    if not paths:
        raise FileNotFoundError(f"There is no phrasebook for the language {language} in {FOLDER.name}/.")
    entries: dict[Any, Any] = {}
    for path in paths:
        _merge(entries, yaml.safe_load(path.read_text(encoding="utf-8")))
    return Phrasebook(language, entries)
