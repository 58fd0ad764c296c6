"""The mask service through its HTTP side, on a tiny random model: what it answers and what it refuses."""

import base64
import fcntl
import io
import json
import os
import threading
import time
import zipfile

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from starlette.testclient import TestClient

from spex_model.imaging.scene import Scene
from spex_model.model.config import SpexConfig
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import decode_scene, encode_scene
from spex_model.serving import states_folder
from spex_model.serving.client import pack_scene
from spex_model.serving.feature_store import FeatureStore
from spex_model.serving.mask_engine import MaskEngine
from spex_model.serving.mask_service import create_app
from spex_model.serving.protocol import SCENE_HEADER, SHAPE_HEADER
from spex_model.serving.states import name_states, pack_states, unpack_states

TINY = SpexConfig(
    tile_size=64,
    tile_overlap=16,
    stage_widths=(8, 8, 8, 8, 8, 8),
    stage_depths=(1, 1, 1, 1, 1, 1),
    aggregation_width=16,
    decoder_width=32,
    decoder_heads=4,
    decoder_mlp_width=32,
    num_image_tokens=4,
    vision_hidden_size=24,
    language_hidden_size=20,
)
_SAID = np.random.default_rng(4).normal(size=(5, 20)).astype(np.float32)
SAID, STATES = name_states(_SAID), pack_states(_SAID)
HEADER = json.dumps({"image_id": "a", "bands": ["red", "green"]})


@pytest.fixture(scope="module")
def vision() -> SpexVision:
    torch.manual_seed(0)
    return SpexVision(TINY).eval()


@pytest.fixture
def engine(vision, tmp_path) -> MaskEngine:
    return MaskEngine(vision, tmp_path, max_body_mb=1)


@pytest.fixture
def service(engine):
    with TestClient(create_app(engine)) as client:
        yield client


def make_scene(height: int = 40, width: int = 56, seed: int = 0) -> Scene:
    values = np.random.default_rng(seed).uniform(0, 0.5, (3, height, width)).astype(np.float32)
    valid = np.ones((height, width), bool)
    values[:, 0, 0], valid[0, 0] = np.nan, False
    return Scene(values, valid, ("red", "thermal", "nir"), gsd_m=10.0)


def send(service: TestClient, scene: Scene) -> httpx.Response:
    header, body = pack_scene(scene)
    return service.post("/images", content=body, headers={SCENE_HEADER: header.model_dump_json()})


def write_states(folder, name: str = "said", tokens: int = 9, width: int = 20, value: float | None = None):
    states = torch.randn(tokens, 1, width, generator=torch.Generator().manual_seed(1))
    if value is not None:
        states[-1] = value
    save_file({"hidden_states": states, "token_ids": torch.arange(tokens)}, folder / f"{name}.safetensors")
    (folder / f"{name}.safetensors.lock").touch()
    return states


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(header: bytes, packing: int = zipfile.ZIP_STORED) -> bytes:
    """An npz whose arrays are a header of the format's first version, as it is given, and 4 x 4 bits."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", packing) as file:
        file.writestr("reflectance.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        file.writestr("valid.npy", bytes(2))
    return body.getvalue()


def damage_deflated() -> bytes:
    """An npz whose first deflated block is of a kind that doesn't exist."""
    packed = io.BytesIO()
    np.savez_compressed(packed, reflectance=np.zeros((2, 4, 4), np.float32), valid=bits(4, 4))
    content = bytearray(packed.getvalue())
    start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[start] = 0xFF
    return bytes(content)


def bits(height: int, width: int) -> np.ndarray:
    return np.packbits(np.ones((height, width), bool))


def test_masks_are_those_of_the_model_itself(service, vision, tmp_path):
    scene = make_scene(90, 70)
    encoded = send(service, scene).json()
    expected = encode_scene(vision, scene)
    tokens = torch.load(io.BytesIO(base64.b64decode(encoded["tokens_base64"])), weights_only=True)
    torch.testing.assert_close(tokens, expected.tokens, atol=1e-5, rtol=1e-4)
    assert encoded["num_tokens"] == 4 and service.get(f"/images/{scene.id}").json()["num_tokens"] == 4

    states = write_states(tmp_path, tokens=9)
    kept = service.post("/states", json={"states_ref": "said", "prompt_tokens": 5, "generated": 3})
    assert kept.status_code == 204 and not list(tmp_path.iterdir())
    asked = {"image_id": scene.id, "states_ref": "said", "points": [[3, 4, True]], "boxes": [[1, 1, 9, 9]]}
    answer = service.post("/decode", json=asked)
    logits = np.frombuffer(answer.content, "<f4").reshape(90, 70)
    assert answer.headers[SHAPE_HEADER] == "90,70"
    points = [(3.0, 4.0, 1), (1.0, 1.0, 2), (8.0, 8.0, 3)]
    np.testing.assert_allclose(logits, decode_scene(expected, states[5:8, 0], points), atol=1e-4)
    half = service.post("/decode?dtype=float16", json=asked)
    np.testing.assert_allclose(np.frombuffer(half.content, "<f2").reshape(90, 70), logits, atol=1e-2)


