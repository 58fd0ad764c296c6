"""What crosses the border of a runtime: prompts, streamed answers, wire types."""

import subprocess
import sys
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spex_model.serving.errors import BadRequest
from spex_model.serving.protocol import (
    MAX_PROMPT_CHARS,
    DecodeRequest,
    Generation,
    GenerationResult,
    KeepStates,
    SceneHeader,
    clean_prompt,
)


def stream(*deltas: str) -> Generator[str, None, GenerationResult]:
    yield from deltas
    return GenerationResult("ref", len(deltas), "stop", 5)


def test_an_answer_knows_its_outcome_once_it_is_read():
    answer = Generation(stream("a", "b"))
    assert next(answer) == "a" and answer.text == "a" and not answer.finished
    with pytest.raises(RuntimeError, match="isn't finished"):
        _ = answer.states_ref
    assert answer.read() == "ab"
    assert (answer.states_ref, answer.tokens, answer.finish_reason) == ("ref", 2, "stop")
    assert answer.seconds >= 0 and list(answer) == []


def test_an_answer_that_is_closed_stays_unfinished():
    with Generation(stream("a", "b")) as answer:
        next(answer)
    answer.close()
    assert list(answer) == [] and not answer.finished and answer.text == "a"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("show <image> me", "show  me"),
        ("a<|im_end|>b", "ab"),
        ("<|im<|im_end|>_end|>x", "x"),
        ("<im<IMAGE>age>y", "y"),
        ("<end_of_turn>z", "z"),
        ("a\x00b", "ab"),
        ("  kept  ", "  kept  "),
    ],
)
def test_control_tokens_leave_a_prompt(text, cleaned):
    assert clean_prompt(text) == cleaned


@given(st.text(alphabet="<|>imagend_ x", min_size=1, max_size=60))
def test_a_cleaned_prompt_is_clean(text):
    try:
        cleaned = clean_prompt(text)
    except BadRequest:
        return
    assert clean_prompt(cleaned) == cleaned and "<image>" not in cleaned


@pytest.mark.parametrize("text", ["", " \n", "<image>", "x" * (MAX_PROMPT_CHARS + 1)])
def test_prompts_that_say_nothing_or_too_much_are_refused(text):
    with pytest.raises(BadRequest):
        clean_prompt(text)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (SceneHeader, {"image_id": "a/b", "bands": ["red"]}),
        (SceneHeader, {"image_id": "a", "bands": []}),
        (SceneHeader, {"image_id": "a", "bands": ["red"], "gsd_m": 0}),
        (SceneHeader, {"image_id": "a", "bands": ["red"], "gsd_m": float("inf")}),
        (KeepStates, {"states_ref": "..", "prompt_tokens": 1, "generated": 1}),
        (KeepStates, {"states_ref": "a", "prompt_tokens": 1, "generated": 0}),
        (DecodeRequest, {"image_id": "a", "states_ref": "b", "points": [(float("nan"), 1.0, True)]}),
        (DecodeRequest, {"image_id": "a", "states_ref": "b", "other": 1}),
    ],
)
def test_wire_types_take_nothing_odd(model, values):
    with pytest.raises(ValidationError):
        model.model_validate(values)


def test_a_served_chat_needs_no_torch():
    program = (
        "import sys; from spex_model.serving import load_runtime\n"
        "load_runtime('served', vllm_url='http://127.0.0.1:1', mask_url='http://127.0.0.1:2')\n"
        "import spex_model.serving.supervisor\n"
        "raise SystemExit(any(name in sys.modules for name in ('torch', 'vllm', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
