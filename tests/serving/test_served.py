"""The real servers against the model in this process: same text, same JSON, same mask, and no harm from neighbours."""

import base64
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch

from spex_model.imaging.scene import Scene
from spex_model.model.weights import build_checkpoint
from spex_model.serving import Runtime, load_runtime
from spex_model.serving.errors import UnknownStates
from spex_model.serving.programs import ServeSettings
from spex_model.serving.protocol import MODEL_NAME, Box, Point
from spex_model.serving.supervisor import Supervisor

pytestmark = pytest.mark.slow

PROMPTS = (
    "Describe the water.\nEvidence: NDWI above 0.1, mean 0.43, 2 regions\n1. huge, center, round\n2. small, top-left",
    "Beschreibe die Wälder 🌲 im Norden.",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["extract", "measure", "count", "help"]},
        "land_covers": {"type": "array", "items": {"enum": ["water", "trees", "buildings"]}, "maxItems": 2},
        "name": {"type": "string", "maxLength": 12},
    },
    "required": ["intent", "land_covers"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Supervisor]:
    pytest.importorskip("vllm", reason="vLLM isn't installed here")
    settings = ServeSettings(
        ui=False, vllm_port=0, mask_port=0, dtype="float32", device="cpu", checkpoint=build_checkpoint()
    )
    with Supervisor(settings) as running:
        yield running


@pytest.fixture(scope="module")
def served(stack) -> Iterator[Runtime]:
    runtime = load_runtime("served", vllm_url=stack.vllm_url, mask_url=stack.mask_url)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two tiles wide, with a dark lake and a corner without data."""
    generator = np.random.default_rng(5)
    values = generator.uniform(0.05, 0.3, (4, 160, 600)).astype(np.float32)
    values[3, 40:90, 100:400] = 0.01
    valid = np.ones((160, 600), bool)
    valid[:20, :30] = False
    values[:, ~valid] = np.nan
    return Scene(values, valid, ("blue", "green", "red", "nir"), gsd_m=10.0)


def image_embeds(value: float, runtime_tokens: int, width: int) -> str:
    buffer = io.BytesIO()
    torch.save(torch.full((runtime_tokens, width), value), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def assert_same_mask(one: np.ndarray, other: np.ndarray) -> None:
    """Features are kept in bfloat16, where a last digit that differs between two processes can become a step."""
    np.testing.assert_allclose(one, other, atol=5e-2)
    assert ((one > 0) == (other > 0)).mean() > 0.9995


@pytest.mark.parametrize("prompt", PROMPTS)
def test_both_runtimes_say_and_paint_the_same(served, embedded, scene, prompt):
    outcomes = []
    for runtime in (served, embedded):
        image_id = runtime.encode(scene)
        answer = runtime.generate(image_id, prompt, max_tokens=14)
        answer.read()
        clicks, boxes = [Point(60, 200), Point(5, 300, False)], [Box(30, 90, 100, 420)]
        logits = runtime.decode(image_id, answer.states_ref, points=clicks, boxes=boxes)
        outcomes.append((answer, runtime.decode(image_id, answer.states_ref), logits))
    (one, plain, clicked), (other, plain_other, clicked_other) = outcomes
    assert one.text == other.text and one.text
    assert one.result.prompt_tokens == other.result.prompt_tokens
    assert (one.tokens, one.finish_reason) == (other.tokens, other.finish_reason)
    assert_same_mask(plain, plain_other)
    assert_same_mask(clicked, clicked_other)
    assert plain.shape == scene.shape and not np.allclose(plain, clicked)


@pytest.mark.parametrize("message", ["show me the water", "how many houses are there?"])
def test_both_runtimes_write_the_same_compact_json(served, embedded, message):
    prompt = f"Plan the request as JSON.\nLayers: none\nMessage: {message}"
    one, other = (runtime.generate(None, prompt, max_tokens=60, json_schema=SCHEMA) for runtime in (served, embedded))
    assert one.read() == other.read()
    assert one.text == json.dumps(json.loads(one.text), separators=(",", ":"), ensure_ascii=False)
    assert (one.tokens, one.finish_reason) == (other.tokens, other.finish_reason)


def test_streams_side_by_side_and_a_poisoned_neighbour_change_nothing(served, stack, scene):
    image_id = served.encode(scene)
    prompts = [f"Describe region {number} of the water." for number in range(4)]
    alone = [served.generate(image_id, prompt, max_tokens=24) for prompt in prompts]
    masks = [served.decode(image_id, answer.states_ref) for answer in alone if answer.read()]
    beside = [served.generate(image_id, prompt, max_tokens=24) for prompt in prompts]
    threads = [threading.Thread(target=answer.read) for answer in beside]
    for thread in threads:
        thread.start()
    refused = [ask(stack, embeds=embeds) for embeds in (nan_embeds(), "no base64!", "AAAA", small_embeds())]
    refused.append(ask(stack, text="word " * 10_000))
    refused.append(ask(stack, temperature=0.8))
    assert ask(stack, text="<image>" * 3).status_code == 200  # the bare token, with no image behind it, harms nobody
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in refused] == [400] * 6, [answer.text for answer in refused]
    reasons = ("finite", "base64", "base64", "tokens are needed", "context length", "temperature 0")
    for answer, reason in zip(refused, reasons, strict=True):
        assert reason in answer.json()["error"]["message"]
    assert [answer.text for answer in beside] == [answer.text for answer in alone]
    for answer, mask in zip(beside, masks, strict=True):
        assert_same_mask(served.decode(image_id, answer.states_ref), mask)


def nan_embeds() -> str:
    config = json.loads((build_checkpoint() / "config.json").read_text())
    return image_embeds(float("nan"), config["num_image_tokens"], config["vision_hidden_size"])


def small_embeds() -> str:
    return image_embeds(0.5, 3, 256)


def ask(
    stack: Supervisor, *, text: str = "Describe.", embeds: str | None = None, temperature: float | None = None
) -> httpx.Response:
    """Ask vLLM itself, as a client that isn't ours could."""
    content: list[dict] = [{"type": "text", "text": text}]
    if embeds is not None:
        content.insert(0, {"type": "image_embeds", "image_embeds": embeds})
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": content}], "max_tokens": 4}
    if temperature is not None:
        body["temperature"] = temperature
    return httpx.post(f"{stack.vllm_url}/v1/chat/completions", json=body, timeout=120, trust_env=False)


def test_closing_an_answer_stops_its_generation(served, stack):
    with served.generate(None, "Count from one to a thousand.", max_tokens=1500) as answer:
        next(answer)
    deadline = time.monotonic() + 10
    while True:
        metrics = httpx.get(f"{stack.vllm_url}/metrics", trust_env=False).text
        running = [line for line in metrics.splitlines() if line.startswith("vllm:num_requests_running")]
        if running and all(line.endswith(" 0.0") for line in running):
            return
        assert time.monotonic() < deadline, running
        time.sleep(0.1)


def test_a_killed_mask_service_comes_back_and_is_given_the_image_again(served, stack, scene):
    image_id = served.encode(scene)
    answer = served.generate(image_id, "Describe the water.", max_tokens=6)
    answer.read()
    before = served.decode(image_id, answer.states_ref)
    masks = next(child for child in stack.children if child.name == "masks")
    os.kill(masks.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    time.sleep(0.5)
    while not served.describe_health().ready:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(UnknownStates):
        served.decode(image_id, answer.states_ref)
    again = served.generate(image_id, "Describe the water.", max_tokens=6)
    again.read()
    assert_same_mask(served.decode(image_id, again.states_ref), before)
