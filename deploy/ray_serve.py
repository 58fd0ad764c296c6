"""Several mask services behind Ray Serve, each image always with the one that holds its features.

`python deploy/ray_serve.py --checkpoint DIR --states-dir DIR --replicas 2 --port 8102` serves what
`python -m spex_model.serving.mask_service` serves, on the same routes; the chat needs no other setting than its
address (`SPEX_MASK_URL`). `--states-dir` is the folder that vLLM writes to, shared by all of them.

Ray's consistent-hash router reads the header that our client sends with everything that is about an image
(`spex_model.serving.protocol.IMAGE_HEADER`). When a replica dies its images move to the next one on the ring, which
doesn't know them and says so; the client then sends the scene, and states that a session keeps, again by itself.

Ray is no dependency of the project: `pip install "ray[serve]==2.60.0"` beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import RequestRouterConfig

from spex_model.serving.programs import LOCALHOST, MASK_ENVIRONMENT

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
APP = "masks"


@dataclass(frozen=True)
class MaskServices:
    """How many services there are, and what each is given."""

    checkpoint: Path
    states_dir: Path
    replicas: int = 2
    cpus: float = 1
    gpus: float = 0
    memory_mb: int = 2048
    disk_mb: int = 8192
    max_batch: int = 4


def build(services: MaskServices) -> Any:
    """The Ray Serve application: one deployment of that many replicas."""

    def load() -> Any:
        # In the replica: the process that deploys needs neither torch nor the weights.
        from spex_model.model.weights import load_vision
        from spex_model.serving.feature_store import FeatureStore
        from spex_model.serving.mask_engine import MaskEngine
        from spex_model.serving.mask_service import create_app

        store = FeatureStore(
            Path(tempfile.gettempdir()) / "spex-features",
            memory_bytes=services.memory_mb << 20,
            disk_bytes=services.disk_mb << 20,
        )
        vision = load_vision(services.checkpoint, device="cuda" if services.gpus else "cpu")
        return create_app(MaskEngine(vision, services.states_dir, store), max_batch=services.max_batch)

    deployment = serve.deployment(
        serve.ingress(load)(),
        name="MaskService",
        num_replicas=services.replicas,
        max_ongoing_requests=256,  # the service's own queue gathers and limits them
        health_check_period_s=2,
        health_check_timeout_s=10,
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER, request_router_kwargs={"num_fallback_replicas": 0}
        ),
        ray_actor_options={
            "num_cpus": services.cpus,
            "num_gpus": services.gpus,
            "runtime_env": {"env_vars": MASK_ENVIRONMENT},
        },
    )
    return deployment.bind()


def start(services: MaskServices, port: int, *, blocking: bool) -> None:
    """Start Ray on this machine, or join the cluster that its environment names, and serve on 127.0.0.1."""
    ray.init(include_dashboard=False, ignore_reinit_error=True, log_to_driver=False)
    serve.start(http_options={"host": LOCALHOST, "port": port})
    serve.run(build(services), name=APP, route_prefix="/", blocking=blocking)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python deploy/ray_serve.py", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a built checkpoint directory")
    parser.add_argument("--states-dir", type=Path, required=True, help="where vLLM writes hidden states")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1, help="of each replica")
    parser.add_argument("--gpus", type=float, default=0, help="of each replica; a fraction shares one")
    parser.add_argument("--port", type=int, default=8102)
    options = parser.parse_args(argv)
    services = MaskServices(
        options.checkpoint.resolve(), options.states_dir.resolve(), options.replicas, options.cpus, options.gpus
    )
    start(services, options.port, blocking=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
