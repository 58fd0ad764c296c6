"""Guesses of the next tokens from a table of n-grams, which the language model then checks several at a time.

Answers and plans follow forms of their own, so the tokens before say in most places which comes next. vLLM's
speculative decoding keeps a guess only where the model itself would have chosen it: the text is the model's.
`python -m spex_model.training.draft_table` makes the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.numpy import load_file

DRAFT_FILE = "drafts.safetensors"
LONGEST = 4
"""Tokens of the longest n-gram that is looked up; shorter ones are tried after it."""


class DraftTable:
    """What follows after the last tokens, by n-grams of one to `LONGEST` tokens."""

    def __init__(self, following: Mapping[tuple[int, ...], int]) -> None:
        self._following = following

    @classmethod
    def load(cls, path: Path) -> DraftTable:
        """Read `ngrams` (N, LONGEST + 1) int32: the tokens before, filled up with -1 on the left, and the one after."""
        return cls({tuple(t for t in row[:-1] if t >= 0): row[-1] for row in load_file(path)["ngrams"].tolist()})

    def guess(self, context: Sequence[int], count: int) -> list[int]:
        """At most `count` tokens that are likely to follow after `context`; fewer where the table knows nothing."""
        tokens = list(context[-LONGEST:])
        known = len(tokens)
        while len(tokens) < known + count:
            endings = (tuple(tokens[-length:]) for length in range(min(LONGEST, len(tokens)), 0, -1))
            found = next((self._following[ending] for ending in endings if ending in self._following), None)
            if found is None:
                break
            tokens.append(found)
        return tokens[known:]
