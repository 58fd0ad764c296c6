"""Turns that are being answered, each in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence

from chat_app.engine import Talks
from chat_app.session import Session
from chat_app.turns import Event

log = logging.getLogger(__name__)


class RunningTurns:
    """Runs turns to their end, whoever still listens.

    A page may ask for each event from another thread, and goes away when it is reloaded; the turn is finished and
    saved all the same, unless somebody stops it.
    """

    def __init__(self) -> None:
        self._stops: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()

    def run(
        self, conversation: Talks, session: Session, text: str, points: Sequence[tuple[int, int]]
    ) -> Iterator[Event]:
        """The events of a turn; an error of ours, and a stop, end them without `TurnDone`."""
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        stop = threading.Event()
        with self._lock:
            self._stops.setdefault(session.id, []).append(stop)

        def work() -> None:
            turn = conversation.run_turn(session.id, text, points=points)
            try:
                for event in turn:
                    events.put(event)
                    if stop.is_set():
                        break
            except Exception:
                log.exception("a turn failed")
            finally:
                if stop.is_set() and hasattr(turn, "close"):
                    turn.close()
                    with session.lock:  # the conversation puts a stopped turn on record before it lets go
                        pass
                self._forget(session.id, stop)
                events.put(None)

        threading.Thread(target=work, name=f"page-{session.id[:8]}", daemon=True).start()
        while (event := events.get()) is not None:
            yield event

    def stop(self, session_id: str) -> bool:
        """Ask the turns of a session to stop; tells whether there were any."""
        with self._lock:
            stops = list(self._stops.get(session_id, ()))
        for stop in stops:
            stop.set()
        return bool(stops)

    def _forget(self, session_id: str, stop: threading.Event) -> None:
        with self._lock:
            left = [other for other in self._stops.get(session_id, ()) if other is not stop]
            if left:
                self._stops[session_id] = left
            else:
                self._stops.pop(session_id, None)
