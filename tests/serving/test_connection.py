"""What a connection makes of a server that comes back, and how long it waits; through the served runtime."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from spex_model.serving import client
from spex_model.serving.client import ServedRuntime
from spex_model.serving.errors import RuntimeUnavailable
from tests.serving.test_client import MASK, VLLM, Servers
from tests.serving.test_mask_service import make_scene


@pytest.fixture
def servers(tmp_path) -> Servers:
    return Servers(tmp_path)


@pytest.fixture
def runtime(servers) -> Iterator[ServedRuntime]:
    runtime = ServedRuntime(VLLM, MASK, timeout_s=5, transport=servers)
    yield runtime
    runtime.close()


def test_a_server_that_is_down_is_refused_at_once_and_found_again(runtime, servers):
    servers.vllm.down = True
    for _ in range(2):
        with pytest.raises(RuntimeUnavailable):
            runtime.generate(None, "Plan.", max_tokens=9).read()
    servers.vllm.down = False
    with pytest.raises(RuntimeUnavailable, match="starting"):
        runtime.generate(None, "Plan.", max_tokens=9).read()
    assert not servers.vllm.requests
    time.sleep(1.1)
    assert runtime.generate(None, "Plan.", max_tokens=9).read().startswith("Water")


def test_a_health_check_closes_the_breaker(runtime, servers):
    servers.vllm.down = True
    for _ in range(3):
        with pytest.raises(RuntimeUnavailable):
            runtime.generate(None, "Plan.", max_tokens=9).read()
    health = runtime.describe_health()
    assert not health.ready and "vLLM" in health.detail and "mask" not in health.detail
    servers.vllm.down = False
    assert runtime.describe_health().ready
    assert runtime.generate(None, "Plan.", max_tokens=9).read()


def test_a_mask_service_that_comes_back_empty_gets_its_images_again(runtime, servers):
    newcomer = ServedRuntime(VLLM, MASK, timeout_s=5, transport=servers)
    scene, states = make_scene(), np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    image_id, name = runtime.encode(scene), runtime.restore_states(states)
    before = runtime.decode(image_id, name)
    servers.mask_failures = 4
    with pytest.raises(RuntimeUnavailable):
        newcomer.encode(scene)
    with pytest.raises(RuntimeUnavailable):
        runtime.decode(image_id, name)
    servers.restart()
    time.sleep(1.1)
    assert newcomer.encode(scene) == image_id
    servers.restart()
    np.testing.assert_allclose(runtime.decode(image_id, name), before, atol=1e-4)
    newcomer.close()


def test_a_large_mask_is_waited_for_and_a_connection_is_not(runtime, servers, monkeypatch):
    monkeypatch.setattr(client, "PIXELS_PER_TIMEOUT", 40 * 56 // 2)
    image_id, name = runtime.encode(make_scene(40, 56)), runtime.restore_states(np.ones((4, 20), np.float32))
    runtime.decode(image_id, name)
    assert servers.allowed_s["/decode"] == {"connect": 2.0, "read": 10.0, "write": 10.0, "pool": 10.0}
