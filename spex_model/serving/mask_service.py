"""The mask service: encodes scenes, takes over hidden states from vLLM, paints what an answer said.

`python -m spex_model.serving.mask_service --checkpoint DIR --port 8102 --states-dir DIR` listens on 127.0.0.1.

| request | body | answer |
|---|---|---|
| `POST /images`, header `x-spex-scene`: `SceneHeader` | npz of `reflectance` and packed `valid` | `EncodedImage` |
| `GET /images/{image_id}` | - | `EncodedImage` |
| `POST /states` | `KeepStates` | 204 |
| `GET /states/{states_ref}` | - | npy of the states, to be kept |
| `PUT /states/{states_ref}` | such an npy | 204 |
| `POST /decode`, optionally `?dtype=float16` | `DecodeRequest` | (H, W) logits, little endian, row by row |
| `GET /health`, `GET /metrics` | - | `ServiceHealth`, Prometheus text |

Every refusal is a `ServiceProblem`. Model work runs outside the event loop: one image at a time is encoded, with low
priority, and beside it one pass at a time decodes; decode requests share passes, see `DecodeQueue`. Uploads wait
packed, together no more bytes than the largest may have; beyond that they are refused with 429.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request, Response
from prometheus_client import generate_latest
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from spex_model.model.weights import WeightsError, load_vision
from spex_model.serving.decode_queue import DecodeQueue
from spex_model.serving.errors import BadRequest, ServingError, TooBusy, TooLarge
from spex_model.serving.feature_store import FeatureStore
from spex_model.serving.mask_engine import MaskEngine
from spex_model.serving.mask_metrics import CountRequests, MaskMetrics
from spex_model.serving.protocol import (
    PROBLEMS,
    SCENE_HEADER,
    SHAPE_HEADER,
    DecodeRequest,
    EncodedImage,
    KeepStates,
    SceneHeader,
    ServiceHealth,
    ServiceProblem,
)
from spex_model.serving.scene_body import unpack_scene
from spex_model.serving.states import MAX_STATES_BYTES

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 1 << 18
SWEEP_EVERY_S = 60.0
ENCODER_NICENESS = 10
STATUS = {"too_large": 413, "too_busy": 429, "unknown_image": 404, "unknown_states": 404, "bad_request": 400}
CLIENT_GONE = 499
_Model = TypeVar("_Model", bound=BaseModel)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to be longer than `max_bytes`."""
    body = io.BytesIO()
    if _announced_bytes(request, 0) <= max_bytes:
        async for chunk in request.stream():
            body.write(chunk)
            if body.tell() > max_bytes:
                break
        else:
            return body.getvalue()
    raise TooLarge(f"The body has more than the {max_bytes:,} bytes that are taken; send a smaller image.")


def _announced_bytes(request: Request, default: int) -> int:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else default


class _UploadRoom:
    """Bytes for the bodies of uploads that are read, wait or are encoded, from the event loop's thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held_bytes = 0

    @contextmanager
    def hold(self, num_bytes: int) -> Iterator[None]:
        """Keep room for one body; a first one always gets it. Raises `TooBusy` where too many bytes wait already."""
        if self._held_bytes and self._held_bytes + num_bytes > self.max_bytes:
            raise TooBusy("Too many images are waiting to be encoded already; try again in a moment.")
        self._held_bytes += num_bytes
        try:
            yield
        finally:
            self._held_bytes -= num_bytes


def parse(model: type[_Model], text: str | bytes) -> _Model:
    """A wire model from JSON. Raises `BadRequest` that names the first field that doesn't hold."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise BadRequest(f"{model.__name__}: {where} can't be taken: {first['msg']}.") from error


def problem(error: ServingError) -> Response:
    """The refusal that tells a client of an error."""
    kind = next(name for name, kind in PROBLEMS.items() if isinstance(error, kind))
    body = ServiceProblem(kind=kind, detail=str(error)).model_dump_json()
    return Response(body, STATUS[kind], media_type="application/json")