def test_keeping_states_twice_changes_nothing(service, tmp_path):
    write_states(tmp_path)
    wanted = {"states_ref": "said", "prompt_tokens": 5, "generated": 4}
    assert [service.post("/states", json=wanted).status_code for _ in range(2)] == [204, 204]


def test_states_are_read_only_once_the_writer_lets_go(service, tmp_path):
    write_states(tmp_path)
    lock = os.open(tmp_path / "said.safetensors.lock", os.O_WRONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.3, os.close, (lock,)).start()
    started = time.monotonic()
    answer = service.post("/states", json={"states_ref": "said", "prompt_tokens": 5, "generated": 4})
    assert answer.status_code == 204 and time.monotonic() - started > 0.25


def test_a_writer_that_never_lets_go_is_not_waited_for(service, tmp_path, monkeypatch):
    monkeypatch.setattr(states_folder, "WRITE_WAIT_S", 0.1)
    write_states(tmp_path)
    with (tmp_path / "said.safetensors.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = service.post("/states", json={"states_ref": "said", "prompt_tokens": 5, "generated": 4})
    assert answer.status_code == 404 and answer.json()["kind"] == "unknown_states"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"garbage", "no whole npz"),
        (npz(reflectance=np.zeros((2, 4, 4), np.float32)), "npz of reflectance and valid"),
        (npz(reflectance=np.zeros((2, 4, 4)), valid=bits(4, 4)), "float64"),
        (npz(reflectance=np.zeros((2, 4), np.float32), valid=bits(4, 4)), "float32 or float16"),
        (npz(reflectance=np.zeros((2, 4, 4), np.float32), valid=bits(9, 9)), "4 x 4"),
        (npz(reflectance=np.full((2, 4, 4), np.nan, np.float32), valid=bits(4, 4)), "NaN"),
        (npz(reflectance=np.zeros((5, 4, 4), np.float32), valid=bits(4, 4)), "5 bands"),
        (npz(reflectance=np.array([print]), valid=bits(4, 4)), "object"),
        (npz(reflectance=np.zeros((2, 4, 4), np.float32), valid=bits(4, 4))[:-40], "no whole npz"),
        (damage_deflated(), "no whole npz"),
        (archive(b"{'descr': ("), "no whole npz"),
        (archive(b"  a\n b\n"), "no whole npz"),
        (archive(b"{b'descr': '<f4', 'shape': ()}"), "no whole npz"),
        (archive(b"", zipfile.ZIP_LZMA), "store or deflate"),
    ],
)
def test_pixels_that_cannot_be_used_are_refused_with_a_reason(service, body, reason):
    answer = service.post("/images", content=body, headers={SCENE_HEADER: HEADER})
    assert answer.status_code == 400 and reason in answer.json()["detail"]


def test_a_header_that_announces_more_than_it_holds_allocates_nothing(service):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (2, 10**6, 10**6)})
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("reflectance.npy", array.getvalue() + bytes(64))
        archive.writestr("valid.npy", array.getvalue())
    answer = service.post("/images", content=body.getvalue(), headers={SCENE_HEADER: HEADER})
    assert answer.status_code == 400 and "announces" in answer.json()["detail"]


def test_bodies_beyond_the_limit_are_refused(service):
    large = {SCENE_HEADER: HEADER}
    assert service.post("/images", content=bytes(2 << 20), headers=large).status_code == 413
    assert service.post("/images", content=(bytes(1 << 18) for _ in range(8)), headers=large).status_code == 413
    assert service.post("/decode", content=b" " * (1 << 19)).status_code == 413
    packed = io.BytesIO()
    np.savez_compressed(packed, reflectance=np.zeros((2, 900, 900), np.float32), valid=bits(900, 900))
    bomb = service.post("/images", content=packed.getvalue(), headers=large)
    assert bomb.status_code == 413 and "unpacks" in bomb.json()["detail"]


