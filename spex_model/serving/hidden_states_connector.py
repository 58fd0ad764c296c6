"""Writes the hidden states of a finished request to a file that the client named beforehand.

A streamed answer doesn't carry `kv_transfer_params` back, so the client chooses an opaque name and sends it:
`kv_transfer_params={"hs_name": "<32 hex digits>", "include_output_tokens": true}`. The file
`<shared_storage_path>/<name>.safetensors` then holds `hidden_states` (tokens, 1, hidden_size) and `token_ids`;
its `.lock` companion is held until the write is complete. A request without a valid name leaves no file, nor
does an aborted one.

Differences from vLLM's example connector: works on the CPU backend, and with a model that owns the cache layer
itself instead of speculative decoding.
"""

from __future__ import annotations

import copy
import fcntl
import os
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.example_hidden_states_connector import (
    ExampleHiddenStatesConnector,
    ExampleHiddenStatesConnectorMetadata,
    PendingSave,
    extract_from_kv_cache,
)
from vllm.v1.request import RequestStatus

_STATES_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _CopyDone:
    """Stands in for a CUDA event where the copy has already happened."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        return None


class SpexHiddenStatesConnector(ExampleHiddenStatesConnector):
    """Saves post-norm hidden states of opted-in requests; loads nothing."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        # The parent only asks how many layers are extracted, and refuses to start without an answer.
        config = copy.copy(vllm_config)
        extractor = SimpleNamespace(hf_config=SimpleNamespace(eagle_aux_hidden_state_layer_ids=[-1]))
        object.__setattr__(config, "speculative_config", SimpleNamespace(draft_model_config=extractor))
        super().__init__(config, role, kv_cache_config)
        self._vllm_config = vllm_config

    def build_connector_meta(self, scheduler_output: Any) -> ExampleHiddenStatesConnectorMetadata:
        """Hand finished requests and the file names of new ones to the worker."""
        metadata = ExampleHiddenStatesConnectorMetadata()
        metadata.pending_saves = list(self._pending_saves.values())
        self._pending_saves.clear()
        for request in scheduler_output.scheduled_new_reqs:
            filename = self._chosen_filename(request.sampling_params)
            if filename is not None:
                self._request_filenames[request.req_id] = filename
                metadata.new_req_filenames[request.req_id] = filename
        return metadata

    def _chosen_filename(self, sampling_params: Any) -> str | None:
        extra = (sampling_params.extra_args if sampling_params else None) or {}
        transfer = extra.get("kv_transfer_params")
        name = transfer.get("hs_name") if isinstance(transfer, dict) else None
        if not isinstance(name, str) or not _STATES_NAME.fullmatch(name):
            return None
        return str(Path(self._storage_path) / f"{name}.safetensors")

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """Queue the write, unless nobody waits for it any more."""
        if request.status == RequestStatus.FINISHED_ABORTED:
            self._request_filenames.pop(request.request_id, None)
        return super().request_finished(request, block_ids)

    def _submit_async_write(self, pending: PendingSave) -> None:
        if self._kv_cache is None or self._kv_cache.device.type != "cpu":
            super()._submit_async_write(pending)
            return
        if not self._is_tp_rank_zero:
            return
        offsets = torch.arange(self._block_size)
        slots = (torch.tensor(pending.block_ids)[:, None] * self._block_size + offsets).flatten()
        count = pending.token_ids.shape[0]
        # Indexing copies, so the blocks may be reused as soon as this returns.
        states = extract_from_kv_cache(self._kv_cache, slots[:count], count).contiguous()
        future = self._executor.submit(
            self._write_tensors,
            {"hidden_states": states, "token_ids": pending.token_ids.clone()},
            _CopyDone(),
            pending.filename,
            self._take_lock(pending),
        )
        self._req_copy_events[pending.req_id] = _CopyDone()
        self._req_futures[pending.req_id] = future
        future.add_done_callback(partial(self._on_write_done, pending.req_id))

    def _take_lock(self, pending: PendingSave) -> int | None:
        """The descriptor whose closing tells readers that the file is complete."""
        descriptor = self._lock_fds.pop(pending.req_id, None)
        if descriptor is None and self.use_lock:
            descriptor = os.open(pending.filename + ".lock", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor
