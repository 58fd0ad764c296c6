"""The gist of a message: its intent and the steps it asks for, without values and names.

A linear model over hashed n-grams, light enough to stand beside the language model as a second opinion. The chat
compares both; `spex_model.training.train_gist` trains it on the lessons of the language model.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from spex_model.imaging.landcover import SYNONYMS

GIST_FILE = Path(__file__).parents[2] / "assets" / "weights" / "gist.safetensors"
BUCKETS = 1 << 17
"""Columns that n-grams are hashed to."""
_LETTERS = range(1, 6)
_CHARACTERS = range(1, 5)
_WORDS = range(1, 4)
_SHORT = 8
"""Messages of so many words at most lean on the turn before."""
_LONGEST = 12
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LAYER = re.compile(r"(.+?)\*? \d+$")
_COVERS = {word: cover for cover, words in SYNONYMS.items() for word in words}


def sketch_of(plan: Mapping[str, Any]) -> str:
    """What of a plan, given as in its JSON, its gist is: "undo", "measure share", "refine grow keep_largest"."""
    intent = str(plan["intent"])
    match intent:
        case "refine":
            return " ".join((intent, *sorted(step["op"] for step in plan.get("steps", ()))))
        case "extract":
            return f"{intent} steps" if plan.get("steps") else intent
        case "measure":
            return f"{intent} {plan.get('quantity', 'area')}"
    return intent


def grams(message: str, layers: str, last: str) -> list[str]:
    """The n-grams of a message and of where it was said; `layers` and `last` as the planning prompt has them.

    Land covers and the names of layers become one word each, and so do numbers: which ones they are makes no difference
    to what is wanted.
    """
    names = [match[1] for part in layers.split(", ") if (match := _LAYER.match(part))]
    text = unicodedata.normalize("NFKC", message).lower().replace("’", "'")
    text = _NUMBER.sub("0", text)
    for name in names:
        if name not in _COVERS:
            text = text.replace(name.lower(), "LAYER")
    said = {_COVERS[word] for word in _COVER.findall(text)}
    tokens = _TOKEN.findall(_COVER.sub("COVER", text))
    found = [*_inside(tokens), *_around(tokens)]
    found += ["there" if cover in names else "new" for cover in said]
    before = last.split(" ")[0]
    found += [f"layers {min(3, len(names))}", f"last {before}", f"all of last {_NUMBER.sub('0', last)}"]
    found.append(f"start of last {' '.join(last.split(' ')[:2])}")
    words = {token for token in tokens if token[0].isalnum()}
    if len(words) <= _SHORT:
        found += [f"{before} then {word}" for word in words]
    return found


def _inside(tokens: list[str]) -> Iterator[str]:
    """Letters in a row: of a word with its borders, or of Chinese characters."""
    for token in tokens:
        text, lengths = (token, _CHARACTERS) if _CHINESE.search(token) else (f" {token} ", _LETTERS)
        for length in lengths:
            yield from (text[start : start + length] for start in range(len(text) - length + 1))


def _around(tokens: list[str]) -> Iterator[str]:
    """Words in a row, the first one, the last one, and how many there are."""
    for length in _WORDS:
        yield from (f"_{' '.join(tokens[start : start + length])}" for start in range(len(tokens) - length + 1))
    if tokens:
        yield from (f"^{tokens[0]}", f"${tokens[-1]}", f"#{min(len(tokens), _LONGEST)}")


def _any_cover() -> re.Pattern[str]:
    ordered = sorted(_COVERS, key=len, reverse=True)
    spaced = "|".join(re.escape(word) for word in ordered if not _CHINESE.search(word))
    dense = "|".join(re.escape(word) for word in ordered if _CHINESE.search(word))
    return re.compile(rf"(?<![\w-])(?:{spaced})(?![\w-])|{dense}")


_COVER = _any_cover()


def counted(message: str, layers: str, last: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Buckets (K,) of a message's n-grams and 1 + ln of how often each was met (K,)."""
    counts = Counter(zlib.crc32(gram.encode()) % BUCKETS for gram in grams(message, layers, last))
    buckets = np.fromiter(counts.keys(), np.int64, len(counts))
    return buckets, 1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))


@dataclass(frozen=True)
class Gist:
    """The trained model: `sketches` (C,), coefficients (BUCKETS, C) int8 times `scale` (C,), `bias` (C,), idf (BUCKETS,)."""

    sketches: tuple[str, ...]
    coefficients: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    idf: npt.NDArray[np.float32]

    @classmethod
    def load(cls, path: Path = GIST_FILE) -> Gist:
        """Read the weights; raises OSError where there are none."""
        with safe_open(path, "numpy") as file:
            sketches = tuple(json.loads(file.metadata()["sketches"]))
            return cls(sketches, *(file.get_tensor(name) for name in ("coefficients", "scale", "bias", "idf")))

    def read(self, message: str, layers: str, last: str) -> dict[str, float]:
        """The probability of each sketch; one logistic regression a sketch, made to add up to one."""
        buckets, values = counted(message, layers, last)
        values = values * self.idf[buckets]
        values /= np.linalg.norm(values)
        logits = (values @ self.coefficients[buckets]) * self.scale + self.bias
        shares = 1 / (1 + np.exp(-logits))
        return dict(zip(self.sketches, (shares / shares.sum()).tolist(), strict=True))
