"""What the supervisor starts: the settings, and the command lines of vLLM and of the mask service."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from spex_model.serving.errors import StartupError
from spex_model.serving.processes import ROOT, Program, available_memory_gb, cpu_flags
from spex_model.serving.protocol import MAX_MODEL_LEN, MODEL_NAME
from spex_model.serving.vllm_cli import vllm_version

LOCALHOST = "127.0.0.1"
DRAIN_S = 10
VLLM_PLUGIN = "spex"
CPU_BLOCK_TOKENS = 32
DRAFT_PROPOSER = "spex_model.serving.vllm_drafts.DraftTableProposer"
# It shares the cores with vLLM: threads that spin while they wait would double what a mask takes. And maps of 8 to
# 32 MB that go back to the system after each pass would have to be faulted in again by the next.
MASK_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}


class ServeSettings(BaseSettings):
    """What the supervisor starts; `SPEX_VLLM_PORT=9000` sets `vllm_port`. Port 0 takes any that is free."""

    model_config = SettingsConfigDict(env_prefix="SPEX_", frozen=True, extra="ignore")

    checkpoint: Path | None = Field(default=None, description="A built checkpoint directory; else built in the cache")
    cache_dir: Path | None = Field(default=None, description="Where a checkpoint is built")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where both models run")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto",
        description="Of the language model. auto: float16, or float32 on a CPU without 512-bit vectors, where half "
        "precision is emulated; bfloat16 is faster for many at once and plans differently in 1 of 100 cases",
    )
    vllm_port: int = Field(default=8101, ge=0, lt=65_536, description="Port of vLLM")
    mask_port: int = Field(default=8102, ge=0, lt=65_536, description="Port of the mask service")
    ui: bool = Field(default=True, description="Start the page too")
    host: str = Field(default=LOCALHOST, description="Address the page listens on")
    port: int = Field(default=7860, ge=0, lt=65_536, description="Port the page listens on")
    start_timeout_s: float = Field(default=300.0, gt=0, description="Longest wait until all answer")
    min_memory_gb: float = Field(default=5.0, ge=0, description="Refuse to start with less available memory")
    states_root: Path | None = Field(default=None, description="Folder for hidden states; else memory, where there is")
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs that share one copy of the language model")
    data_parallel: int = Field(default=1, ge=1, description="Copies of the language model that share the requests")
    max_streams: int = Field(default=16, ge=1, description="Answers that vLLM writes at the same time")
    draft_tokens: int = Field(
        default=5, ge=0, le=16, description="Tokens guessed ahead and checked in one pass; 0: none"
    )
    mask_memory_mb: int = Field(default=2048, ge=0, description="Memory for encoded images in the mask service")
    mask_disk_mb: int = Field(default=8192, ge=0, description="Disk for those that don't fit in memory")
    mask_spill_dir: Path | None = Field(default=None, description="Where on disk; else the system's temporary folder")
    mask_batch_window_ms: float = Field(default=3.0, ge=0, description="How long a first mask waits for others")
    mask_max_batch: int = Field(default=4, ge=1, description="Most tiles in one pass of the mask decoder")


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


def language_dtype(settings: ServeSettings, flags: Collection[str]) -> str:
    """The dtype to serve the language model in: as set, or for "auto" the fast one on a CPU with these flags."""
    if settings.dtype != "auto":
        return settings.dtype
    emulated = settings.device == "cpu" and "avx2" in flags and "avx512f" not in flags
    return "float32" if emulated else "float16"


def vllm_program(settings: ServeSettings, checkpoint: Path, states_dir: Path) -> Program:
    """vLLM with our model, grammar and hidden-states connector."""
    dtype = language_dtype(settings, cpu_flags())
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
        "--dtype": dtype,
        "--max-model-len": MAX_MODEL_LEN,
        "--max-num-seqs": settings.max_streams,
        "--tensor-parallel-size": settings.tensor_parallel,
        "--data-parallel-size": settings.data_parallel,
        "--limit-mm-per-prompt": json.dumps({"image": 1}),
        "--structured-outputs-config": json.dumps(grammar),
        "--kv-transfer-config": json.dumps(connector),
        "--shutdown-timeout": DRAIN_S,
    }
    if dtype == "bfloat16":
        # In bfloat16 the logits of two words are often the same number, and which is chosen is chance.
        options["--hf-overrides"] = json.dumps({"head_dtype": "float32"})
    if settings.draft_tokens:
        drafts = {"method": "custom_class", "model": DRAFT_PROPOSER, "num_speculative_tokens": settings.draft_tokens}
        options["--speculative-config"] = json.dumps(drafts)
        options["--override-generation-config"] = json.dumps({"temperature": 0})
    command = [sys.executable, "-m", "spex_model.serving.vllm_cli", "serve", str(checkpoint), "--enable-mm-embeds"]
    command += [str(part) for option in options.items() for part in option]
    environment = {"VLLM_PLUGINS": VLLM_PLUGIN, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if settings.device == "cpu":
        # Blocks of 32 tokens instead of 128: only whole ones are found again, and a prompt here has about a hundred.
        command += ["--enforce-eager", "--block-size", str(CPU_BLOCK_TOKENS)]
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


def mask_program(settings: ServeSettings, checkpoint: Path, states_dir: Path) -> Program:
    """The mask service, with the budgets and limits of the settings."""
    options = {
        "--checkpoint": checkpoint,
        "--port": settings.mask_port,
        "--states-dir": states_dir,
        "--device": settings.device,
        "--memory-mb": settings.mask_memory_mb,
        "--disk-mb": settings.mask_disk_mb,
        "--batch-window-ms": settings.mask_batch_window_ms,
        "--max-batch": settings.mask_max_batch,
    }
    if settings.mask_spill_dir is not None:
        options["--spill-dir"] = settings.mask_spill_dir
    command = [sys.executable, "-m", "spex_model.serving.mask_service"]
    command += [str(part) for option in options.items() for part in option]
    return Program("masks", command, f"http://{LOCALHOST}:{settings.mask_port}/health", MASK_ENVIRONMENT)


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
    return [vllm_program(settings, checkpoint, states_dir), mask_program(settings, checkpoint, states_dir)]
