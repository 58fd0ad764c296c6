"""Encoded tiles and pixels under their names: the latest in memory, older ones in files that are mapped back.

What was bfloat16 in memory is bfloat16 on disk, so a value that comes back is the one that went. Files belong to one
process: they are gone when it ends, and what a killed process left behind is removed by the next one that starts.
"""

from __future__ import annotations

import fcntl
import logging
import math
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from spex_model.imaging.tiles import Window
from spex_model.model.decoding import TileMaps

log = logging.getLogger(__name__)

FOLDER_PREFIX = "features-"
_ALIGNMENT = 64
Tensors = tuple[torch.Tensor, ...]


@dataclass
class StoreCounts:
    """What happened so far, in entries, and what is held now, in bytes."""

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    spills: int = 0
    dropped: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True)
class _Spilled:
    path: Path
    tensors: Tensors
    num_bytes: int


def _size(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes in a file, every tensor at an aligned place."""
    return sum(math.ceil(tensor.nbytes / _ALIGNMENT) * _ALIGNMENT for tensor in tensors)


def remove_leftovers(root: Path) -> int:
    """Remove the folders of processes that are gone; how many went."""
    removed = 0
    for folder in root.glob(f"{FOLDER_PREFIX}*"):
        try:
            with (folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its process lives, or another one is removing it
        removed += 1
    return removed


def _own_folder(root: Path) -> tuple[Path, TextIO]:
    """A new folder under `root`, and the lock that shows that its process lives."""
    root.mkdir(parents=True, exist_ok=True)
    # One process at a time, or another could take a folder for a leftover before its lock is taken.
    with (root / "lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if removed := remove_leftovers(root):
            log.info("removed spilled features of %d processes that are gone", removed)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=root))
        alive = (folder / "lock").open("a")
        fcntl.flock(alive, fcntl.LOCK_EX)
    return folder, alive


class FeatureStore:
    """A cache of tensors with a budget of memory and one of disk, least recently used out first.

    What doesn't fit in memory goes to disk, what doesn't fit there is dropped; a budget of 0 bytes turns a level
    off, and without a `root` there is no disk. An entry on disk stays there: the page cache of the system keeps what
    is used of it in memory anyway. Any thread may call; the one whose entry pushes others out writes them to disk, and
    nobody waits for that but `close`.
    """

    def __init__(self, root: Path | None, *, memory_bytes: int, disk_bytes: int = 0) -> None:
        self._folder: Path | None = None
        if root:
            self._folder, self._alive = _own_folder(root)
        self._limits = memory_bytes, disk_bytes if root else 0
        self._memory: OrderedDict[str, Tensors] = OrderedDict()
        self._spilling: dict[str, Tensors] = {}
        self._disk: OrderedDict[str, _Spilled] = OrderedDict()
        self._writing: dict[Path, int] = {}
        self._counts = StoreCounts()
        self._files = 0
        # Held for the dictionaries and the counts only, never while gigabytes are written or let go of: a mask that
        # somebody waits for must not wait for a thread of low priority that spills.
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)

    @property
    def counts(self) -> StoreCounts:
        """A copy of the counts. Never waits, so a `put` that runs meanwhile may be counted in part."""
        return StoreCounts(**vars(self._counts))

    def put(self, name: str, tensors: Tensors) -> None:
        """Hold tensors; they must not be written to afterwards. Comes back when what had to go to disk is there."""
        pushed_out: list[tuple[str, Tensors]] = []
        with self._lock:
            replaced = self._memory.pop(name, None), self._spilling.pop(name, None), self._take_from_disk(name)
            self._counts.memory_bytes += _size(tensors) - _size(replaced[0] or ())
            self._memory[name] = tensors
            while self._memory and self._counts.memory_bytes > self._limits[0]:
                oldest = self._memory.popitem(last=False)
                self._counts.memory_bytes -= _size(oldest[1])
                pushed_out.append(oldest)
            self._spilling.update(pushed_out)
        if replaced[2]:
            replaced[2].path.unlink(missing_ok=True)
        for entry in pushed_out:
            self._spill(*entry)

    def get(self, name: str) -> Tensors | None:
        """What was put under a name, or None where it is no longer held."""
        with self._lock:
            if name in self._memory:
                self._counts.memory_hits += 1
                self._memory.move_to_end(name)
                return self._memory[name]
            if name in self._spilling:
                self._counts.memory_hits += 1
                return self._spilling[name]
            if name in self._disk:
                self._counts.disk_hits += 1
                self._disk.move_to_end(name)
                return self._disk[name].tensors
            self._counts.misses += 1
            return None

    def _take_from_disk(self, name: str) -> _Spilled | None:
        """What is held on disk under a name; its file is the caller's to remove, once the lock is free."""
        spilled = self._disk.pop(name, None)
        if spilled:
            self._counts.disk_bytes -= spilled.num_bytes
        return spilled

    def _spill(self, name: str, tensors: Tensors) -> None:
        """Move an entry of `_spilling` to disk, unless it was put anew meanwhile. The lock is free during the write."""
        num_bytes = _size(tensors)
        with self._lock:
            path, outdated = self._reserve(name, tensors, num_bytes)
        for spilled in outdated:
            # Whoever still reads its mapping may finish.
            spilled.path.unlink(missing_ok=True)
        if path is None:
            return
        mapped = self._write(path, tensors, num_bytes)
        with self._lock:
            del self._writing[path]
            wanted = self._spilling.get(name) is tensors
            if wanted:
                del self._spilling[name]
            if wanted and mapped:
                self._disk[name] = _Spilled(path, mapped, num_bytes)
                self._counts.spills += 1
            else:
                self._counts.disk_bytes -= num_bytes
                self._counts.dropped += wanted
            self._written.notify_all()
        if not (wanted and mapped):
            with suppress(OSError):
                path.unlink()

    def _reserve(self, name: str, tensors: Tensors, num_bytes: int) -> tuple[Path | None, list[_Spilled]]:
        """Room on disk for an entry: the file to write, or None; and what had to go for it."""
        outdated: list[_Spilled] = []
        if self._spilling.get(name) is not tensors:
            return None, outdated
        if self._folder is None or num_bytes + sum(self._writing.values()) > self._limits[1]:
            del self._spilling[name]
            self._counts.dropped += 1
            return None, outdated
        while self._counts.disk_bytes + num_bytes > self._limits[1]:
            _, oldest = self._disk.popitem(last=False)
            self._counts.disk_bytes -= oldest.num_bytes
            self._counts.dropped += 1
            outdated.append(oldest)
        self._files += 1
        path = self._folder / f"{self._files}.bin"
        self._writing[path] = num_bytes
        self._counts.disk_bytes += num_bytes
        return path, outdated

    def _write(self, path: Path, tensors: Tensors, num_bytes: int) -> Tensors | None:
        """The tensors mapped from a new file, or None where it can't be written."""
        try:
            return _write_and_map(path, tensors, num_bytes)
        except (OSError, RuntimeError):
            log.exception("features can't be spilled to %s; they are dropped", self._folder)
            return None

    def close(self) -> None:
        """Forget everything and remove the files, as soon as those that are being written are complete."""
        with self._lock:
            self._limits = 0, 0
            self._spilling.clear()
            self._written.wait_for(lambda: not self._writing)
            self._memory.clear()
            self._disk.clear()
            self._counts.memory_bytes = self._counts.disk_bytes = 0
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._alive.close()


class StoredTiles:
    """The encoded tiles of one image in a store; a `TileCache`."""

    def __init__(self, store: FeatureStore, image_id: str) -> None:
        self._store = store
        self._image_id = image_id

    def get(self, window: Window) -> TileMaps | None:
        """The maps of a tile, or None where the store has let go of them."""
        held = self._store.get(f"{self._image_id}/{window}")
        if held is None:
            return None
        embedding, middle, fine, grid = held
        return TileMaps(embedding, middle, fine, (int(grid[0]), int(grid[1])))

    def put(self, window: Window, maps: TileMaps) -> None:
        """Hold the maps of a tile."""
        self._store.put(f"{self._image_id}/{window}", (*maps.tensors, torch.tensor(maps.grid)))


def _write_and_map(path: Path, tensors: Tensors, num_bytes: int) -> Tensors:
    """Write tensors to a file one behind the other, and return them mapped from it."""
    with path.open("wb") as file:
        for tensor in tensors:
            file.write(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
            file.write(bytes(-file.tell() % _ALIGNMENT))
    # Not shared: what is read is never written back.
    everything = torch.from_file(str(path), shared=False, size=num_bytes, dtype=torch.uint8)
    mapped, start = [], 0
    for tensor in tensors:
        piece = everything[start : start + tensor.nbytes]
        mapped.append(piece.view(tensor.dtype).view(tensor.shape))
        start += math.ceil(tensor.nbytes / _ALIGNMENT) * _ALIGNMENT
    return tuple(mapped)
