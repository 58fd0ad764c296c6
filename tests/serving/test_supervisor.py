"""The supervisor with harmless children: start, restart, ports, clean shutdown, and what a kill -9 leaves."""

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from spex_model.serving import programs as module
from spex_model.serving.__main__ import read_settings
from spex_model.serving.errors import StartupError
from spex_model.serving.processes import ROOT, Program, end_groups
from spex_model.serving.programs import ServeSettings, language_dtype, mask_program, plan_models, vllm_program
from spex_model.serving.supervisor import Supervisor, claim_port

SERVER = """
import http.server, os, subprocess, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("grandchild", grandchild.pid, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def settings(tmp_path: Path, **changes) -> ServeSettings:
    values = {"ui": False, "vllm_port": 0, "mask_port": 0, "start_timeout_s": 60, "states_root": tmp_path, **changes}
    return ServeSettings(**values)


def plan_dummies(chosen: ServeSettings, states_dir: Path) -> list[Program]:
    (states_dir / "left.safetensors").touch()
    return [
        Program(name, [sys.executable, "-c", SERVER, str(port)], f"http://127.0.0.1:{port}/health")
        for name, port in (("vllm", chosen.vllm_port), ("masks", chosen.mask_port))
    ]


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(true: Callable[[], bool], timeout_s: float = 45.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def server_pid(url: str) -> int:
    try:
        return int(httpx.get(url, timeout=1, trust_env=False).text)
    except httpx.HTTPError:
        return 0


def test_servers_run_inside_the_block_and_nothing_is_left_after_it(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with Supervisor(settings(tmp_path), plan=plan_dummies) as stack:
        assert server_pid(stack.vllm_url) and server_pid(stack.mask_url) and list(tmp_path.iterdir())
        wait_until(lambda: "masks | grandchild" in caplog.text and "vllm | grandchild" in caplog.text)
        pids = [int(line.rsplit(" ", 1)[1]) for line in caplog.messages if "grandchild" in line]
        pids += [child.pid for child in stack.children]
        assert len(pids) == 4 and all(map(alive, pids))
    assert not any(map(alive, pids)) and not list(tmp_path.iterdir())
    assert server_pid(stack.vllm_url) == 0


def test_a_dead_child_is_started_again_after_ever_longer_pauses(tmp_path, caplog):
    with Supervisor(settings(tmp_path), plan=plan_dummies) as stack:
        other = server_pid(stack.vllm_url)
        for _ in range(2):
            before = server_pid(stack.mask_url)
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: server_pid(stack.mask_url) not in (0, before))
        assert server_pid(stack.vllm_url) == other
    assert "masks ended with code -9; starting it again in 1 s" in caplog.text
    assert "masks ended with code -9; starting it again in 2 s" in caplog.text


def test_a_taken_port_is_refused_in_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match=f"Port {port} is taken .* with --mask-port"):
            Supervisor(settings(tmp_path, mask_port=port), plan=plan_dummies).__enter__()
    assert not list(tmp_path.iterdir())
    assert claim_port("127.0.0.1", port, "--port") == port


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:7860"), ("0.0.0.0", "http://127.0.0.1:7860"), ("::1", "http://[::1]:7860")],
)
def test_the_page_has_an_address_that_a_browser_takes(tmp_path, host, url):
    assert Supervisor(settings(tmp_path, host=host, port=7860)).ui_url == str(httpx.URL(url)) == url


def test_two_servers_cannot_share_a_port(tmp_path):
    port = claim_port("127.0.0.1", 0, "--port")
    with pytest.raises(StartupError, match="a port of its own"):
        Supervisor(settings(tmp_path, mask_port=port, vllm_port=port), plan=plan_dummies).__enter__()


def test_a_child_that_dies_at_the_start_ends_everything(tmp_path):
    def plan(chosen: ServeSettings, states_dir: Path) -> list[Program]:
        broken = "raise ValueError('no such model')"
        return [
            *plan_dummies(chosen, states_dir),
            Program("broken", [sys.executable, "-c", broken], "http://127.0.0.1:9/"),
        ]

    stack = Supervisor(settings(tmp_path), plan=plan)
    with pytest.raises(StartupError, match="broken ended with code 1 while starting: ValueError: no such model"):
        stack.__enter__()
    assert not list(tmp_path.iterdir()) and server_pid(stack.vllm_url) == 0


def test_a_server_that_never_answers_is_not_waited_for_for_ever(tmp_path):
    def plan(chosen: ServeSettings, states_dir: Path) -> list[Program]:
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        return [Program("mute", sleeper, f"http://127.0.0.1:{chosen.vllm_port}/health")]

    with pytest.raises(StartupError, match="mute still didn't answer"):
        Supervisor(settings(tmp_path, start_timeout_s=0.5), plan=plan).__enter__()


def test_what_the_machine_lacks_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "available_memory_gb", lambda: 1.5)
    chosen = settings(tmp_path)
    monkeypatch.setattr(module, "vllm_version", lambda: None)
    with pytest.raises(StartupError, match="vLLM isn't installed"):
        plan_models(chosen, tmp_path)
    monkeypatch.setattr(module, "vllm_version", lambda: "0.32.0")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(module.importlib.metadata, "entry_points", lambda group: [])
    with pytest.raises(StartupError, match="pip install"):
        plan_models(chosen, tmp_path)
    plugin = module.importlib.metadata.EntryPoint("spex", "m:f", "vllm.general_plugins")
    monkeypatch.setattr(module.importlib.metadata, "entry_points", lambda group: [plugin])
    with pytest.raises(StartupError, match=r"1\.5 GB are available"):
        plan_models(chosen, tmp_path)


def test_vllm_listens_on_this_machine_only_and_computes_as_it_is_told(tmp_path):
    program = vllm_program(settings(tmp_path, vllm_port=8101, dtype="float32"), tmp_path / "model", tmp_path)
    command = " ".join(program.command)
    assert "--host 127.0.0.1 --port 8101 --dtype float32" in command and "--enforce-eager" in command
    assert '"disable_any_whitespace": true' in command and str(tmp_path) in command
    assert program.environment["VLLM_CPU_KVCACHE_SPACE"] == "1" and program.environment["HF_HUB_OFFLINE"] == "1"
    gpu = vllm_program(settings(tmp_path, device="cuda"), tmp_path / "model", tmp_path)
    assert "--enforce-eager" not in gpu.command and "VLLM_CPU_KVCACHE_SPACE" not in gpu.environment


@pytest.mark.parametrize(
    ("flags", "changes", "dtype"),
    [
        ({"avx2", "avx512f"}, {}, "float16"),
        ({"avx2"}, {}, "float32"),
        (set(), {}, "float16"),
        ({"avx2"}, {"device": "cuda"}, "float16"),
        ({"avx2"}, {"dtype": "bfloat16"}, "bfloat16"),
    ],
)
def test_half_precision_only_where_it_is_not_emulated(tmp_path, flags, changes, dtype):
    assert language_dtype(settings(tmp_path, **changes), flags) == dtype


def test_the_programs_get_their_budgets_limits_and_parallel_sizes(tmp_path):
    chosen = settings(
        tmp_path, data_parallel=2, tensor_parallel=4, max_streams=64, mask_memory_mb=100, mask_disk_mb=200,
        mask_spill_dir=tmp_path / "spill", mask_batch_window_ms=5, mask_max_batch=8,
    )  # fmt: skip
    language = " ".join(vllm_program(chosen, tmp_path, tmp_path).command)
    assert "--tensor-parallel-size 4 --data-parallel-size 2" in language and "--max-num-seqs 64" in language
    masks = mask_program(chosen, tmp_path, tmp_path)
    command = " ".join(masks.command)
    assert "--memory-mb 100 --disk-mb 200 --batch-window-ms 5.0 --max-batch 8" in command
    assert f"--spill-dir {tmp_path / 'spill'}" in command and masks.environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_settings_come_from_options_before_variables(monkeypatch, capsys):
    monkeypatch.setenv("SPEX_VLLM_PORT", "9001")
    monkeypatch.setenv("SPEX_MASK_PORT", "9002")
    chosen = read_settings(["--no-ui", "--vllm-port", "9003"])
    assert (chosen.ui, chosen.vllm_port, chosen.mask_port, chosen.dtype) == (False, 9003, 9002, "auto")
    with pytest.raises(SystemExit) as ended:
        read_settings(["--dtype", "int4"])
    assert ended.value.code == 2 and "dtype" in capsys.readouterr().err


STACK = """
import logging, sys
from pathlib import Path
from tests.serving.test_supervisor import plan_dummies, settings
from spex_model.serving import __main__ as door
from spex_model.serving.supervisor import Supervisor
door.Supervisor = lambda chosen: Supervisor(settings(Path(sys.argv[1])), plan=plan_dummies)
raise SystemExit(door.main(["--no-ui"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_signal_leaves_a_process_or_a_file(tmp_path, number):
    command = [sys.executable, "-c", textwrap.dedent(STACK), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        pids = []
        for line in process.stderr:
            if "grandchild" in line:
                pids.append(int(line.rsplit(" ", 1)[1]))
            if "open http" in line:
                break
        wait_until(lambda: len(list(tmp_path.iterdir())) == 1)
        process.send_signal(number)
        process.stderr.read()
        assert process.wait(60) == (-9 if number == signal.SIGKILL else 0)
    wait_until(lambda: not list(tmp_path.iterdir()))
    assert not any(map(alive, pids))


def test_a_stubborn_group_is_killed():
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        end_groups([process.pid], patience_s=0.2)
        assert process.wait(5) == -signal.SIGKILL
