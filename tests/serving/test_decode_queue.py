"""Decode requests together: the same masks as alone, shared passes, and no work for those who have gone."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
import torch

from spex_model.imaging.scene import Scene
from spex_model.imaging.tiles import Window
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import Painting
from spex_model.serving import decode_queue
from spex_model.serving.decode_queue import DecodeQueue
from spex_model.serving.errors import BadRequest
from spex_model.serving.mask_engine import DecodeJob, MaskEngine
from spex_model.serving.mask_metrics import MaskMetrics
from spex_model.serving.mask_service import create_app
from spex_model.serving.protocol import DecodeRequest
from spex_model.serving.states import unpack_states
from tests.serving.test_mask_service import SAID, SHAPE_HEADER, STATES, TINY, make_scene


class CountingEngine(MaskEngine):
    """An engine that notes its passes, and can be held or made to fail in the middle of one."""

    def __init__(self, vision: SpexVision, folder) -> None:
        super().__init__(vision, folder)
        self.restore_states(SAID, STATES)
        self.strokes: list[int] = []
        self.passes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.poisoned: str | None = None

    def paint(self, strokes: Sequence[tuple[DecodeJob, Window]]) -> list[int]:
        self.gate.wait(10)
        if self.poisoned and any(job.painting.features is self._images[self.poisoned] for job, _ in strokes):
            raise BadRequest("This one can't be decoded.")
        self.strokes.append(len(strokes))
        sizes = super().paint(strokes)
        self.passes += sizes
        return sizes


@pytest.fixture
def engine(tmp_path) -> CountingEngine:
    torch.manual_seed(0)
    return CountingEngine(SpexVision(TINY).eval(), tmp_path)


def run(engine: MaskEngine, scenario, **options):
    """Run `scenario(client, app)` against the service in this process."""

    async def main():
        app = create_app(engine, **options)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://masks") as client:
            return await scenario(client, app)

    return asyncio.run(main())


def body(image_id: str, **more) -> dict:
    return {"image_id": image_id, "states_ref": SAID, **more}


def logits(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4").reshape(*map(int, answer.headers[SHAPE_HEADER].split(",")))


def test_requests_that_come_together_share_passes_and_give_what_each_gives_alone(engine):
    scenes = [make_scene(40, 56, seed) for seed in range(3)] + [make_scene(90, 70, 9)]
    for scene in scenes:
        engine.encode(scene.id, scene)
    wanted = [body(scene.id) for scene in scenes] + [body(scenes[0].id, points=[[3, 4, True]])]

    async def together(client, app):
        return await asyncio.gather(*(client.post("/decode", json=one) for one in wanted))

    async def alone(client, app):
        return [await client.post("/decode", json=one) for one in wanted]

    beside = [logits(answer) for answer in run(engine, together, window_s=0.05, max_batch=16)]
    assert max(engine.passes) >= 3  # three scenes of one size
    engine.passes.clear()
    for one, other in zip(beside, (logits(answer) for answer in run(engine, alone, max_batch=1)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert set(engine.passes) == {1}


def test_what_comes_while_a_pass_runs_shares_the_next_one(engine):
    scene = make_scene(40, 56)
    engine.encode(scene.id, scene)

    async def scenario(client, app):
        engine.gate.clear()
        first = asyncio.create_task(client.post("/decode", json=body(scene.id)))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(client.post("/decode", json=body(scene.id))) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert (await client.get("/health")).status_code == 200  # the event loop is free meanwhile
        engine.gate.set()
        return [await task for task in (first, *others)]

    answers = run(engine, scenario, window_s=0, max_batch=4)
    assert engine.passes == [1, 3]
    for answer in answers[1:]:
        np.testing.assert_allclose(logits(answer), logits(answers[0]), atol=1e-4)


def test_a_large_scene_lets_others_in(engine):
    large, small = make_scene(200, 200), make_scene(40, 56)
    for scene in (large, small):
        engine.encode(scene.id, scene)
    ended: list[str] = []

    async def ask(client, name, scene):
        logits(await client.post("/decode", json=body(scene.id)))
        ended.append(name)

    async def scenario(client, app):
        engine.gate.clear()
        first = asyncio.create_task(ask(client, "large", large))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(ask(client, "small", small)) for _ in range(2)]
        await asyncio.sleep(0.1)
        engine.gate.set()
        await asyncio.gather(first, *others)

    run(engine, scenario, window_s=0, max_batch=3)
    assert ended == ["small", "small", "large"] and engine.strokes[:2] == [3, 3]


def test_a_request_that_fails_takes_no_other_with_it(engine):
    scenes = [make_scene(40, 56, seed) for seed in range(3)]
    for scene in scenes:
        engine.encode(scene.id, scene)
    engine.poisoned = scenes[1].id

    async def scenario(client, app):
        return await asyncio.gather(*(client.post("/decode", json=body(scene.id)) for scene in scenes))

    answers = run(engine, scenario, window_s=0.05)
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert "can't be decoded" in answers[1].json()["detail"]


class Unfinished(Painting):
    """A painting whose tiles are painted and can't be put together."""

    def logits(self) -> np.ndarray:
        raise MemoryError


