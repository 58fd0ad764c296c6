"""A turn at work: one thread, its events in order, and a way to stop it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from chat_app.memory.turns import Event

Work = Callable[[Callable[[Event], None], threading.Event], None]
"""Does a turn: gets a function that takes its events, and a flag that is set when it shall stop."""


class RunningTurn:
    """Runs a turn to its end in a thread of its own, whoever still listens, unless somebody stops it.

    >>> turn = RunningTurn("turn-1", work)
    >>> for event in turn.events():
    ...     show(event)
    """

    def __init__(self, name: str, work: Work) -> None:
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the turn is still at work."""
        return self._thread.is_alive()

    def events(self) -> Iterator[Event]:
        """The events as they come, for one listener; an error of the work is raised here."""
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def stop(self) -> None:
        """Ask the turn to stop; it ends when it next looks. Safe at any time, more than once."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._work(self._events.put, self._stop)
        except BaseException as error:
            self._events.put(error)
        finally:
            self._events.put(None)
