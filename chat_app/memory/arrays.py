"""Masks, logits and hidden states of the layers: in memory up to a budget, always on disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chat_app.errors import ChatError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]


class ArrayStore:
    """Keeps the arrays of one session under their keys; an array never changes once it is put.

    Every array is written to `directory` as npz at once, so that a restart loses nothing, and stays in memory
    until `memory_bytes` are used up, oldest use first out. Masks are packed to one bit a pixel, logits are
    float16, in memory as on disk, so that a reloaded layer equals the one that was there before.
    """

    def __init__(self, directory: Path, *, memory_bytes: int) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[str, npt.NDArray[np.generic]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def put_mask(self, key: str, mask: BoolArray) -> None:
        """Store a (H, W) bool mask."""
        frozen = np.array(mask, dtype=np.bool_)
        np.savez(self._new_file(key), shape=np.array(mask.shape), bits=np.packbits(frozen))
        self._hold(key, frozen)

    def put_logits(self, key: str, logits: npt.NDArray[np.floating]) -> None:
        """Store (H, W) logits with the precision of float16."""
        limited = np.clip(np.nan_to_num(logits, nan=-6e4), -6e4, 6e4).astype(np.float16)
        np.savez(self._new_file(key), logits=limited)
        self._hold(key, limited)

    def put_states(self, key: str, states: npt.NDArray[np.floating]) -> None:
        """Store the (T, hidden) states of a reply, float32: what is decoded from them again must be the same."""
        frozen = np.array(states, dtype=np.float32)
        np.savez(self._new_file(key), states=frozen)
        self._hold(key, frozen)

    def get_mask(self, key: str) -> BoolArray:
        """The (H, W) bool mask, read-only; raises `ChatError` when its file is gone."""
        held = self._recall(key)
        if held is None:
            with self._open(key) as file:
                height, width = (int(side) for side in file["shape"])
                bits = np.unpackbits(file["bits"], count=height * width)
            held = bits.reshape(height, width).astype(np.bool_)
            self._hold(key, held)
        return held.view(np.bool_)

    def get_logits(self, key: str) -> npt.NDArray[np.float32]:
        """The (H, W) float32 logits; raises `ChatError` when their file is gone."""
        return self._read(key, "logits").astype(np.float32)

    def get_states(self, key: str) -> npt.NDArray[np.float32]:
        """The (T, hidden) float32 states, read-only; raises `ChatError` when their file is gone."""
        return self._read(key, "states").view(np.float32)

    def _read(self, key: str, name: str) -> npt.NDArray[np.generic]:
        held = self._recall(key)
        if held is None:
            with self._open(key) as file:
                held = file[name]
            self._hold(key, held)
        return held

    def _new_file(self, key: str) -> Path:
        # The session's own folder must be there: a deleted one does not come back with an array.
        self._directory.mkdir(exist_ok=True)
        return self._directory / f"{key}.npz"

    def _open(self, key: str) -> np.lib.npyio.NpzFile:
        try:
            return np.load(self._directory / f"{key}.npz", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ChatError(f"The stored layer {key} can't be read any more; extract it again.") from error

    def _recall(self, key: str) -> npt.NDArray[np.generic] | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def _hold(self, key: str, array: npt.NDArray[np.generic]) -> None:
        array.setflags(write=False)
        with self._lock:
            if key not in self._held:
                self._held[key] = array
                self._used += array.nbytes
            while self._used > self._memory_bytes and len(self._held) > 1:
                _, oldest = self._held.popitem(last=False)
                self._used -= oldest.nbytes
