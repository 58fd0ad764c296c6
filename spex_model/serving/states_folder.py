"""The folder where vLLM leaves the hidden states of its answers for the mask service."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spex_model.serving.errors import BadRequest, UnknownStates
from spex_model.serving.protocol import KeepStates

WRITE_WAIT_S = 10.0


@contextmanager
def _written(lock_path: Path) -> Iterator[None]:
    """Wait until the writer has let go of a states file. Raises `UnknownStates` where nothing is written."""
    try:
        lock = lock_path.open()
    except OSError as error:
        raise UnknownStates("vLLM kept no hidden states for that answer; ask again.") from error
    with lock:
        patience = time.monotonic() + WRITE_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise UnknownStates("vLLM is still writing the hidden states of that answer.") from error
                time.sleep(0.002)
        yield


def take_states(folder: Path, request: KeepStates, width: int) -> torch.Tensor:
    """The (generated, width) float32 states of one answer, whose file is removed.

    Waits until vLLM has written them. Raises `UnknownStates` when there are none, `BadRequest` when they don't fit.
    """
    path = folder / f"{request.states_ref}.safetensors"
    lock_path = path.with_name(path.name + ".lock")
    try:
        with _written(lock_path):
            states = load_file(path)["hidden_states"]
    except (OSError, SafetensorError, KeyError) as error:
        raise UnknownStates("vLLM kept no whole hidden states for that answer; ask again.") from error
    finally:
        path.unlink(missing_ok=True)
        lock_path.unlink(missing_ok=True)
    end = request.prompt_tokens + request.generated
    if states.ndim != 3 or states.shape[1:] != (1, width) or len(states) < end:
        raise BadRequest(f"The hidden states have shape {tuple(states.shape)}; ({end}, 1, {width}) is needed.")
    # A copy, so that the prompt's states can go.
    said = states[request.prompt_tokens : end, 0].float().clone()
    if not bool(torch.isfinite(said).all()):
        raise UnknownStates("The hidden states of that answer hold NaN or infinity; ask again.")
    return said


def sweep(folder: Path, max_age_s: float) -> int:
    """Remove states files that nobody fetched, as aborted requests leave them; how many went."""
    swept = 0
    for path in (*folder.glob("*.safetensors"), *folder.glob("*.lock")):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > max_age_s:
                path.unlink()
                swept += 1
    return swept
