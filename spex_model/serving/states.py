"""Hidden states of an answer as a value: handed out to be kept with a session, and taken back after a restart.

Light on purpose: numpy only, never torch.
"""

from __future__ import annotations

import hashlib
import io
import math
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from spex_model.serving.errors import BadRequest

States = npt.NDArray[np.float32]
"""(T, hidden) float32: post-norm last-layer states at each generated token."""
MAX_STATES_BYTES = 64 << 20


@runtime_checkable
class KeepsStates(Protocol):
    """A runtime whose answers can be painted again long after they were given; both of ours can."""

    def read_states(self, states_ref: str) -> States:
        """The states of an answer. Raises `UnknownStates` when they are no longer held."""
        ...

    def restore_states(self, states: States) -> str:
        """Hold states that `read_states` gave, and return their reference for `decode`; cheap when held already."""
        ...


def name_states(states: States) -> str:
    """The reference of restored states: the same values have the same one, so restoring twice holds them once."""
    return hashlib.sha256(np.ascontiguousarray(states, np.float32).data).hexdigest()[:32]


def pack_states(states: States) -> bytes:
    """States as the bytes of an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(states, "<f4"), allow_pickle=False)
    return buffer.getvalue()


def unpack_states(body: bytes, width: int | None = None) -> States:
    """The states that `pack_states` packed. Raises `BadRequest` for anything else, and for another `width` (hidden).

    The header is held to the length of the body before anything is allocated.
    """
    buffer = io.BytesIO(body)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("another version")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(buffer)
    except (ValueError, OSError, EOFError) as error:
        raise BadRequest("The hidden states can't be read: they are no npy file.") from error
    if by_columns or dtype != np.dtype("<f4") or math.prod(shape) * 4 != len(body) - buffer.tell():
        raise BadRequest(f"The hidden states announce {shape} of {dtype} and hold something else.")
    return check_states(np.frombuffer(body, "<f4", offset=buffer.tell()).reshape(shape), width)


def check_states(states: npt.NDArray[np.generic], width: int | None = None) -> States:
    """States that fit the model. Raises `BadRequest` with what was found."""
    if states.dtype != np.float32 or states.ndim != 2 or 0 in states.shape or width not in (None, states.shape[1]):
        raise BadRequest(
            f"The hidden states are {states.dtype} {states.shape}; float32 (tokens, {width or 'hidden'}) is needed. "
            "They may come from another model: ask for the layer again."
        )
    if not np.isfinite(states).all():
        raise BadRequest("The hidden states hold NaN or infinity; ask for the layer again.")
    return np.ascontiguousarray(states, dtype=np.float32)
