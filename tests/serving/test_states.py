"""Hidden states leave a runtime and come back: the same mask, in this process, another one, and over HTTP."""

import io

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from spex_model.model.modeling_spex import SpexVision
from spex_model.serving.client import ServedRuntime
from spex_model.serving.embedded import EmbeddedRuntime
from spex_model.serving.errors import BadRequest, UnknownStates
from spex_model.serving.mask_engine import MaskEngine
from spex_model.serving.mask_service import create_app
from spex_model.serving.protocol import Point
from spex_model.serving.states import KeepsStates, name_states, pack_states, unpack_states
from tests.serving.test_mask_service import TINY, make_scene, write_states


@pytest.fixture(scope="module")
def vision() -> SpexVision:
    torch.manual_seed(0)
    return SpexVision(TINY).eval()


class Through(httpx.BaseTransport):
    """Carries requests to a service in this process."""

    def __init__(self, http: TestClient) -> None:
        self._http = http

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._http.request(
            request.method, request.url.path, content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@pytest.fixture
def served(vision, tmp_path):
    with TestClient(create_app(MaskEngine(vision, tmp_path))) as http:
        yield ServedRuntime("http://text", "http://masks", transport=Through(http))


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_packing_is_exact_and_the_name_follows_the_values(tokens, width, seed):
    states = np.random.default_rng(seed).normal(size=(tokens, width)).astype(np.float32)
    back = unpack_states(pack_states(states), width)
    assert np.array_equal(back, states) and name_states(back) == name_states(states)
    assert name_states(states + 1) != name_states(states)


def huge_header():
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    return buffer.getvalue() + bytes(64)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        pack_states(np.zeros((3, 4), np.float32))[:-1],
        pack_states(np.full((3, 4), np.nan, np.float32)),
        huge_header(),
    ],
)
def test_what_are_no_states_is_refused_with_a_sentence(body):
    with pytest.raises(BadRequest, match=r"hidden states"):
        unpack_states(body)


def test_the_mask_is_the_same_after_a_restart_in_either_runtime(vision, served, tmp_path):
    states = write_states(tmp_path, tokens=9)[5:8, 0].numpy()
    scene, clicks = make_scene(90, 70), [Point(3, 4), Point(50, 60, False)]
    masks = []
    for runtime in (EmbeddedRuntime(vision, None), EmbeddedRuntime(vision, None), served):
        assert isinstance(runtime, KeepsStates)
        name = runtime.restore_states(states)
        assert runtime.restore_states(runtime.read_states(name)) == name
        masks.append(runtime.decode(runtime.encode(scene), name, points=clicks))
    assert np.array_equal(masks[0], masks[1])
    np.testing.assert_allclose(masks[2], masks[0], atol=1e-4)


def test_states_of_another_model_and_unknown_ones_are_told(vision, served):
    for runtime in (EmbeddedRuntime(vision, None), served):
        with pytest.raises(BadRequest, match="20"):
            runtime.restore_states(np.zeros((3, 7), np.float32))
        with pytest.raises(UnknownStates):
            runtime.read_states("nothing")


def test_the_service_holds_states_only_under_their_own_name(vision, tmp_path):
    with TestClient(create_app(MaskEngine(vision, tmp_path))) as http:
        body = pack_states(np.zeros((3, TINY.language_hidden_size), np.float32))
        answer = http.put("/states/anything", content=body)
        assert answer.status_code == 400 and "name" in answer.json()["detail"]