class Caller:
    """A client that waits, or one whose connection can't be asked."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    async def is_disconnected(self) -> bool:
        if self.broken:
            raise OSError
        return False


async def ask_queue(queue: DecodeQueue, *asked: tuple[DecodeJob, Caller]) -> list:
    """What each of some requests to a queue ends with, all asked at once."""
    waiting = asyncio.gather(*(queue.decode(job, caller) for job, caller in asked), return_exceptions=True)
    return await asyncio.wait_for(waiting, 20)


def start(engine: MaskEngine, scene: Scene) -> DecodeJob:
    engine.encode(scene.id, scene)
    return engine.start(DecodeRequest(image_id=scene.id, states_ref=SAID))


def test_a_mask_that_cannot_be_put_together_takes_no_other_with_it(engine):
    scene = make_scene(40, 56)
    healthy = [start(engine, scene) for _ in range(3)]
    spoilt = DecodeJob(Unfinished(healthy[0].painting.features, torch.tensor(unpack_states(STATES))))

    async def scenario():
        queue = DecodeQueue(engine, MaskMetrics(engine), window_s=0.01, max_batch=4)
        beside = await ask_queue(queue, (healthy[0], Caller()), (spoilt, Caller()), (healthy[1], Caller()))
        return beside + await ask_queue(queue, (healthy[2], Caller()))

    first, failed, second, later = asyncio.run(scenario())
    assert isinstance(failed, MemoryError)
    assert [one.shape for one in (first, second, later)] == [(40, 56)] * 3


def test_an_error_of_the_queue_itself_leaves_nobody_waiting(engine):
    jobs = [start(engine, make_scene(40, 56)) for _ in range(3)]

    async def scenario():
        queue = DecodeQueue(engine, MaskMetrics(engine), window_s=0.01, max_batch=4)
        ended = await ask_queue(queue, (jobs[0], Caller()), (jobs[1], Caller(broken=True)))
        return ended + await ask_queue(queue, (jobs[2], Caller()))

    first, second, later = asyncio.run(scenario())
    assert isinstance(first, OSError) and isinstance(second, OSError) and later.shape == (40, 56)


def test_more_requests_than_may_wait_are_told_to_come_again(engine, monkeypatch):
    monkeypatch.setattr(decode_queue, "MAX_WAITING", 2)
    scene = make_scene(40, 56)
    engine.encode(scene.id, scene)

    async def scenario(client, app):
        return await asyncio.gather(*(client.post("/decode", json=body(scene.id)) for _ in range(4)))

    answers = run(engine, scenario, window_s=0.2)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["kind"] == "too_busy"


def test_a_client_that_left_costs_nothing(engine):
    scene = make_scene(200, 200)
    engine.encode(scene.id, scene)

    async def scenario(client, app):
        engine.gate.clear()
        first = asyncio.create_task(client.post("/decode", json=body(scene.id)))
        await asyncio.sleep(0.1)
        gone = asyncio.create_task(post_and_leave(app, json.dumps(body(scene.id)).encode()))
        await asyncio.sleep(0.1)
        engine.gate.set()
        assert (await first).status_code == 200 and await gone == 499
        return (await client.get("/metrics")).text

    metrics = run(engine, scenario, window_s=0)
    assert sum(engine.strokes) == 16  # the tiles of one request
    assert "spex_mask_cancelled_total 1.0" in metrics and "spex_mask_waiting 0.0" in metrics
    assert "spex_mask_batch_tiles_sum 16.0" in metrics


def test_a_client_that_leaves_midway_is_dropped_at_the_next_pass(engine):
    scene = make_scene(200, 200)
    engine.encode(scene.id, scene)

    async def scenario(client, app):
        leaving = time.monotonic() + 0.2
        engine.gate.clear()
        gone = asyncio.create_task(post_and_leave(app, json.dumps(body(scene.id)).encode(), leaving))
        await asyncio.sleep(0.4)
        engine.gate.set()
        assert await gone == 499

    run(engine, scenario, window_s=0, max_batch=4)
    assert engine.strokes == [4]


async def post_and_leave(app, content: bytes, leaving: float = 0.0) -> int:
    """POST /decode over bare ASGI and leave at a time, or right behind the body; the status that is sent."""
    messages = iter([{"type": "http.request", "body": content, "more_body": False}])
    status = 0

    async def receive():
        message = next(messages, None)
        if message is None:
            while time.monotonic() < leaving:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}
        return message

    async def send(message):
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http", "method": "POST", "path": "/decode", "query_string": b"", "headers": [], "http_version": "1.1",
        "asgi": {"version": "3.0"}, "scheme": "http", "server": ("masks", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return status
