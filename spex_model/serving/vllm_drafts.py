"""The table of drafts as vLLM's `custom_class` for speculative decoding. Imported by vLLM alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spex_model.model.draft_table import DRAFT_FILE, LONGEST, DraftTable


class DraftTableProposer:
    """Proposes what the table in the checkpoint's folder says; the model checks it."""

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
