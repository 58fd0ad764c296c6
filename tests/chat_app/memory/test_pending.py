"""A message whose process is killed stands in the history with a mark; one that is being answered does not."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from chat_app.__main__ import turn_record
from chat_app.files.bundles import transcript
from chat_app.graph import Conversation
from chat_app.memory.pending import INTERRUPTED, on_record
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import TextDelta
from chat_app.page.view import said_so_far
from tests.chat_app.conftest import PaintingRuntime

ROOT = Path(__file__).parents[3]
TALK = """
import sys
from chat_app.settings import Settings
from tests.chat_app.memory.test_pending import talk_until_killed
talk_until_killed(Settings.model_validate_json(sys.argv[1]), sys.argv[2])
"""
FIRST, SECOND = "now the vegetation", "and the buildings"


class StuckRuntime(PaintingRuntime):
    """Says one word of its answer and never another."""

    def _speak(self, text, prompt):
        yield text.split()[0]
        time.sleep(600)
        raise AssertionError("nobody waits that long")


def talk_until_killed(settings, session_id):
    """In a process of its own: one message at work, a second one waiting for it."""
    conversation = Conversation(settings, StuckRuntime(), SessionStore(settings))
    events = conversation.run_turn(session_id, FIRST)
    assert isinstance(next(events), TextDelta)
    conversation.start_turn(session_id, SECOND)
    while len(records(settings, session_id)) < 2:
        time.sleep(0.02)
    print("at work", flush=True)
    next(events)


def records(settings, session_id):
    return sorted((settings.data_dir / "sessions" / session_id).glob("pending-*.json"))


def leftovers(settings, session_id):
    return list((settings.data_dir / "sessions" / session_id).glob("pending*"))


def say(conversation, session, message):
    return list(conversation.run_turn(session.id, message))[-1].turn


@pytest.fixture
def other_process(conversation, session, settings):
    """Another chat on the same data folder, in the middle of a turn about a session that has a water layer."""
    say(conversation, session, "show me the water")
    command = [sys.executable, "-c", TALK, settings.model_dump_json(), session.id]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "at work"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_messages_cut_off_by_kill_9_are_told_of_and_nothing_else_changes(
    other_process, session, settings, runtime, tmp_path
):
    elsewhere = SessionStore(settings).open(session.id)
    assert [turn.message for turn in elsewhere.turns] == ["show me the water"], "the other process is alive"
    assert len(records(settings, session.id)) == 2

    other_process.kill()
    other_process.wait()
    reopened = SessionStore(settings).open(session.id)
    assert [turn.message for turn in reopened.turns] == ["show me the water", FIRST, SECOND]
    for number, turn in enumerate(reopened.turns[1:], start=2):
        assert (turn.number, turn.reply, turn.error, turn.plan) == (number, INTERRUPTED, INTERRUPTED, None)
        assert turn.layer_ids == reopened.turns[0].layer_ids and turn.active == session.layers[0].id
    assert reopened.snapshot == session.snapshot
    assert np.array_equal(reopened.extraction("water").mask, session.extraction("water").mask)
    assert not leftovers(settings, session.id)

    shown = [said.text for said in said_so_far(reopened)]
    assert shown[-4:] == [FIRST, INTERRUPTED, SECOND, INTERRUPTED]
    assert f"## 2. {FIRST}\n\n{INTERRUPTED}" in transcript(reopened)
    record = turn_record(reopened, reopened.turns[1], tmp_path)
    assert record["error"] == INTERRUPTED and [layer["name"] for layer in record["layers"]] == ["water"]

    again = Conversation(settings, runtime, SessionStore(settings))
    answered = say(again, session, FIRST)
    assert answered.number == 4 and answered.error is None, "told once, not at each opening"
    say(again, session, "undo")
    assert again.store.open(session.id).layers == session.layers
    again.close()


@pytest.mark.parametrize("message", ["show me the water", "", "only the biggest one"])
def test_a_turn_that_ends_leaves_no_record(conversation, session, settings, message):
    turn = say(conversation, session, message)
    assert turn.pending_id and not leftovers(settings, session.id)
    assert SessionStore(settings).open(session.id).turns == [turn]


def test_a_turn_that_is_stopped_leaves_no_record(conversation, session, settings):
    running = conversation.start_turn(session.id, "show me the water")
    running.stop()
    *_, done = running.events()
    assert not leftovers(settings, session.id)
    assert SessionStore(settings).open(session.id).turns == [done.turn]


def test_a_message_is_on_record_while_it_is_answered_and_no_other_store_calls_it_interrupted(
    conversation, session, settings
):
    with session.lock:
        running = conversation.start_turn(session.id, "show me the water")
        until = time.monotonic() + 10
        while not records(settings, session.id) and time.monotonic() < until:
            time.sleep(0.01)
        [record] = records(settings, session.id)
        assert "show me the water" in record.read_text() and not SessionStore(settings).open(session.id).turns
        assert record.exists()
    list(running.events())
    assert not records(settings, session.id)


def test_a_turn_that_was_saved_before_its_process_died_is_not_told_of_twice(conversation, session, settings):
    turn = say(conversation, session, "show me the water")
    left = settings.data_dir / "sessions" / session.id / f"pending-{turn.pending_id}.json"
    left.write_text('{"message": "show me the water", "began": 1.0}')
    assert SessionStore(settings).open(session.id).turns == [turn] and not left.exists()


def test_a_turn_that_could_not_be_saved_stays_on_record(conversation, session, settings, monkeypatch):
    def refuse(session):
        raise OSError("no space left on device")

    monkeypatch.setattr(conversation.store, "save", refuse)
    with pytest.raises(OSError, match="no space"):
        list(conversation.run_turn(session.id, "show me the water"))
    [turn] = SessionStore(settings).open(session.id).turns
    assert (turn.message, turn.reply) == ("show me the water", INTERRUPTED)


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"message": "hello"}'])
def test_a_spoilt_record_keeps_no_session_from_opening(session, settings, text):
    (settings.data_dir / "sessions" / session.id / "pending-1.json").write_text(text)
    assert SessionStore(settings).open(session.id).turns == []


def test_where_no_record_can_be_written_the_message_is_answered_all_the_same(tmp_path):
    with on_record(tmp_path / "missing", "show me the water") as pending_id:
        assert pending_id
    assert not list(tmp_path.iterdir())


def test_two_openings_at_once_tell_of_a_message_once(conversation, session, settings):
    say(conversation, session, "show me the water")
    left = settings.data_dir / "sessions" / session.id / "pending-1.json"
    left.write_text('{"message": "now the trees", "began": 1.0}')
    threads = [threading.Thread(target=SessionStore(settings).open, args=(session.id,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [turn.message for turn in SessionStore(settings).open(session.id).turns]
    assert said == ["show me the water", "now the trees"] and not left.exists()
