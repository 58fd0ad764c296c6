"""The mask service: encodes scenes, takes over hidden states from vLLM, paints what an answer said.

`python -m spex_model.serving.mask_service --checkpoint DIR --port 8102 --states-dir DIR` listens on 127.0.0.1.

| request | body | answer |
|---|---|---|
| `POST /images`, header `x-spex-scene`: `SceneHeader` | npz of `reflectance` and packed `valid` | `EncodedImage` |
| `GET /images/{image_id}` | - | `EncodedImage` |
| `POST /states` | `KeepStates` | 204 |
| `POST /decode`, optionally `?dtype=float16` | `DecodeRequest` | (H, W) logits, little endian, row by row |
| `GET /health`, `GET /metrics` | - | `ServiceHealth`, Prometheus text |

Every refusal is a `ServiceProblem`. Model work runs one job at a time, outside the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_model.model.weights import WeightsError, load_vision
from spex_model.serving.errors import BadRequest, ServingError, TooLarge
from spex_model.serving.mask_engine import MaskEngine, unpack_scene
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

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 1 << 18
SWEEP_EVERY_S = 60.0
STATUS = {"too_large": 413, "unknown_image": 404, "unknown_states": 404, "bad_request": 400}
CLIENT_GONE = 499
_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self, engine: MaskEngine) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "spex_mask_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "spex_mask_work_seconds", "Time of model work, without waiting", ["work"], registry=self.registry
        )
        self.swept = Counter("spex_mask_swept_files", "States files that nobody fetched", registry=self.registry)
        images = Gauge("spex_mask_images", "Images held", registry=self.registry)
        images.set_function(lambda: engine.count()[0])
        image_bytes = Gauge("spex_mask_image_bytes", "Most bytes that the held images take", registry=self.registry)
        image_bytes.set_function(lambda: engine.count()[1])
        answers = Gauge("spex_mask_answers", "Answers whose states are held", registry=self.registry)
        answers.set_function(lambda: engine.count()[2])


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to be longer than `max_bytes`."""
    announced = request.headers.get("content-length", "")
    body = bytearray()
    if not (announced.isdecimal() and int(announced) > max_bytes):
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                break
        else:
            return bytes(body)
    raise TooLarge(f"The body has more than the {max_bytes:,} bytes that are taken; send a smaller image.")


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


class _Turns:
    """Runs model work one job at a time in a worker thread, and none for a client that has gone."""

    def __init__(self, metrics: Metrics) -> None:
        self._turn = asyncio.Lock()
        self._metrics = metrics

    async def run(self, request: Request, work: str, job: Callable[[], _Value]) -> _Value:
        async with self._turn:
            if await request.is_disconnected():
                raise ClientDisconnect
            with self._metrics.seconds.labels(work).time():
                return await to_thread.run_sync(job)


def create_app(engine: MaskEngine, *, states_max_age_s: float = 600.0) -> FastAPI:
    """The HTTP side of a `MaskEngine`. States files older than `states_max_age_s` are swept away."""
    metrics = Metrics(engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep_for_ever(engine, metrics, states_max_age_s))
        yield
        sweeper.cancel()

    app = FastAPI(title="SPEX mask service", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_model_routes(app, engine, _Turns(metrics))
    _add_watching(app, engine, metrics)
    return app


async def _sweep_for_ever(engine: MaskEngine, metrics: Metrics, max_age_s: float) -> None:
    while True:
        try:
            swept = await to_thread.run_sync(engine.sweep, max_age_s)
            metrics.swept.inc(swept)
            if swept:
                log.info("removed %d hidden-states files that nobody fetched", swept)
        except OSError:
            log.exception("the hidden-states folder can't be swept")
        await asyncio.sleep(min(SWEEP_EVERY_S, max_age_s))


def _add_model_routes(app: FastAPI, engine: MaskEngine, turns: _Turns) -> None:
    @app.post("/images")
    async def encode(request: Request) -> EncodedImage:
        header = parse(SceneHeader, request.headers.get(SCENE_HEADER, ""))
        body = await read_body(request, engine.max_body_bytes)
        scene = await to_thread.run_sync(unpack_scene, header, body, engine.max_body_bytes)
        del body
        return await turns.run(request, "encode", partial(engine.encode, header.image_id, scene))

    @app.get("/images/{image_id}")
    async def find(image_id: str) -> EncodedImage:
        return engine.find(image_id)

    @app.post("/states", status_code=204)
    async def keep_states(request: Request) -> None:
        wanted = parse(KeepStates, await read_body(request, MAX_JSON_BYTES))
        await to_thread.run_sync(engine.keep_states, wanted)

    @app.post("/decode")
    async def decode(request: Request, dtype: str = "float32") -> Response:
        if dtype not in ("float32", "float16"):
            raise BadRequest(f"Logits come as float32 or float16, not {dtype[:20]!r}.")
        wanted = parse(DecodeRequest, await read_body(request, MAX_JSON_BYTES))
        logits = await turns.run(request, "decode", partial(engine.decode, wanted))
        height, width = logits.shape
        content = logits.astype("<f4" if dtype == "float32" else "<f2", copy=False).tobytes()
        return Response(content, media_type="application/octet-stream", headers={SHAPE_HEADER: f"{height},{width}"})


def _add_watching(app: FastAPI, engine: MaskEngine, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> ServiceHealth:
        return ServiceHealth(ready=True, detail="The mask service is ready.", images=engine.count()[0])

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    @app.exception_handler(BadRequest)
    async def refuse(_: Request, error: BadRequest) -> Response:
        return problem(error)

    @app.exception_handler(ClientDisconnect)
    async def let_go(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def admit(_: Request, error: Exception) -> Response:
        body = ServiceProblem(kind="internal", detail="The mask service failed; its log says why.")
        return Response(body.model_dump_json(), 500, media_type="application/json")

    app.add_middleware(_CountRequests, metrics=metrics)


class _CountRequests:
    """Counts answers by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            # The route's pattern, not the path: an id in a label would make a time series of its own.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.requests.labels(route, status).inc()


def main(argv: Sequence[str] | None = None) -> int:
    """Load the vision side and serve it on 127.0.0.1."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.serving.mask_service", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a built checkpoint directory")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--states-dir", type=Path, required=True, help="where vLLM writes hidden states")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-mb", type=int, default=2048, help="most memory for encoded images")
    parser.add_argument("--max-body-mb", type=int, default=2048, help="largest scene, unpacked")
    parser.add_argument("--states-max-age-s", type=float, default=600, help="age at which unfetched states go")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        vision = load_vision(options.checkpoint, device=options.device)
    except (WeightsError, OSError, RuntimeError, ValueError) as error:
        log.error("The model can't be loaded from %s: %s", options.checkpoint, error)
        return 1
    engine = MaskEngine(vision, options.states_dir, memory_mb=options.memory_mb, max_body_mb=options.max_body_mb)
    app = create_app(engine, states_max_age_s=options.states_max_age_s)
    log.info("serving masks on http://127.0.0.1:%d", options.port)
    uvicorn.run(
        app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False, timeout_graceful_shutdown=10
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
