"""One kill -9 of each program in the middle of a turn; `kill_trials.py` does twenty."""

import pytest

from tests.serving.kill_trials import run_trials

pytestmark = pytest.mark.slow


def test_a_session_survives_the_death_of_each_program():
    pytest.importorskip("vllm", reason="vLLM isn't installed here")
    report = run_trials(3)
    assert set(report["outcomes"]) <= {"masks: answered", "masks: said", "vllm: said", "chat: whole"}
