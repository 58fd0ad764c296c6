"""The served runtime against servers that live in this process, swapped in through the transport."""

import json
import threading
import time
import tracemalloc

import httpx
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from spex_model.imaging.bands import SLOTS
from spex_model.imaging.scene import Scene
from spex_model.model.modeling_spex import SpexVision
from spex_model.serving import load_runtime
from spex_model.serving.client import ServedRuntime, pack_scene
from spex_model.serving.errors import BadRequest, DeadlineExceeded, RuntimeUnavailable, UnknownImage, UnknownStates
from spex_model.serving.mask_engine import MaskEngine
from spex_model.serving.mask_service import create_app
from spex_model.serving.protocol import IMAGE_HEADER, Box, Point
from spex_model.serving.scene_body import unpack_scene
from spex_model.serving.text_stream import read_events
from tests.serving.test_mask_service import TINY, make_scene, write_states

VLLM, MASK = "http://127.0.0.1:1", "http://127.0.0.1:2"


def sse(*events: dict | str) -> bytes:
    lines = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chunk(text: str, ids: list[int], finish: str | None = None, **extra) -> dict:
    return {"choices": [{"delta": {"content": text}, "token_ids": ids, "finish_reason": finish}], **extra}


class FakeVllm:
    """Answers chat requests with fixed events, and writes states as the connector does."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.requests: list[dict] = []
        self.events: list[dict | str] = [
            chunk("", [], prompt_token_ids=[1, 2, 3]),
            chunk("Wa", [7]),
            chunk("ter\u2028\x85é", [8]),
            chunk("", [9, 0], "stop"),
            "[DONE]",
        ]
        self.status = 200
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path == "/health":
            return httpx.Response(200)
        body = json.loads(request.content)
        self.requests.append(body)
        if self.status != 200:
            return httpx.Response(self.status, json={"error": {"message": "too long", "code": self.status}})
        if transfer := body.get("kv_transfer_params"):
            write_states(self.folder, transfer["hs_name"], tokens=6)
        return httpx.Response(200, content=sse(*self.events))


class Servers(httpx.BaseTransport):
    """A fake vLLM and a real mask service with a tiny model; `restart` makes the latter forget."""

    def __init__(self, folder) -> None:
        self.vllm = FakeVllm(folder)
        self.folder = folder
        self.mask_requests: list[str] = []
        self.about: list[str | None] = []
        self.allowed_s: dict[str, dict[str, float]] = {}
        self.mask_failures = 0
        torch.manual_seed(0)
        self.vision = SpexVision(TINY).eval()
        self.restart()

    def restart(self) -> None:
        self.mask = TestClient(create_app(MaskEngine(self.vision, self.folder)), base_url=MASK)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if request.url.port == 1:
            return self.vllm(request)
        self.mask_requests.append(f"{request.method} {request.url.path}")
        self.about.append(request.headers.get(IMAGE_HEADER))
        self.allowed_s[request.url.path] = request.extensions["timeout"]
        if self.mask_failures:
            self.mask_failures -= 1
            raise httpx.ConnectError("refused", request=request)
        answer = self.mask.request(request.method, str(request.url), content=request.content, headers=request.headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def servers(tmp_path) -> Servers:
    return Servers(tmp_path)


@pytest.fixture
def runtime(servers):
    runtime = ServedRuntime(VLLM, MASK, timeout_s=5, transport=servers)
    yield runtime
    runtime.close()


def test_a_scene_survives_the_wire():
    scene = make_scene()
    header, body = pack_scene(scene)
    again = unpack_scene(header, body, 1 << 20)
    assert header.image_id == scene.id and again.bands == ("red", "nir")
    assert not again.reflectance[:, 0, 0].any()  # not valid: 0 on the wire, where NaN is refused
    np.testing.assert_array_equal(again.reflectance[:, 1:], scene.reflectance[[0, 2], 1:])
    np.testing.assert_array_equal(again.valid, scene.valid)
    assert (again.gsd_m, again.calibrated) == (10.0, True)


def test_packing_takes_little_more_memory_than_what_is_sent(monkeypatch):
    monkeypatch.setattr("spex_model.serving.client.FLOAT32_BYTES", 1 << 20)
    values = np.random.default_rng(0).uniform(-0.2, 1.2, (7, 256, 256)).astype(np.float32)
    scene = Scene(values, np.ones((256, 256), bool), SLOTS)
    tracemalloc.start()
    header, body = pack_scene(scene)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 0.9 * values.nbytes and len(body) < 0.6 * values.nbytes
    again = unpack_scene(header, body, 1 << 20)
    np.testing.assert_array_equal(again.reflectance, values.clip(0, 1).astype(np.float16).astype(np.float32))


def test_a_scene_without_any_band_that_the_encoder_knows_travels_too():
    scene = Scene(np.ones((2, 4, 4), np.float32), np.ones((4, 4), bool), ("thermal", "pan"))
    header, body = pack_scene(scene)
    assert header.bands == ("thermal",) and unpack_scene(header, body, 1 << 20).shape == (4, 4)


def test_an_answer_about_an_image_becomes_a_mask(runtime, servers):
    scene = make_scene()
    image_id = runtime.encode(scene)
    answer = runtime.generate(image_id, "Describe <image> the water.", max_tokens=20)
    assert list(answer) == ["Wa", "ter\u2028\x85é"]
    assert (answer.tokens, answer.finish_reason, answer.result.prompt_tokens) == (3, "stop", 3)
    logits = runtime.decode(image_id, answer.states_ref, points=[Point(1, 2)], boxes=[Box(0, 0, 9, 9)])
    assert logits.shape == scene.shape and logits.dtype == np.float32 and logits.flags.writeable
    image, text = servers.vllm.requests[0]["messages"][0]["content"]
    assert image["type"] == "image_embeds" and text["text"] == "Describe  the water."
    assert servers.vllm.requests[0]["temperature"] == 0


def test_the_last_token_of_a_cut_answer_has_no_state(runtime, servers):
    image_id = runtime.encode(make_scene())
    servers.vllm.events = [chunk("ab", [7, 8], "length", prompt_token_ids=[1, 2, 3]), "[DONE]"]
    answer = runtime.generate(image_id, "Go on.", max_tokens=2)
    assert answer.read() == "ab" and (answer.tokens, answer.finish_reason) == (2, "length") and answer.states_ref
    servers.vllm.events = [chunk("a", [7], "length", prompt_token_ids=[1, 2, 3]), "[DONE]"]
    answer = runtime.generate(image_id, "Go on.", max_tokens=1)
    assert answer.read() == "a" and answer.states_ref == ""


def test_an_answer_without_an_image_keeps_no_states_and_may_have_a_schema(runtime, servers):
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    answer = runtime.generate(None, "Plan.", max_tokens=9, json_schema=schema)
    answer.read()
    body = servers.vllm.requests[0]
    assert answer.states_ref == "" and "kv_transfer_params" not in body
    assert json.dumps(body["response_format"]["json_schema"]["schema"]) == json.dumps(schema)


def test_encoding_again_asks_nobody(runtime, servers):
    scene = make_scene()
    runtime.encode(scene)
    asked = len(servers.mask_requests)
    runtime.encode(scene)
    assert len(servers.mask_requests) == asked


def test_a_new_client_finds_what_the_service_holds(runtime, servers):
    scene = make_scene()
    runtime.encode(scene)
    with_new = ServedRuntime(VLLM, MASK, transport=servers)
    assert with_new.generate(scene.id, "Describe.", max_tokens=5).read()
    with_new.encode(scene)
    assert servers.mask_requests.count("POST /images") == 1


def test_a_restarted_mask_service_gets_the_image_again_but_not_the_states(runtime, servers):
    scene = make_scene()
    image_id = runtime.encode(scene)
    answer = runtime.generate(image_id, "Describe.", max_tokens=5)
    answer.read()
    servers.restart()
    with pytest.raises(UnknownStates):
        runtime.decode(image_id, answer.states_ref)
    again = runtime.generate(image_id, "Describe.", max_tokens=5)
    again.read()
    assert runtime.decode(image_id, again.states_ref).shape == scene.shape
    assert servers.mask_requests.count("POST /images") == 2


def test_a_forgotten_image_whose_scene_is_gone_is_unknown(runtime, servers):
    scene = make_scene()
    image_id = runtime.encode(scene)
    answer = runtime.generate(image_id, "Describe.", max_tokens=5)
    answer.read()
    servers.restart()
    del scene
    with pytest.raises(UnknownImage):
        runtime.decode(image_id, answer.states_ref)
    with pytest.raises(UnknownImage):
        runtime.generate("never-seen", "Describe.", max_tokens=5)
    with pytest.raises(UnknownImage):
        runtime.generate("../health", "Describe.", max_tokens=5)


@pytest.mark.parametrize("point", [Point(float("nan"), 1), Point(1, float("inf"))])
def test_clicks_that_are_nowhere_are_refused(runtime, point):
    with pytest.raises(BadRequest):
        runtime.decode("a", "b", points=[point])


def test_refusals_are_told_with_their_reason(runtime, servers):
    servers.vllm.status = 400
    with pytest.raises(BadRequest, match="too long"):
        runtime.generate(None, "Plan.", max_tokens=9).read()
    with pytest.raises(BadRequest, match="empty"):
        runtime.generate(None, "<image>", max_tokens=9)


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([chunk("a", [7])], RuntimeUnavailable),
        (["{garbled", "[DONE]"], RuntimeUnavailable),
        ([{"error": {"message": "engine died", "code": 500}}], RuntimeUnavailable),
        ([{"error": {"message": "bad schema", "code": 400}}], BadRequest),
    ],
)
def test_a_stream_that_goes_wrong_is_an_error(runtime, servers, events, error):
    servers.vllm.events = events
    with pytest.raises(error):
        runtime.generate(None, "Plan.", max_tokens=9).read()


def test_events_may_arrive_in_any_pieces():
    content = sse({"a": "é\u2028"}, {"b": 1}, "[DONE]")
    for size in (1, 3, len(content)):
        pieces = (content[start : start + size] for start in range(0, len(content), size))
        assert list(read_events(pieces)) == [{"a": "é\u2028"}, {"b": 1}]


def test_connection_failures_are_tried_again_where_that_is_safe(runtime, servers):
    servers.mask_failures = 1
    scene = make_scene()
    runtime.encode(scene)
    servers.mask_failures = 1
    with pytest.raises(UnknownStates):
        runtime.decode(scene.id, "b")  # the second try got through
    servers.mask_failures = 2
    with pytest.raises(RuntimeUnavailable):
        runtime.decode(scene.id, "b")


def test_restored_states_are_handed_over_again_to_a_service_that_forgot_them(runtime, servers):
    scene, states = make_scene(), np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    image_id, name = runtime.encode(scene), runtime.restore_states(states)
    before = runtime.decode(image_id, name)
    servers.restart()
    np.testing.assert_allclose(runtime.decode(image_id, name), before, atol=1e-4)
    assert servers.mask_requests[-5:] == [
        "POST /decode", "POST /images", "POST /decode", f"PUT /states/{name}", "POST /decode",
    ]  # fmt: skip


def test_what_is_about_an_image_says_so_to_a_router(runtime, servers):
    scene = make_scene()
    image_id = runtime.encode(scene)
    answer = runtime.generate(image_id, "Describe.", max_tokens=9)
    answer.read()
    runtime.decode(image_id, answer.states_ref)
    runtime.read_states(answer.states_ref)
    assert len(servers.about) == 5 and set(servers.about) == {image_id}


def test_health_never_raises():
    nowhere = ServedRuntime("http://127.0.0.1:9", "http://127.0.0.1:9", timeout_s=1)
    assert not nowhere.describe_health().ready
    nowhere.close()
    assert not nowhere.describe_health().ready


class Trickle(httpx.SyncByteStream):
    """An answer that comes token by token, and notes when its reader goes."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.closed = threading.Event()

    def __iter__(self):
        while True:
            yield sse(chunk("a", [7]))
            time.sleep(self.pause_s)

    def close(self) -> None:
        self.closed.set()


def test_closing_an_answer_early_closes_its_connection():
    stream = Trickle(0.0)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    answer = ServedRuntime(VLLM, MASK, transport=transport).generate(None, "Go on.", max_tokens=99)
    with answer:
        assert next(answer) == "a" and not stream.closed.is_set()
    assert stream.closed.is_set() and not answer.finished


def test_an_answer_that_takes_too_long_is_cut():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle(0.05)))
    answer = ServedRuntime(VLLM, MASK, timeout_s=0.3, transport=transport).generate(None, "Go on.", max_tokens=99)
    with pytest.raises(DeadlineExceeded):
        answer.read()
    assert answer.text


def test_loading_needs_both_addresses():
    with pytest.raises(BadRequest, match="SPEX_MASK_URL"):
        load_runtime("served", vllm_url=VLLM)
    assert load_runtime(vllm_url=VLLM, mask_url=MASK).name == "served"
