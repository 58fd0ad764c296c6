"""The feature store: what is used stays in memory, the rest goes to disk, then away; nothing is left behind."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from spex_model.serving.feature_store import FeatureStore, remove_leftovers

KB = 1024


def entry(value: float) -> tuple[torch.Tensor, ...]:
    """1 KB of bfloat16, and a byte mask whose length is no multiple of the alignment: together 1,088 bytes."""
    return torch.full((32, 16), value, dtype=torch.bfloat16), torch.ones(3, 11, dtype=torch.bool)


class SlowTensor(torch.Tensor):
    """A tensor whose device gives it out, to be written to a file, only when the test lets it go."""

    def cpu(self) -> torch.Tensor:
        self.asked_for.set()
        self.let_go.wait(10)
        return self.as_subclass(torch.Tensor)


def slow_entry(value: float) -> tuple[SlowTensor]:
    """1 KB of bfloat16 in one slow tensor."""
    slow = torch.full((32, 16), value, dtype=torch.bfloat16).as_subclass(SlowTensor)
    slow.asked_for, slow.let_go = threading.Event(), threading.Event()
    return (slow,)


@pytest.fixture
def other_thread():
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "spill", memory_bytes=3 * KB, disk_bytes=3 * KB)
    yield store
    store.close()


def test_what_is_spilled_comes_back_as_it_was(store, tmp_path):
    for number in range(4):
        store.put(str(number), entry(number + 1 / 3))
    files = list((tmp_path / "spill").rglob("*.bin"))
    assert len(files) == 2 and store.counts.spills == 2
    for number in range(4):
        for came, went in zip(store.get(str(number)), entry(number + 1 / 3), strict=True):
            assert torch.equal(came, went) and came.dtype == went.dtype
    assert (store.counts.memory_hits, store.counts.disk_hits, store.counts.misses) == (2, 2, 0)


def test_the_least_recently_used_goes_first_and_beyond_both_budgets_is_dropped(store):
    store.put("a", entry(1))
    store.put("b", entry(2))
    store.get("a")
    for number in range(4):
        store.put(str(number), entry(number))
    assert store.get("b") is None  # out of memory first, then out of the disk
    assert store.counts.dropped == 2 and store.counts.misses == 1
    assert store.counts.memory_bytes <= 3 * KB and store.counts.disk_bytes <= 3 * KB


def test_an_entry_put_anew_replaces_the_old_one_wherever_it_is(store):
    for number in range(4):
        store.put(str(number), entry(number))
    store.put("0", entry(9))
    assert float(store.get("0")[0][0, 0]) == 9
    before = store.counts
    store.put("0", entry(9))
    assert (store.counts.memory_bytes, store.counts.disk_bytes) == (before.memory_bytes, before.disk_bytes)


def test_what_is_read_may_be_read_on_after_its_file_is_gone(store):
    store.put("big", (torch.arange(700, dtype=torch.float32),))
    store.put("1", entry(1))
    held = store.get("big")
    for number in range(4):
        store.put(str(number), entry(number))
    assert store.get("big") is None
    assert torch.equal(held[0], torch.arange(700, dtype=torch.float32))


def test_an_entry_larger_than_memory_lives_on_disk_and_larger_than_both_nowhere(store):
    store.put("large", (torch.zeros(3 * KB - 64, dtype=torch.uint8),))
    assert store.get("large") is not None
    store.put("larger", (torch.zeros(4 * KB, dtype=torch.uint8),))
    assert store.get("larger") is None and store.counts.dropped == 1


def test_a_full_disk_costs_features_and_nothing_else(store, tmp_path):
    folder = next((tmp_path / "spill").glob("features-*"))
    (folder / "1.bin").mkdir()  # the first file can't be written
    for number in range(4):
        store.put(str(number), entry(number))
    assert store.get("0") is None and store.get("1") is not None and store.counts.dropped == 1


@pytest.fixture
def slow(store, other_thread):
    """An entry "slow" that another thread is spilling, as long as the test runs or until it is let go."""
    entry_ = slow_entry(5)
    store.put("slow", entry_)
    store.put("1", entry(1))
    spilling = other_thread.submit(store.put, "2", entry(2))
    assert entry_[0].asked_for.wait(10)
    entry_[0].finish = lambda: (entry_[0].let_go.set(), spilling.result(10))
    yield entry_[0]
    entry_[0].finish()


def test_nobody_waits_for_a_slow_spill(store, slow, other_thread):
    asked = [other_thread.submit(store.get, name) for name in ("1", "2", "slow", "other")]
    held = [answer.result(2) for answer in asked]
    assert [None if found is None else float(found[0][0, 0]) for found in held] == [1, 2, 5, None]
    other_thread.submit(store.put, "1", entry(3)).result(2)
    assert other_thread.submit(lambda: store.counts).result(2).spills == 0
    slow.finish()
    assert float(store.get("slow")[0][0, 0]) == 5 and type(store.get("slow")[0]) is torch.Tensor
    assert (store.counts.spills, store.counts.disk_hits) == (1, 2) and store.counts.disk_bytes == KB


def test_an_entry_put_anew_while_the_old_one_is_spilled_is_the_one_that_stays(store, slow, other_thread, tmp_path):
    other_thread.submit(store.put, "slow", entry(9)).result(2)
    slow.finish()
    assert float(store.get("slow")[0][0, 0]) == 9
    assert len(list((tmp_path / "spill").rglob("*.bin"))) == store.counts.spills == 1  # "1", pushed out by the new one
    assert store.counts.disk_bytes == 1088 and store.counts.dropped == 0


def test_what_is_being_written_counts_as_disk_in_use(store, slow, other_thread):
    for name in ("3", "4"):
        large = (torch.zeros(3 * KB - 64, dtype=torch.uint8),)
        other_thread.submit(store.put, name, large).result(2)
        assert store.counts.disk_bytes == KB + 1088  # the slow entry, and "2"
    assert store.get("3") is None and store.get("2") is not None
    assert store.counts.dropped == 2  # "1" for "2", and "3", for which only "2" could have gone


def test_closing_waits_for_a_file_that_is_being_written(store, slow, other_thread, tmp_path):
    closing = other_thread.submit(store.close)
    slow.finish()
    closing.result(10)
    assert not list((tmp_path / "spill").glob("features-*")) and store.get("slow") is None


def test_closing_leaves_nothing_behind(tmp_path):
    store = FeatureStore(tmp_path, memory_bytes=0, disk_bytes=9 * KB)
    store.put("a", entry(1))
    assert list(tmp_path.rglob("*.bin"))
    store.close()
    assert not list(tmp_path.glob("features-*"))
    store.put("a", entry(1))
    assert store.get("a") is None


def test_leftovers_of_a_killed_process_go_and_a_living_one_keeps_its_own(store, tmp_path):
    script = (
        "import os, torch; from pathlib import Path; from spex_model.serving.feature_store import FeatureStore\n"
        f"store = FeatureStore(Path({str(tmp_path / 'spill')!r}), memory_bytes=0, disk_bytes=9999)\n"
        "store.put('a', (torch.zeros(9),)); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 9
    for number in range(4):
        store.put(str(number), entry(number))
    assert len(list((tmp_path / "spill").glob("features-*"))) == 2
    assert remove_leftovers(tmp_path / "spill") == 1
    assert len(list((tmp_path / "spill").glob("features-*"))) == 1 and store.get("0") is not None
