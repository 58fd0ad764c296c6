"""Runtimes of the SPEX model: served by vLLM and the mask service, or embedded in this process.

Importing this package loads neither torch nor vLLM; `load_runtime` imports what the chosen runtime needs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from spex_model.serving.errors import BadRequest
from spex_model.serving.protocol import Box, Generation, Health, Point, Runtime

__all__ = ["Box", "Generation", "Health", "Point", "Runtime", "RuntimeKind", "load_runtime", "share_cores"]

RuntimeKind = Literal["auto", "served", "embedded"]


def load_runtime(
    kind: RuntimeKind = "auto",
    *,
    checkpoint: Path | None = None,
    cache_dir: Path | None = None,
    vllm_url: str | None = None,
    mask_url: str | None = None,
    request_timeout_s: float = 120.0,
    device: str = "cpu",
) -> Runtime:
    """Return the runtime that `kind` asks for; "auto" is served when both addresses are given, else embedded.

    `vllm_url` and `mask_url` are base addresses such as "http://127.0.0.1:8101". `checkpoint` is a built
    checkpoint directory; without one the embedded runtime builds it under `cache_dir` first, which takes
    half a minute the first time. Raises `BadRequest` when "served" lacks an address, and `ServingError`
    subclasses when the model can't be loaded.
    """
    if kind not in ("auto", "served", "embedded"):
        raise BadRequest(f"The runtime is {kind!r}; choose auto, served or embedded.")
    if kind == "served" or (kind == "auto" and vllm_url and mask_url):
        if not (vllm_url and mask_url):
            raise BadRequest(
                "The served runtime needs the addresses of vLLM and of the mask service; set SPEX_VLLM_URL and "
                "SPEX_MASK_URL, or start everything with `python -m spex_model.serving`."
            )
        from spex_model.serving.client import ServedRuntime

        return ServedRuntime(vllm_url, mask_url, timeout_s=request_timeout_s)
    share_cores()
    from spex_model.serving.embedded import EmbeddedRuntime

    return EmbeddedRuntime.load(checkpoint, cache_dir=cache_dir, device=device)


def share_cores() -> None:
    """Let the threads of torch sleep while they wait for each other, unless the environment says otherwise.

    By default they spin, and beside another busy program on a machine of few cores that makes an answer twenty times
    as slow. Works before torch is first imported only.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
