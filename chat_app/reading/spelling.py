"""Slips of the finger: words that nobody says, mended to the one that they are nearest to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import OSA
from spellchecker import SpellChecker

WORDS_FILE = Path(__file__).parents[2] / "assets" / "known_words.txt"
"""Words of English, German, French and Spanish, most usual first, by `spex_model.training.known_words`."""
_WORD = re.compile(r"(?<![\w\"'“„«»./-])[^\W\d_]+(?![\w\"'”“»./-])")
LANGUAGES = ("en", "de", "fr", "es")
_SHORT, _LONG = 3, 8
"""Shorter words are left alone; longer ones may hold two slips."""


def warm_up() -> None:
    """Load the dictionaries, so that the first slip takes no second longer."""
    _dictionary()
    _known()


def mend(message: str, names: Iterable[str] = ()) -> str:
    """The message with its slips mended: "smoth teh edgse" becomes "smooth the edges".

    Words in quotes, with a capital inside a sentence, in the names of layers or in other scripts stay as they are.
    """
    kept = {word for name in names for word in name.casefold().split()}

    def put(match: re.Match[str]) -> str:
        word = match[0]
        proper = word[0].isupper() and match.start() > 0 and not word.isupper()
        if len(word) < _SHORT or proper or word.casefold() in kept:
            return word
        return _nearest(word.casefold()) or word

    return _WORD.sub(put, message)


@lru_cache(maxsize=1)
def _known() -> dict[str, int]:
    words = WORDS_FILE.read_text(encoding="utf-8").split()
    # Without accents a word is no slip, and stays as it is typed.
    return {_plain(word): rank for rank, word in reversed(list(enumerate(words)))}


@lru_cache(maxsize=1)
def _dictionary() -> SpellChecker:
    """The words of all four languages; a second to load."""
    return SpellChecker(language=list(LANGUAGES))


def _plain(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))


@lru_cache(maxsize=4096)
def _nearest(word: str) -> str | None:
    """The known word that a slip most likely meant: nearest, then with the same letters, beginning alike, not
    shorter, and most usual; None for words of a dictionary."""
    known = _known()
    if not word.isascii() or word in known or word in _dictionary():
        return None
    farthest = 1 if len(word) < _LONG else 2
    found = process.extract(word, known.keys(), scorer=OSA.distance, score_cutoff=farthest, limit=None)
    likely = [
        (distance, not _same_letters(candidate, word), candidate[0] != word[0], len(candidate) < len(word), known[candidate], candidate)
        for candidate, distance, _ in found
        if len(candidate) >= len(word) or _without_doubles(candidate) == _without_doubles(word)
    ]  # fmt: skip
    return min(likely)[-1] if likely else None


def _same_letters(one: str, other: str) -> bool:
    return sorted(one) == sorted(other)


def _without_doubles(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)
