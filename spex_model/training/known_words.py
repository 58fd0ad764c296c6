"""The words that people say to the chat, counted over phrasebooks and conversations: what slips are mended towards.

`python -m spex_model.training.known_words` writes assets/known_words.txt, most usual first.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rapidfuzz import process
from rapidfuzz.distance import OSA
from spellchecker import SpellChecker

from spex_model.imaging.landcover import SYNONYMS
from spex_model.training.conversation import conversations
from spex_model.training.phrasebook import LANGUAGES, phrasebook

WORDS_FILE = Path(__file__).parents[2] / "assets" / "known_words.txt"
_WORD = re.compile(r"[^\W\d_]{3,}")
_USUAL = 10


def said_words(text: str) -> list[str]:
    """The words of three letters or more, lower case, without those of a slot."""
    return _WORD.findall(re.sub(r"\{\w+\}", " ", text).lower())


def _texts(entry: Any) -> Iterator[str]:
    if isinstance(entry, dict):
        for value in entry.values():
            yield from _texts(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from _texts(value)
    else:
        yield str(entry)


def count_words() -> Counter[str]:
    """How often each word is said, in all languages written with letters and spaces."""
    counted: Counter[str] = Counter(
        word for names in SYNONYMS.values() for name in names for word in said_words(name) * 9
    )
    for language in LANGUAGES:
        if language == "zh":
            continue
        for text in _texts(phrasebook(language).entries):
            counted.update(said_words(text))
        for talk in conversations(language):
            for turn in talk:
                counted.update(said_words(turn["say"]))
    return counted


def known_words() -> list[str]:
    """The words of the lessons, most usual first, without the slips that people make in them too.

    A word that was said once may be a slip; so is one that no dictionary has and that is a slip away from a word said
    `_USUAL` times as often.
    """
    counted = {word: times for word, times in count_words().most_common() if times > 1}
    dictionary = SpellChecker(language=[language for language in LANGUAGES if language != "zh"])
    spelt = [word for word in counted if word in dictionary]

    def is_slip(word: str) -> bool:
        near = process.extract(word, spelt, scorer=OSA.distance, score_cutoff=1, limit=None)
        return any(counted[other] >= _USUAL * counted[word] for other, _, _ in near)

    return [word for word in counted if word in dictionary or not is_slip(word)]


def main() -> None:
    """Count and write."""
    argparse.ArgumentParser(prog="python -m spex_model.training.known_words", description=__doc__).parse_args()
    WORDS_FILE.write_text("\n".join(known_words()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
