"""Kill -9 in the middle of a turn, again and again: `python -m tests.serving.kill_trials --trials 20`.

Each trial begins an extraction against the real servers and kills one of vLLM, the mask service and the chat itself
once the turn is under way. The turn must then be answered or say plainly that it could not be; the session must be
whole, and once the servers are back the same message must be answered by the model. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from chat_app.graph import Conversation
from chat_app.memory.pending import INTERRUPTED
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import TextDelta, Turn, TurnDone
from chat_app.settings import Settings
from spex_model.serving import load_runtime
from spex_model.serving.programs import ServeSettings
from spex_model.serving.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "assets" / "examples" / "synthetic_sentinel2.tif"
MESSAGE = "show me the water"
BACK_S = 180.0
TALK = """
import sys
from tests.serving.kill_trials import MESSAGE, open_conversation
from chat_app.settings import Settings
conversation = open_conversation(Settings.model_validate_json(sys.argv[1]))
for event in conversation.run_turn(sys.argv[2], MESSAGE):
    print(type(event).__name__, flush=True)
"""


def open_conversation(settings: Settings) -> Conversation:
    """The chat as its page has it, on the servers that the settings name."""
    runtime = load_runtime("served", vllm_url=settings.vllm_url, mask_url=settings.mask_url)
    return Conversation(settings, runtime, SessionStore(settings))


def run(conversation: Conversation, session_id: str, on_text: Callable[[], None] = lambda: None) -> Turn:
    """One turn to its end; `on_text` is called once, at its first text."""
    turn, told = None, False
    for event in conversation.run_turn(session_id, MESSAGE):
        if isinstance(event, TextDelta) and not told:
            told = True
            on_text()
        if isinstance(event, TurnDone):
            turn = event.turn
    assert turn is not None, "the turn ended without a word"
    return turn


def judge(conversation: Conversation, session_id: str, turn: Turn) -> str:
    """ "answered" by the model, or "said": the turn tells what did not work. Fails where it is neither."""
    session = conversation.store.open(session_id)
    methods = {session.extraction(layer).method for layer in session.layers if layer.id in turn.changed}
    if turn.error is None and methods == {"model"}:
        return "answered"
    assert turn.error or "could not answer" in turn.reply or "doesn't answer" in turn.reply, turn.reply
    return "said"


def kill_server(stack: Supervisor, settings: Settings, session_id: str, name: str) -> str:
    """Kill vLLM or the mask service while an answer is written."""
    conversation = open_conversation(settings)
    child = next(child for child in stack.children if child.name == name)
    turn = run(conversation, session_id, lambda: os.kill(child.pid, signal.SIGKILL))
    outcome = judge(conversation, session_id, turn)
    conversation.close()
    return outcome


def kill_chat(stack: Supervisor, settings: Settings, session_id: str) -> str:
    """Kill the process of the chat while an answer is written; the session then says so, or holds the answer."""
    before = len(SessionStore(settings).open(session_id).turns)
    talk = subprocess.Popen(
        [sys.executable, "-c", TALK, settings.model_dump_json(), session_id],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert talk.stdout is not None and talk.stdout.readline().strip() == "TextDelta"
    talk.kill()
    talk.wait()
    *earlier, last = SessionStore(settings).open(session_id).turns
    assert len(earlier) == before and last.message == MESSAGE and last.error in (None, INTERRUPTED), last
    return "whole"


def wait_until_ready(settings: Settings) -> float:
    """Seconds until both servers answer again."""
    runtime = load_runtime("served", vllm_url=settings.vllm_url, mask_url=settings.mask_url)
    started = time.monotonic()
    time.sleep(1)  # until the supervisor has seen the death
    while not runtime.describe_health().ready:
        assert time.monotonic() - started < BACK_S, "the servers did not come back"
        time.sleep(0.5)
    runtime.close()
    return time.monotonic() - started


def run_trials(trials: int) -> dict[str, object]:
    """The outcomes by what was killed, and the longest time until everything answered again."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with (
        tempfile.TemporaryDirectory(prefix="spex-trials-") as data,
        Supervisor(ServeSettings(ui=False, vllm_port=0, mask_port=0)) as stack,
    ):
        settings = Settings(data_dir=Path(data), vllm_url=stack.vllm_url, mask_url=stack.mask_url)
        session_id = SessionStore(settings).create(IMAGE).id
        for trial in range(trials):
            victim = ("masks", "vllm", "chat")[trial % 3]
            outcome = (
                kill_chat(stack, settings, session_id)
                if victim == "chat"
                else kill_server(stack, settings, session_id, victim)
            )
            outcomes[f"{victim}: {outcome}"] += 1
            slowest = max(slowest, wait_until_ready(settings))
            conversation = open_conversation(settings)
            again = judge(conversation, session_id, run(conversation, session_id))
            conversation.close()
            assert again == "answered", f"after killing {victim} the same message was not answered"
            print(f"trial {trial + 1}: {victim} killed, turn {outcome}, then answered", file=sys.stderr, flush=True)
    return {"trials": trials, "outcomes": dict(outcomes), "slowest_recovery_s": round(slowest, 1)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials; an assertion ends them."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving.kill_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    print(json.dumps(run_trials(parser.parse_args(argv).trials)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
