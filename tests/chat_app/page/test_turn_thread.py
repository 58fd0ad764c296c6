"""One thread does a turn: in order, to its end without a listener, and not after it was stopped."""

import threading

import pytest

from chat_app.memory.turns import TextDelta
from chat_app.page.turn_thread import RunningTurn


def test_events_come_in_order_and_an_error_is_raised_where_they_are_read():
    def work(emit, stop):
        for letter in "abc":
            emit(TextDelta(letter))
        raise RuntimeError("a fault of ours")

    events = RunningTurn("t", work).events()
    assert [next(events).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(RuntimeError, match="a fault"):
        next(events)


def test_it_goes_on_without_a_listener_and_ends_when_it_is_stopped():
    went_on, ended = threading.Event(), threading.Event()

    def work(emit, stop):
        emit(TextDelta("a"))
        went_on.set()
        assert stop.wait(10)
        ended.set()

    turn = RunningTurn("t", work)
    events = turn.events()
    next(events)
    events.close()
    assert went_on.wait(5) and turn.running
    turn.stop()
    assert ended.wait(5)


def test_a_turn_takes_one_thread_more(conversation, session, runtime):
    before, seen = set(threading.enumerate()), []
    speak = runtime._speak

    def counted(text, prompt):
        seen.append(
            {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(("turn", "page"))}
        )
        return speak(text, prompt)

    runtime._speak = counted
    list(conversation.run_turn(session.id, "show me the water"))
    assert seen == [{f"turn-{session.id[:8]}"}]