@pytest.mark.parametrize("name", ["../said", "a/b", "said.safetensors", "", "x" * 65, "said\n"])
def test_names_are_never_paths(service, tmp_path, name):
    write_states(tmp_path)
    answers = [
        service.post("/states", json={"states_ref": name, "prompt_tokens": 1, "generated": 1}),
        service.post("/decode", json={"image_id": name, "states_ref": "said"}),
        service.post("/images", content=b"", headers={SCENE_HEADER: json.dumps({"image_id": name, "bands": ["red"]})}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert (tmp_path / "said.safetensors").exists()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/decode", b"{"),
        ("/decode", b"[]"),
        ("/decode", b'{"image_id":"a","states_ref":"b","extra":1}'),
        ("/decode", b'{"image_id":"a","states_ref":"b","points":[[NaN,1,true]]}'),
        ("/decode", b'{"image_id":"a","states_ref":"b","boxes":[[1,2,3,Infinity]]}'),
        ("/decode", json.dumps({"image_id": "a", "states_ref": "b", "points": [[1, 1, True]] * 257}).encode()),
        ("/decode", json.dumps({"image_id": "a", "states_ref": "b", "boxes": [[1, 1, 2, 2]] * 17}).encode()),
        ("/states", b'{"states_ref":"b","prompt_tokens":0,"generated":1}'),
        ("/decode?dtype=int8", b'{"image_id":"a","states_ref":"b"}'),
        ("/images", b""),
    ],
)
def test_malformed_requests_are_refused(service, route, body):
    answer = service.post(route, content=body)
    assert answer.status_code == 400 and answer.json()["kind"] == "bad_request"


@pytest.mark.parametrize(("tokens", "width", "value"), [(4, 20, None), (9, 8, None), (9, 20, float("nan"))])
def test_states_that_do_not_fit_are_refused_and_removed(service, tmp_path, tokens, width, value):
    write_states(tmp_path, tokens=tokens, width=width, value=value)
    answer = service.post("/states", json={"states_ref": "said", "prompt_tokens": 5, "generated": 4})
    assert answer.status_code in (400, 404) and not list(tmp_path.iterdir())


def test_unknown_images_and_states_are_told_apart(service):
    unknown = service.post("/decode", json={"image_id": "a", "states_ref": "b"})
    assert (unknown.status_code, unknown.json()["kind"]) == (404, "unknown_image")
    assert service.get("/images/none").json()["kind"] == "unknown_image"
    scene = make_scene()
    send(service, scene)
    unknown = service.post("/decode", json={"image_id": scene.id, "states_ref": "b"})
    assert (unknown.status_code, unknown.json()["kind"]) == (404, "unknown_states")
    nothing = service.post("/states", json={"states_ref": "b", "prompt_tokens": 1, "generated": 1})
    assert nothing.json()["kind"] == "unknown_states"


@pytest.fixture
def spilling(vision, tmp_path_factory) -> MaskEngine:
    """An engine with room for two tiny tiles in memory, and for four more on disk."""
    folder = tmp_path_factory.mktemp("spilling")
    tile_bytes = 2 * (16 * 16 * 32 + 32 * 32 * 8 + 64 * 64 * 4) + 64  # bfloat16 at strides 4, 2 and 1, and the grid
    store = FeatureStore(folder / "spill", memory_bytes=2 * tile_bytes, disk_bytes=4 * tile_bytes)
    return MaskEngine(vision, folder, store)


def test_features_that_were_spilled_give_the_same_mask(spilling, vision):
    states = torch.tensor(unpack_states(remember(spilling)))
    scenes = [make_scene(64, 64, seed) for seed in range(4)]
    with TestClient(create_app(spilling)) as service:
        for scene in scenes:
            send(service, scene)
        assert spilling.store.counts.spills == 2
        for scene in scenes:
            logits = ask(service, scene.id)
            expected = decode_scene(encode_scene(vision, scene), states)
            np.testing.assert_allclose(logits, expected, atol=1e-4)
        metrics = service.get("/metrics").text
        assert (
            'spex_mask_cache_hits_total{level="disk"} 2.0' in metrics and "spex_mask_cache_spills_total 2.0" in metrics
        )
        assert spilling.store.counts.disk_hits == 2 and spilling.store.counts.memory_hits == 2


def test_an_image_that_fits_nowhere_any_more_is_unknown_until_it_is_sent_again(spilling):
    remember(spilling)
    scenes = [make_scene(64, 64, seed) for seed in range(8)]
    with TestClient(create_app(spilling)) as service:
        for scene in scenes:
            send(service, scene)
        asked = {"image_id": scenes[0].id, "states_ref": SAID}
        assert service.post("/decode", json=asked).json()["kind"] == "unknown_image"
        send(service, scenes[0])
        assert service.post("/decode", json=asked).status_code == 200


def remember(engine: MaskEngine) -> bytes:
    """Give an engine the states of an answer, under the name `SAID`."""
    engine.restore_states(SAID, STATES)
    return STATES


def ask(service: TestClient, image_id: str, **more) -> np.ndarray:
    answer = service.post("/decode", json={"image_id": image_id, "states_ref": SAID, **more})
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4").reshape(*map(int, answer.headers[SHAPE_HEADER].split(",")))


def test_the_sweeper_removes_only_what_is_old(engine, tmp_path):
    write_states(tmp_path, "old")
    write_states(tmp_path, "new")
    for path in tmp_path.glob("old*"):
        os.utime(path, (1, 1))
    assert engine.sweep(600) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "new.safetensors.lock"]


def test_health_and_metrics_answer(service):
    send(service, make_scene())
    service.get("/images/none")
    assert service.get("/health").json() == {"ready": True, "detail": "The mask service is ready.", "images": 1}
    metrics = service.get("/metrics").text
    assert 'spex_mask_requests_total{route="/images/{image_id}",status="404"} 1.0' in metrics
    assert "spex_mask_images 1.0" in metrics
