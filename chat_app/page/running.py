"""The turns that the page has started and that are still being answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from chat_app.errors import SessionNotFound
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from chat_app.memory.turns import Event
from chat_app.page.engine import Talks
from chat_app.page.turn_thread import RunningTurn

log = logging.getLogger(__name__)


class RunningTurns:
    """Knows the running turns of each session, so that any page of it can stop them.

    A page goes away when it is reloaded; its turn is finished and saved all the same.
    """

    def __init__(self) -> None:
        self._turns: dict[str, list[RunningTurn]] = {}
        self._lock = threading.Lock()

    def run(self, conversation: Talks, session: Session, text: str, marks: Marks) -> Iterator[Event]:
        """The events of a turn; an error of ours ends them without `TurnDone`.

        Raises `SessionNotFound` where the session is deleted meanwhile.
        """
        turn = conversation.start_turn(session.id, text, marks=marks)
        with self._lock:
            self._turns[session.id] = [*self._running(session.id), turn]
        try:
            yield from turn.events()
        except SessionNotFound:
            raise
        except Exception:
            log.exception("a turn failed")

    def stop(self, session_id: str) -> bool:
        """Ask the turns of a session to stop; tells whether there were any."""
        with self._lock:
            turns = self._running(session_id)
            self._turns = {key: kept for key, kept in self._turns.items() if self._running(key)}
        for turn in turns:
            turn.stop()
        return bool(turns)

    def _running(self, session_id: str) -> list[RunningTurn]:
        return [turn for turn in self._turns.get(session_id, ()) if turn.running]
