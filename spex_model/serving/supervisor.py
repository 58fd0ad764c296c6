"""Starts vLLM, the mask service and the page, keeps them running, and leaves nothing behind.

>>> with Supervisor(ServeSettings(ui=False)) as stack:
...     runtime = load_runtime("served", vllm_url=stack.vllm_url, mask_url=stack.mask_url)
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

import httpx
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from spex_model.serving.errors import StartupError
from spex_model.serving.processes import ROOT, Child, Guard, Program, available_memory_gb
from spex_model.serving.protocol import MAX_MODEL_LEN, MODEL_NAME
from spex_model.serving.vllm_cli import vllm_version

log = logging.getLogger(__name__)

LOCALHOST = "127.0.0.1"
DRAIN_S, CLEAN_UP_S = 10, 20
PROGRESS_EVERY_S = 5.0
VLLM_PLUGIN = "spex"


class ServeSettings(BaseSettings):
    """What the supervisor starts; `SPEX_VLLM_PORT=9000` sets `vllm_port`. Port 0 takes any that is free."""

    model_config = SettingsConfigDict(env_prefix="SPEX_", frozen=True, extra="ignore")

    checkpoint: Path | None = Field(default=None, description="A built checkpoint directory; else built in the cache")
    cache_dir: Path | None = Field(default=None, description="Where a checkpoint is built")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where both models run")
    dtype: Literal["bfloat16", "float16", "float32"] = Field(default="bfloat16", description="Of the language model")
    vllm_port: int = Field(default=8101, ge=0, lt=65_536, description="Port of vLLM")
    mask_port: int = Field(default=8102, ge=0, lt=65_536, description="Port of the mask service")
    ui: bool = Field(default=True, description="Start the page too")
    host: str = Field(default=LOCALHOST, description="Address the page listens on")
    port: int = Field(default=7860, ge=0, lt=65_536, description="Port the page listens on")
    start_timeout_s: float = Field(default=300.0, gt=0, description="Longest wait until all answer")
    min_memory_gb: float = Field(default=5.0, ge=0, description="Refuse to start with less available memory")
    states_root: Path | None = Field(default=None, description="Folder for hidden states; else memory, where there is")


def check_machine(settings: ServeSettings) -> None:
    """Raise `StartupError` where vLLM, its plugin or memory is missing."""
    if vllm_version() is None or importlib.util.find_spec("vllm") is None:
        raise StartupError("vLLM isn't installed; run `make serve`, or start the chat without it: `python app.py`.")
    plugins = {entry.name for entry in importlib.metadata.entry_points(group="vllm.general_plugins")}
    if VLLM_PLUGIN not in plugins:
        raise StartupError("vLLM doesn't know the SPEX model yet; run `pip install --no-deps -e .` here once.")
    memory_gb = available_memory_gb()
    if memory_gb is not None and memory_gb < settings.min_memory_gb:
        raise StartupError(
            f"Serving takes about {settings.min_memory_gb:g} GB of memory and {memory_gb:.1f} GB are available; "
            "close other programs, or start the chat without vLLM: `python app.py`."
        )


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


def vllm_program(settings: ServeSettings, checkpoint: Path, states_dir: Path) -> Program:
    """vLLM with our model, grammar and hidden-states connector."""
    connector = {
        "kv_connector": "SpexHiddenStatesConnector",
        "kv_connector_module_path": "spex_model.serving.hidden_states_connector",
        "kv_role": "kv_producer",
        "kv_connector_extra_config": {"shared_storage_path": str(states_dir)},
    }
    # Backend and whitespace as in `LanguageModel`, so that both runtimes compile the same grammar.
    grammar = {"backend": "xgrammar", "disable_any_whitespace": True}
    options = {
        "--served-model-name": MODEL_NAME,
        "--host": LOCALHOST,
        "--port": settings.vllm_port,
        "--dtype": settings.dtype,
        "--max-model-len": MAX_MODEL_LEN,
        "--max-num-seqs": 16,
        "--limit-mm-per-prompt": json.dumps({"image": 1}),
        "--structured-outputs-config": json.dumps(grammar),
        "--kv-transfer-config": json.dumps(connector),
        "--shutdown-timeout": DRAIN_S,
    }
    command = [sys.executable, "-m", "spex_model.serving.vllm_cli", "serve", str(checkpoint), "--enable-mm-embeds"]
    command += [str(part) for option in options.items() for part in option]
    environment = {"VLLM_PLUGINS": VLLM_PLUGIN, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if settings.device == "cpu":
        command.append("--enforce-eager")
        environment |= _cpu_environment()
    else:
        command.append("-cc.cudagraph_mode=PIECEWISE")
    return Program("vllm", command, f"http://{LOCALHOST}:{settings.vllm_port}/health", environment)


def _cpu_environment() -> dict[str, str]:
    """Both of a machine's few cores for the model, and Intel's OpenMP, without which it runs at half the speed."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    if cores:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    if openmp.exists():
        preload = (str(openmp), os.environ.get("LD_PRELOAD", ""))
        environment["LD_PRELOAD"] = ":".join(filter(None, preload))
    return environment


def build_checkpoint(settings: ServeSettings) -> Path:
    """The checkpoint to serve, built first where it isn't there yet. Raises `StartupError`."""
    if settings.checkpoint is not None:
        if not (settings.checkpoint / "config.json").is_file():
            raise StartupError(f"{settings.checkpoint} holds no built checkpoint; leave it out to build one.")
        return settings.checkpoint.resolve()
    # In a process of its own: building needs torch, and its memory, only once.
    command = [sys.executable, "-m", "spex_model.model.weights"]
    command += ["--cache-dir", str(settings.cache_dir)] if settings.cache_dir else []
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        raise StartupError("The language model couldn't be built; the lines above say why.")
    return Path(built.stdout.strip().splitlines()[-1])


def plan_models(settings: ServeSettings, states_dir: Path) -> list[Program]:
    """The two model servers. Raises `StartupError` where this machine can't run them."""
    check_machine(settings)
    checkpoint = build_checkpoint(settings)
    mask = [sys.executable, "-m", "spex_model.serving.mask_service", "--checkpoint", str(checkpoint)]
    mask += ["--port", str(settings.mask_port), "--states-dir", str(states_dir), "--device", settings.device]
    return [
        vllm_program(settings, checkpoint, states_dir),
        Program("masks", mask, f"http://{LOCALHOST}:{settings.mask_port}/health"),
    ]


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
        return f"http://{host}:{self.settings.port}"

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