def create_app(
    engine: MaskEngine, *, states_max_age_s: float = 600.0, window_s: float = 0.003, max_batch: int = 4
) -> FastAPI:
    """The HTTP side of a `MaskEngine`, which is closed with it.

    States files older than `states_max_age_s` are swept away; `window_s` and `max_batch` are those of `DecodeQueue`.
    """
    metrics = MaskMetrics(engine)
    encoding = ThreadPoolExecutor(1, "encode", initializer=_give_way)
    queue = DecodeQueue(engine, metrics, window_s=window_s, max_batch=max_batch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep_for_ever(engine, metrics, states_max_age_s))
        yield
        sweeper.cancel()
        encoding.shutdown()
        engine.close()

    app = FastAPI(title="SPEX mask service", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_image_routes(app, engine, encoding, metrics)
    _add_states_routes(app, engine)
    _add_decode_route(app, engine, queue)
    _add_watching(app, engine, metrics)
    return app


async def _sweep_for_ever(engine: MaskEngine, metrics: MaskMetrics, max_age_s: float) -> None:
    while True:
        try:
            swept = await to_thread.run_sync(engine.sweep, max_age_s)
            metrics.swept.inc(swept)
            if swept:
                log.info("removed %d hidden-states files that nobody fetched", swept)
        except OSError:
            log.exception("the hidden-states folder can't be swept")
        await asyncio.sleep(min(SWEEP_EVERY_S, max_age_s))


def _give_way() -> None:
    """Let this thread, and those it starts, work where others leave the cores idle; Linux knows this of threads.

    An image is encoded once, while its owner still thinks or types; answers and masks are waited for.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ENCODER_NICENESS)


def _add_image_routes(app: FastAPI, engine: MaskEngine, encoding: Executor, metrics: MaskMetrics) -> None:
    turn, room = asyncio.Lock(), _UploadRoom(engine.max_body_bytes)

    @app.post("/images")
    async def encode(request: Request) -> EncodedImage:
        header = parse(SceneHeader, request.headers.get(SCENE_HEADER, ""))
        with room.hold(_announced_bytes(request, room.max_bytes)):
            body = await read_body(request, room.max_bytes)
            async with turn:
                if await request.is_disconnected():
                    metrics.cancelled.inc()
                    raise ClientDisconnect
                # Not before its turn: unpacked, a large scene takes twice the memory.
                scene = await to_thread.run_sync(unpack_scene, header, body, room.max_bytes)
                del body
                with metrics.seconds.labels("encode").time():
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(encoding, engine.encode, header.image_id, scene)

    @app.get("/images/{image_id}")
    async def find(image_id: str) -> EncodedImage:
        return engine.find(image_id)


def _add_states_routes(app: FastAPI, engine: MaskEngine) -> None:
    @app.post("/states", status_code=204)
    async def keep_states(request: Request) -> None:
        wanted = parse(KeepStates, await read_body(request, MAX_JSON_BYTES))
        await to_thread.run_sync(engine.keep_states, wanted)

    @app.get("/states/{states_ref}")
    async def read_states(states_ref: str) -> Response:
        return Response(engine.read_states(states_ref), media_type="application/octet-stream")

    @app.put("/states/{states_ref}", status_code=204)
    async def restore_states(states_ref: str, request: Request) -> None:
        body = await read_body(request, MAX_STATES_BYTES)
        await to_thread.run_sync(engine.restore_states, states_ref, body)


def _add_decode_route(app: FastAPI, engine: MaskEngine, queue: DecodeQueue) -> None:
    @app.post("/decode")
    async def decode(request: Request, dtype: str = "float32") -> Response:
        if dtype not in ("float32", "float16"):
            raise BadRequest(f"Logits come as float32 or float16, not {dtype[:20]!r}.")
        wanted = parse(DecodeRequest, await read_body(request, MAX_JSON_BYTES))
        job = await to_thread.run_sync(engine.start, wanted)
        logits = await queue.decode(job, request)
        height, width = logits.shape
        content = logits.astype("<f4" if dtype == "float32" else "<f2", copy=False).tobytes()
        return Response(content, media_type="application/octet-stream", headers={SHAPE_HEADER: f"{height},{width}"})


def _add_watching(app: FastAPI, engine: MaskEngine, metrics: MaskMetrics) -> None:
    @app.get("/health")
    async def health() -> ServiceHealth:
        return ServiceHealth(ready=True, detail="The mask service is ready.", images=engine.count()[0])

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    @app.exception_handler(BadRequest)
    @app.exception_handler(TooBusy)
    async def refuse(_: Request, error: ServingError) -> Response:
        return problem(error)

    @app.exception_handler(ClientDisconnect)
    async def let_go(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def admit(_: Request, error: Exception) -> Response:
        body = ServiceProblem(kind="internal", detail="The mask service failed; its log says why.")
        return Response(body.model_dump_json(), 500, media_type="application/json")

    app.add_middleware(CountRequests, metrics=metrics)


def main(argv: Sequence[str] | None = None) -> int:
    """Load the vision side and serve it on 127.0.0.1."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.serving.mask_service", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a built checkpoint directory")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--states-dir", type=Path, required=True, help="where vLLM writes hidden states")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-mb", type=int, default=2048, help="most memory for encoded images")
    parser.add_argument("--disk-mb", type=int, default=8192, help="most disk for those that don't fit in memory")
    parser.add_argument("--spill-dir", type=Path, help="where on disk; else the system's temporary folder")
    parser.add_argument("--batch-window-ms", type=float, default=3, help="how long a first request waits for others")
    parser.add_argument("--max-batch", type=int, default=4, help="most tiles in one pass of the decoder")
    parser.add_argument("--max-body-mb", type=int, default=2048, help="largest scene, unpacked")
    parser.add_argument("--states-max-age-s", type=float, default=600, help="age at which unfetched states go")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        vision = load_vision(options.checkpoint, device=options.device)
    except (WeightsError, OSError, RuntimeError, ValueError) as error:
        log.error("The model can't be loaded from %s: %s", options.checkpoint, error)
        return 1
    store = FeatureStore(
        options.spill_dir or Path(tempfile.gettempdir()) / "spex-features",
        memory_bytes=options.memory_mb << 20,
        disk_bytes=options.disk_mb << 20,
    )
    engine = MaskEngine(vision, options.states_dir, store, max_body_mb=options.max_body_mb)
    app = create_app(
        engine,
        states_max_age_s=options.states_max_age_s,
        window_s=options.batch_window_ms / 1000,
        max_batch=options.max_batch,
    )
    log.info("serving masks on http://127.0.0.1:%d", options.port)
    uvicorn.run(
        app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False, timeout_graceful_shutdown=10
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
