"""Starts vLLM, the mask service and the page, keeps them running, and leaves nothing behind.

>>> with Supervisor(ServeSettings(ui=False)) as stack:
...     runtime = load_runtime("served", vllm_url=stack.vllm_url, mask_url=stack.mask_url)
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import httpx

from spex_model.serving.errors import StartupError
from spex_model.serving.processes import Child, Guard, Program
from spex_model.serving.programs import DRAIN_S, LOCALHOST, ServeSettings, plan_models

log = logging.getLogger(__name__)

CLEAN_UP_S = 20
PROGRESS_EVERY_S = 5.0


def claim_port(host: str, port: int, option: str) -> int:
    """The port, or a free one for 0. Raises `StartupError` when another program listens on it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Connections of a server that just ended don't count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartupError(
                f"Port {port} is taken by another program, or can't be used; end that program or choose another "
                f"port with {option}."
            ) from error
        return probe.getsockname()[1]


class Supervisor:
    """The running servers: a context manager, and what keeps them running in between.

    `plan` says which model servers there are; tests give it harmless ones. Entering raises `StartupError` with one
    sentence when something can't start, after stopping what had.
    """

    def __init__(
        self, settings: ServeSettings, *, plan: Callable[[ServeSettings, Path], Sequence[Program]] = plan_models
    ) -> None:
        self.settings = settings
        self.children: list[Child] = []
        self._plan = plan
        self._guard: Guard | None = None
        self._stop_asked = False
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep_running, name="keeper", daemon=True)

    @property
    def vllm_url(self) -> str:
        return f"http://{LOCALHOST}:{self.settings.vllm_port}"

    @property
    def mask_url(self) -> str:
        return f"http://{LOCALHOST}:{self.settings.mask_port}"

    @property
    def ui_url(self) -> str:
        host = LOCALHOST if self.settings.host in ("0.0.0.0", "::", "localhost") else self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self._claim_ports()
        states_dir = self._make_states_dir()
        self._guard = Guard(states_dir)
        self._launch(self._plan(self.settings, states_dir))
        if self.settings.ui:
            self._launch([self._ui_program()])
        self._keeper.start()

    def _claim_ports(self) -> None:
        wanted = {"vllm_port": LOCALHOST, "mask_port": LOCALHOST} | (
            {"port": self.settings.host} if self.settings.ui else {}
        )
        claimed = {
            name: claim_port(host, getattr(self.settings, name), f"--{name.replace('_', '-')}")
            for name, host in wanted.items()
        }
        if len(set(claimed.values())) < len(claimed):
            raise StartupError(f"Each server needs a port of its own; given were {claimed}.")
        self.settings = self.settings.model_copy(update=claimed)

    def _make_states_dir(self) -> Path:
        memory = Path("/dev/shm")
        root = self.settings.states_root or (memory if os.access(memory, os.W_OK) else None)
        return Path(tempfile.mkdtemp(prefix="spex-states-", dir=root))

    def _ui_program(self) -> Program:
        environment = {
            "SPEX_RUNTIME": "served",
            "SPEX_VLLM_URL": self.vllm_url,
            "SPEX_MASK_URL": self.mask_url,
            "SPEX_HOST": self.settings.host,
            "SPEX_PORT": str(self.settings.port),
        }
        return Program("page", [sys.executable, "app.py"], self.ui_url, environment)

    def _launch(self, programs: Sequence[Program]) -> None:
        """Start programs side by side and wait until all of them answer."""
        assert self._guard is not None
        started = time.monotonic()
        waiting = [Child(program, self._guard) for program in programs]
        for child in waiting:
            self.children.append(child)
            child.start()
        reported = started
        while waiting := [child for child in waiting if not self._answers(child)]:
            now = time.monotonic()
            names = " and ".join(child.name for child in waiting)
            if now - started > self.settings.start_timeout_s:
                raise StartupError(f"After {self.settings.start_timeout_s:.0f} s {names} still didn't answer.")
            if now - reported >= PROGRESS_EVERY_S:
                reported = now
                log.info("waiting for %s (%.0f s)", names, now - started)
            if self._stop_asked:
                raise StartupError("Stopped before everything had started.")
            time.sleep(0.2)
        log.info("%s ready after %.0f s", ", ".join(program.name for program in programs), time.monotonic() - started)

    def _answers(self, child: Child) -> bool:
        if child.exit_code is not None:
            said = next((line for line in reversed(child.last_lines) if "Error" in line), "its lines above say why")
            raise StartupError(f"{child.name} ended with code {child.exit_code} while starting: {said.strip()[:300]}")
        try:
            return httpx.get(child.program.health_url, timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _keep_running(self) -> None:
        while not self._ended.wait(0.5):
            for child in self.children:
                try:
                    child.tend()
                except OSError:
                    log.exception("%s can't be started again yet", child.name)

    def wait(self) -> None:
        """Block until `request_stop`."""
        while not self._stop_asked:
            time.sleep(0.2)

    def request_stop(self) -> None:
        """Ask for an orderly end; safe in a signal handler, where an Event's lock could already be held."""
        self._stop_asked = True

    def stop(self) -> None:
        """Stop the page first, then the servers behind it; nothing of them is left afterwards."""
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for child in reversed(self.children):
            if child.name == "page":
                child.stop(DRAIN_S)
        for child in self.children:
            child.ask_to_stop()
        deadline = time.monotonic() + DRAIN_S + CLEAN_UP_S
        for child in self.children:
            child.stop(max(0.0, deadline - time.monotonic()))
        self.children.clear()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
