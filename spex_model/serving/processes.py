"""Child processes that are kept alive, the memory that there is for them, and a guard that ends them if this process is killed.

Run as a script this file is the guard; it needs nothing but the standard library.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
LONGEST_PAUSE_S = 30.0
END_PATIENCE_S = 5.0
STEADY_S = 60.0
"""A child that ran for as long starts again without a pause."""


@dataclass(frozen=True)
class Program:
    """What to run, what to add to its environment, and the address that answers 200 once it is ready."""

    name: str
    command: Sequence[str]
    health_url: str
    environment: Mapping[str, str] = field(default_factory=dict)


def available_memory_gb() -> float | None:
    """Memory that can still be taken, a container's limit included; None where the system doesn't tell."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        available = min(available, limit - used)
    except (OSError, ValueError):
        pass  # no limit
    return available / 2**30


def cpu_flags() -> frozenset[str]:
    """Names of what the first core can do ("avx2", "avx512f", …); empty where the system doesn't tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(flags, "").split())


def tree_memory_mb(pids: Iterable[int]) -> float:
    """Proportional resident memory of processes and all their descendants; 0 where the system doesn't tell."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    waiting, seen, kilobytes = list(pids), set(), 0
    while waiting:
        pid = waiting.pop()
        if pid in seen:
            continue
        seen.add(pid)
        waiting += children.get(pid, [])
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def end_groups(groups: Collection[int], patience_s: float = 30.0) -> None:
    """Ask the leaders of these groups to end with all their own, then the others, and kill what stays after a while.

    Asked first, because a killed process leaves its shared memory behind.
    """
    led = {group for group in groups if _leader_lives(group)}
    for leader in led:
        with suppress(ProcessLookupError):
            os.kill(leader, signal.SIGTERM)
    orphaned = {group for group in groups if group not in led and _signal_group(group, signal.SIGTERM)}
    deadline = time.monotonic() + patience_s
    while (led or orphaned) and time.monotonic() < deadline:
        time.sleep(0.05)
        orphaned = {group for group in orphaned if _signal_group(group, 0)}
        for group in [group for group in led if not _leader_lives(group)]:
            led.remove(group)
            if _signal_group(group, signal.SIGTERM):
                orphaned.add(group)
    for group in led | orphaned:
        _signal_group(group, signal.SIGKILL)


def _leader_lives(group: int) -> bool:
    try:
        return os.getpgid(group) == group
    except ProcessLookupError:
        return False


def _signal_group(group: int, number: int) -> bool:
    """Signal a group; whether there still is one. Signal 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Guard:
    """A process that waits for this one to end, however it ends, then ends what is left and removes a folder.

    It reads the groups to end from a pipe, which the kernel closes when this process is gone. That also reaches
    grandchildren, which a parent-death signal would not.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__)), str(folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """End this process group at the end."""
        self._tell(f"+{group}")

    def drop(self, group: int) -> None:
        """Forget a group that has ended."""
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        try:
            if pipe is not None and not pipe.closed:
                pipe.write(line + "\n")
                pipe.flush()
        except BrokenPipeError:
            log.warning("the guard process is gone; a killed supervisor would leave its servers behind")

    def close(self) -> None:
        """Let it do its work now, and wait for it."""
        with suppress(BrokenPipeError):
            self._process.communicate()


def watch_and_end(lines: Iterable[str], folder: Path) -> None:
    """What the guard does: note groups until the pipe closes, then end them and remove the folder."""
    groups: set[int] = set()
    for line in lines:
        sign, group = line[0], int(line[1:])
        if sign == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end_groups(groups)
    shutil.rmtree(folder, ignore_errors=True)


class Child:
    """One program as a process group of its own, its output in our log, started again when it dies."""

    def __init__(self, program: Program, guard: Guard) -> None:
        self.program = program
        self.last_lines: deque[str] = deque(maxlen=12)
        self._guard = guard
        self._process: subprocess.Popen[str] | None = None
        self._failures = 0
        self._started_at = 0.0
        self._restart_at: float | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int:
        """Its process and group id; 0 before it is started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it; its lines go to the log with its name in front."""
        self._restart_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            list(self.program.command),
            env={**os.environ, **self.program.environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A session of its own would have its own share of the cores, and priorities would not reach across.
            process_group=0,
        )
        self._guard.add(self._process.pid)
        threading.Thread(target=self._forward, args=(self._process,), name=f"{self.name}-log", daemon=True).start()

    def _forward(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.last_lines.append(line.rstrip())
                log.info("%s | %s", self.name, line.rstrip())

    def tend(self) -> None:
        """Start it again if it died, after a pause that doubles from death to death."""
        if self.exit_code is None:
            return
        now = time.monotonic()
        if self._restart_at is None:
            self._end_group()
            if now - self._started_at > STEADY_S:
                self._failures = 0
            pause = min(2.0**self._failures, LONGEST_PAUSE_S)
            self._failures += 1
            self._restart_at = now + pause
            log.warning("%s ended with code %s; starting it again in %.0f s", self.name, self.exit_code, pause)
        elif now >= self._restart_at:
            log.info("starting %s again", self.name)
            self.start()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to it; it finishes what it is doing."""
        if self._process and self.exit_code is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def stop(self, patience_s: float) -> None:
        """Wait until it has ended, and kill what hasn't by then, its own children included."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            log.warning("%s didn't stop within %.0f s; killing it", self.name, patience_s)
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        end_groups([self.pid], END_PATIENCE_S)
        self._guard.drop(self.pid)


if __name__ == "__main__":
    watch_and_end(sys.stdin, Path(sys.argv[1]))
