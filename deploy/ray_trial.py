"""Two mask services behind Ray Serve, and one of them killed under load: `python deploy/ray_trial.py`.

Users decode masks of their own images without a pause, through the chat's own client. After a third of the time one
replica is killed with SIGKILL. Prints one JSON object: masks painted and failed before and after, whether every mask
of an image was the same throughout, how often images had to be sent again, and how requests spread over replicas.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import ray
from ray import serve
from ray_serve import MaskServices, start

from spex_model.imaging.scene import Scene
from spex_model.model.weights import build_checkpoint
from spex_model.serving.client import ServedRuntime
from spex_model.serving.errors import ServingError
from spex_model.serving.processes import available_memory_gb
from spex_model.serving.supervisor import claim_port

HIDDEN = 576


def make_scene(seed: int) -> Scene:
    values = np.random.default_rng(seed).uniform(0.02, 0.4, (4, 512, 512)).astype(np.float32)
    return Scene(values, np.ones((512, 512), bool), ("blue", "green", "red", "nir"), gsd_m=10.0)


def replica_pids() -> list[int]:
    """Processes of the replicas, children of this machine's Ray."""
    me = psutil.Process()
    return [child.pid for child in me.children(recursive=True) if "ServeReplica" in " ".join(child.cmdline()[:1])]


class User:
    """Paints one image again and again."""

    def __init__(self, url: str, seed: int) -> None:
        self.runtime = ServedRuntime(url, url, timeout_s=60)
        self.scene = make_scene(seed)
        self.image_id = self.runtime.encode(self.scene)
        states = np.random.default_rng(seed).normal(size=(30, HIDDEN)).astype(np.float32)
        self.name = self.runtime.restore_states(states)
        self.first = self.runtime.decode(self.image_id, self.name)
        self.painted: list[float] = []
        self.failed: list[tuple[float, str]] = []
        self.other = 0

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            try:
                logits = self.runtime.decode(self.image_id, self.name)
            except ServingError as error:
                self.failed.append((time.monotonic(), str(error)))
                time.sleep(0.5)
                continue
            self.painted.append(time.monotonic())
            self.other += not np.allclose(logits, self.first, atol=5e-2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trial; exit code 1 when a mask differed or nothing was painted after the kill."""
    parser = argparse.ArgumentParser(prog="python deploy/ray_trial.py", description=__doc__)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args(argv)
    port = claim_port("127.0.0.1", 0, "--port")
    with tempfile.TemporaryDirectory(prefix="spex-states-") as states:
        start(MaskServices(build_checkpoint(), Path(states), replicas=2, cpus=0.5), port, blocking=False)
        try:
            print(f"started, {available_memory_gb():.1f} GB of memory left", file=sys.stderr)
            report = _trial(f"http://127.0.0.1:{port}", options.users, options.seconds)
        finally:
            serve.shutdown()
            ray.shutdown()
    print(json.dumps(report))
    return 0 if report["painted_after"] and not report["different"] else 1


def _trial(url: str, count: int, seconds: float) -> dict[str, object]:
    users = [User(url, seed) for seed in range(count)]
    began = time.monotonic()
    threads = [threading.Thread(target=user.run, args=(began + seconds,)) for user in users]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    pids = replica_pids()
    os.kill(pids[0], signal.SIGKILL)
    killed = time.monotonic()
    for thread in threads:
        thread.join()
    painted, failed = [t for user in users for t in user.painted], [f for user in users for f in user.failed]
    return {
        "replicas": len(pids),
        "painted_before": sum(t < killed for t in painted),
        "painted_after": sum(t >= killed for t in painted),
        "failed_before": sum(t < killed for t, _ in failed),
        "failed_after": sum(t >= killed for t, _ in failed),
        "last_failure_after_kill_s": round(max((t - killed for t, _ in failed), default=0.0), 1),
        "reasons": Counter(reason for _, reason in failed),
        "different": sum(user.other for user in users),
        "replicas_afterwards": len(replica_pids()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
