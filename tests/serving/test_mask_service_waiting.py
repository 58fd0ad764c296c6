"""Who waits for whom in the mask service: uploads for their turn and for room, masks and metrics for nobody's files."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from starlette.testclient import TestClient

from spex_model.model.modeling_spex import SpexVision
from spex_model.serving.feature_store import FeatureStore
from spex_model.serving.mask_engine import MaskEngine
from spex_model.serving.mask_service import create_app
from spex_model.serving.protocol import SCENE_HEADER
from tests.serving.test_feature_store import slow_entry
from tests.serving.test_mask_service import HEADER, TINY, ask, bits, make_scene, npz, remember, send

TILE_BYTES = 2 * (16 * 16 * 32 + 32 * 32 * 8 + 64 * 64 * 4) + 64
"""Of a tiny tile: bfloat16 at strides 4, 2 and 1, and the grid."""


@pytest.fixture
def vision() -> SpexVision:
    torch.manual_seed(0)
    return SpexVision(TINY).eval()


def upload(app: FastAPI, size: int, ready: asyncio.Event) -> asyncio.Task[httpx.Response]:
    """Begin to send 2 x size x size pixels; the end of the body is held back until `ready`."""
    body = npz(reflectance=np.zeros((2, size, size), np.float32), valid=bits(size, size))

    async def send_slowly() -> AsyncIterator[bytes]:
        yield body[:-1]
        await ready.wait()
        yield body[-1:]

    async def send_all() -> httpx.Response:
        headers = {SCENE_HEADER: HEADER, "content-length": str(len(body))}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.post("/images", content=send_slowly(), headers=headers)

    return asyncio.create_task(send_all())


def test_uploads_beyond_the_room_for_them_are_told_to_come_back(vision, tmp_path):
    async def run() -> None:
        app, ready = create_app(MaskEngine(vision, tmp_path, max_body_mb=1)), asyncio.Event()
        waiting = [upload(app, 220, ready), upload(app, 220, ready)]  # 0.4 MB each, of 1 MB
        await asyncio.sleep(0.1)
        refused = await asyncio.wait_for(upload(app, 220, ready), 5)
        assert (refused.status_code, refused.json()["kind"]) == (429, "too_busy")
        waiting.append(upload(app, 90, ready))
        ready.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200, 200]
        assert (await upload(app, 220, ready)).status_code == 200

    asyncio.run(run())


def test_an_upload_is_unpacked_only_when_it_is_its_turn(vision, tmp_path):
    encoding, let_go = threading.Event(), threading.Event()

    def hold_back(*_: object) -> None:
        encoding.set()
        let_go.wait(10)

    vision.encoder.register_forward_pre_hook(hold_back)
    with TestClient(create_app(MaskEngine(vision, tmp_path))) as service, ThreadPoolExecutor() as threads:
        first = threads.submit(send, service, make_scene())
        assert encoding.wait(10)
        second = threads.submit(service.post, "/images", content=b"no npz", headers={SCENE_HEADER: HEADER})
        with pytest.raises(TimeoutError):
            second.result(0.3)
        let_go.set()
        assert (first.result(10).status_code, second.result(10).status_code) == (200, 400)


def test_metrics_and_masks_do_not_wait_while_features_are_spilled(vision, tmp_path):
    store = FeatureStore(tmp_path / "spill", memory_bytes=2 * TILE_BYTES, disk_bytes=TILE_BYTES)
    engine, scene = MaskEngine(vision, tmp_path, store), make_scene(64, 64)
    remember(engine)
    (slow,) = slow_entry(5)
    with TestClient(create_app(engine)) as service, ThreadPoolExecutor() as threads:
        send(service, scene)
        store.put("slow", (slow,))
        ask(service, scene.id)  # now the slow entry is the one that was used least recently
        pushing = threads.submit(store.put, "large", (torch.zeros(TILE_BYTES, dtype=torch.uint8),))
        try:
            assert slow.asked_for.wait(10)
            assert "spex_mask_cache_spills_total 0.0" in threads.submit(service.get, "/metrics").result(5).text
            assert threads.submit(ask, service, scene.id).result(5).shape == (64, 64)
        finally:
            slow.let_go.set()
            pushing.result(10)
        assert "spex_mask_cache_spills_total 1.0" in service.get("/metrics").text
