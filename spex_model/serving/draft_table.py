"""Guesses of the next tokens from a table of n-grams, which the language model then checks several at a time.

Answers and plans follow forms of their own, so the tokens before say in most places which comes next. vLLM's
speculative decoding keeps a guess only where the model itself would have chosen it: the text is the model's.
`python -m spex_model.training.draft_table` makes the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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


class DraftTableProposer:
    """The table as vLLM's `custom_class` for speculative decoding; it stands in the checkpoint's folder."""

    def __init__(self, vllm_config: Any) -> None:
        self._count: int = vllm_config.speculative_config.num_speculative_tokens
        self._max_length: int = vllm_config.model_config.max_model_len
        self._table = DraftTable.load(Path(vllm_config.model_config.model) / DRAFT_FILE)

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to load onto a device."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: npt.NDArray[np.int32],
        token_ids_cpu: npt.NDArray[np.int32],
        **kwargs: Any,
    ) -> list[list[int]]:
        """Guesses for each running request: rows of `token_ids_cpu` hold all its tokens, newest last."""
        guesses: list[list[int]] = []
        for row, sampled in enumerate(sampled_token_ids):
            length = int(num_tokens_no_spec[row])
            room = min(self._count, self._max_length - length - 1)
            wanted = len(sampled) > 0 and room > 0
            context = token_ids_cpu[row, max(0, length - LONGEST) : length].tolist() if wanted else []
            guesses.append(self._table.guess(context, room) if wanted else [])
        return guesses
