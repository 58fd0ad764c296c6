"""As shipped, served in half precision and embedded in float32: the same plans, nearly the same masks, on a prompt set."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chat_app.measuring.bench_users import COVERS, description_prompts
from chat_app.measuring.dialogues import load_dialogues
from chat_app.plan import plan_schema
from chat_app.reading.commands import LayerView
from chat_app.reading.planner import plan_prompt
from chat_app.settings import Settings
from spex_model.imaging.reading import open_scene
from spex_model.model.weights import build_checkpoint
from spex_model.serving import Runtime, load_runtime
from spex_model.serving.programs import ServeSettings
from spex_model.serving.supervisor import Supervisor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLANS, STREAMS = 40, 8
SETTINGS = Settings()
LAYERS = {"water": 3, "vegetation": 12, "trees": 8, "buildings": 40}


@pytest.fixture(scope="module")
def served() -> Iterator[Runtime]:
    pytest.importorskip("vllm", reason="vLLM isn't installed here")
    with Supervisor(ServeSettings(ui=False, vllm_port=0, mask_port=0, checkpoint=build_checkpoint())) as stack:
        runtime = load_runtime("served", vllm_url=stack.vllm_url, mask_url=stack.mask_url)
        yield runtime
        runtime.close()


def plan_prompts() -> list[str]:
    """Messages of all kinds, spread over the written dialogues: the first of a dialogue without layers, others with."""
    layers = [LayerView(cover, cover, count, cover == "water") for cover, count in LAYERS.items()]
    said: dict[str, list[LayerView]] = {}
    for dialogue in load_dialogues(ROOT / "tests" / "dialogues"):
        for number, turn in enumerate(dialogue.turns):
            said.setdefault(turn.say, layers if number else [])
    chosen = list(said.items())[:: max(1, len(said) // PLANS)][:PLANS]
    return [plan_prompt(message, shown) for message, shown in chosen]


def test_plans_agree(served, embedded):
    def read(runtime: Runtime, prompt: str) -> str:
        return runtime.generate(None, prompt, max_tokens=SETTINGS.max_plan_tokens, json_schema=plan_schema()).read()

    prompts = plan_prompts()
    with ThreadPoolExecutor(STREAMS) as pool:
        theirs = list(pool.map(lambda prompt: read(served, prompt), prompts))
    ours = [read(embedded, prompt) for prompt in prompts]
    differing = [(p.splitlines()[-1], a, b) for p, a, b in zip(prompts, theirs, ours, strict=True) if a != b]
    share = 1 - len(differing) / len(prompts)
    print(f"{share:.1%} of {len(prompts)} plans are the same; not: {differing}")
    assert share >= 0.99, differing


def test_masks_agree(served, embedded):
    overlaps = {}
    for path in sorted((ROOT / "assets" / "examples").glob("*.tif")):
        scene = open_scene(path)
        for cover, prompt in zip(COVERS, description_prompts(scene, SETTINGS), strict=True):
            masks = []
            for runtime in (served, embedded):
                image_id = runtime.encode(scene)
                answer = runtime.generate(image_id, prompt, max_tokens=SETTINGS.max_answer_tokens)
                answer.read()
                masks.append((runtime.decode(image_id, answer.states_ref) > 0) & scene.valid)
            union = (masks[0] | masks[1]).sum()
            overlaps[path.name, cover] = float((masks[0] & masks[1]).sum() / union) if union else 1.0
    print(overlaps)
    assert min(overlaps.values()) >= 0.98, overlaps
