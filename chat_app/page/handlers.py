"""What happens when a person does something on the page: plain functions from values to a `View`."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from chat_app.acting.corrections import polygon_mask
from chat_app.answering.clicks import mark_words
from chat_app.errors import ChatError, SessionNotFound
from chat_app.memory.marks import NO_MARKS, Marks, uses_marks
from chat_app.memory.session import Session
from chat_app.memory.turns import LayerReady, TextDelta, Turn
from chat_app.page.downloads import bundle, write_download
from chat_app.page.engine import Engine, Talks
from chat_app.page.examples import ExampleImages
from chat_app.page.page_sessions import BUSY_HINT, NO_IMAGE_HINT, SessionPages
from chat_app.page.render import Frame, choose_composite, composite_url, draw_picture
from chat_app.page.running import RunningTurns
from chat_app.page.view import BrowserRecord, Said, View, said_so_far, suggest
from spex_model.imaging.errors import ImagingError

log = logging.getLogger(__name__)

EMPTY_HINT = "Write what you want to see, for example “show me the water”."
WHAT_CHANGED = "what changed?"
WORKING = "Looking at the image …"
MAX_CORNERS = 500
"""Corners of a drawn outline that are taken; a hand does not draw finer."""
_STREAM_SECONDS = 0.08
"""Text reaches the page at most this often, so that many readers don't crowd the server."""
_CORRECTIONS = {"add": "add this", "remove": "remove this"}
"""What a click says by itself while the picture is in one of these modes."""


class Page(SessionPages):
    """The handlers of one chat; holds no state of any visitor: a visitor's `BrowserRecord` comes with each call."""

    def __init__(self, engine: Engine, examples: ExampleImages) -> None:
        super().__init__(engine, examples)
        self._running = RunningTurns()

    def choose_composite(self, browser: BrowserRecord, composite: str) -> View:
        """Show the image in other colours."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        return View(base=composite_url(session.scene, choose_composite(session.scene, composite)))

    def press_layer(self, browser: BrowserRecord, layer_id: str, action: str, marks: Marks) -> View:
        """Show or hide a layer ("eye"), or let "it" mean this layer ("pick")."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        if not session.lock.acquire(timeout=0.5):
            return View(hint=BUSY_HINT)
        try:
            layer = session.find_layer(layer_id)
            if action == "eye":
                with session.change(f"{'hide' if layer.visible else 'show'} {layer.name}"):
                    session.update_layer(layer, visible=not layer.visible)
            else:
                session.activate(layer)
            self._store.save(session)
        except ChatError as error:
            return View(hint=str(error))
        finally:
            session.lock.release()
        return self._layers_view(session, marks)

    def click(self, browser: BrowserRecord, place: tuple[float, float], marks: Marks, *, add: bool) -> View:
        """Mark the scene pixel under a place on the picture (x, y 0-1), and tell what is there."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        pixel = Frame.of(session.scene).scene_pixel(*place)
        if pixel is None:
            return View()
        self._mean_layer_at(session, pixel)
        return self._marked_view(session, Marks(points=(*marks.points, pixel)[-8:] if add else (pixel,)))

    def correct(self, browser: BrowserRecord, place: tuple[float, float], mode: str, composite: str) -> Iterator[View]:
        """Add or remove what lies under a place on the picture, in the active layer, as if it were clicked and said."""
        session = self._current(browser)
        pixel = None if session is None else Frame.of(session.scene).scene_pixel(*place)
        if session is None or session.active_layer is None:
            yield View(hint="There is no layer to correct yet. Ask for one first." if session else NO_IMAGE_HINT)
        elif pixel is not None and mode in _CORRECTIONS:
            yield from self.send(browser, _CORRECTIONS[mode], composite, Marks(points=(pixel,)), typed=False)

    def draw(self, browser: BrowserRecord, corners: Sequence[tuple[float, float]]) -> View:
        """Mark a polygon of places on the picture (x, y 0-1), and tell what lies in it."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        area = Frame.of(session.scene).scene_polygon(corners[:MAX_CORNERS])
        try:
            polygon_mask(area, session.scene.shape)
        except ChatError as error:
            return View(hint=str(error))
        return self._marked_view(session, Marks(area=area))

    def _marked_view(self, session: Session, marks: Marks) -> View:
        return replace(
            self._layers_view(session, marks),
            marks=marks,
            click_text=mark_words(session, marks),
            chips=suggest(session, marks),
            hint="",
        )

    def _mean_layer_at(self, session: Session, pixel: tuple[int, int]) -> None:
        """Let "it" mean the layer that was clicked, unless the active layer is there too or an answer is being made."""
        there = [layer for layer in session.layers if layer.visible and session.extraction(layer).mask[pixel]]
        if not there or session.active_layer in there or not session.lock.acquire(timeout=0.1):
            return
        try:
            session.activate(there[-1])
            self._store.save(session)
        finally:
            session.lock.release()

    def clear_marks(self, browser: BrowserRecord) -> View:
        """Take the marks off the picture."""
        session = self._current(browser)
        if session is None:
            return View(marks=NO_MARKS, click_text="")
        return View(picture=draw_picture(session), marks=NO_MARKS, click_text="", chips=suggest(session))

    def export(self, browser: BrowserRecord, fmt: str) -> View:
        """Write the active layer to a file that only this answer names."""
        session = self._current(browser)
        if session is None or session.active_layer is None:
            return View(hint="There is no layer to download yet. Ask for one first.")
        try:
            path = write_download(self._engine.settings, session, session.active_layer, fmt)
        except (ChatError, ImagingError) as error:
            return View(hint=str(error))
        except Exception:
            log.exception("export to %s failed", fmt)
            return View(hint="The layer could not be written; the log tells why. Another format may work.")
        return View(file=str(path), hint="")

    def send(
        self, browser: BrowserRecord, text: str, composite: str, marks: Marks, *, typed: bool = True
    ) -> Iterator[View]:
        """Answer a message: the text as it is written, layers as they come, and at last the whole page.

        What was not `typed` (a pressed button, a click) leaves alone what stands half written in the message box.
        """
        views = self._send(browser, text, composite, marks)
        yield from views if typed else (replace(view, typed=None) for view in views)

    def _send(self, browser: BrowserRecord, text: str, composite: str, marks: Marks) -> Iterator[View]:
        text = text.strip()
        if not text:
            yield View(hint=EMPTY_HINT)
            return
        session = self._current(browser)
        if session is None:
            yield View(hint=NO_IMAGE_HINT, typed=text)
            return
        said = (*said_so_far(session), Said(text, by_user=True))
        yield View(messages=(*said, Said(WORKING)), chips=(), hint="", typed="", busy=True)
        conversation = yield from self._await_model(said)
        if conversation is None:
            yield View(
                messages=(*said, Said(f"{self._engine.status().text} Send it again then.")), typed=text, busy=False
            )
            return
        try:
            yield from self._answer(conversation, session, browser, text, composite, marks, said)
        except SessionNotFound:
            yield self._start_view(browser.forget(session.id), "The session was deleted while I answered.")

    def compare_with(self, browser: BrowserRecord, path: Path | None, composite: str, *, newer: bool) -> Iterator[View]:
        """Take a second image, and say at once what changed in the active layer where there is one."""
        added = self.add_other(browser, path, newer=newer)
        yield added
        session = self._current(browser)
        if added.chips is not None and session is not None and session.active_layer is not None:
            yield from self.send(browser, WHAT_CHANGED, composite, NO_MARKS, typed=False)

    def stop(self, browser: BrowserRecord) -> View:
        """Stop the answer that is being written; what was there before stays."""
        stopped = browser.current is not None and self._running.stop(browser.current)
        return View(hint="Stopping …" if stopped else "")

    def _await_model(self, said: tuple[Said, ...]) -> Generator[View, None, Talks | None]:
        """Wait until the model is loaded, and say so; returns the conversation, or None when loading failed."""
        started = time.monotonic()
        while not self._engine.wait(1.0 if self._engine.conversation is None else 0.0):
            if self._engine.problem or time.monotonic() - started > self._engine.settings.request_timeout_s:
                return None
            seconds = int(time.monotonic() - started)
            yield View(
                messages=(*said, Said(f"The model is starting, I answer as soon as it is there ({seconds} s) …"))
            )
        return self._engine.conversation

    def _answer(
        self,
        conversation: Talks,
        session: Session,
        browser: BrowserRecord,
        text: str,
        composite: str,
        marks: Marks,
        said: tuple[Said, ...],
    ) -> Iterator[View]:
        written, shown_at, done, before = "", 0.0, None, len(session.turns)
        for event in self._running.run(conversation, session, text, marks):
            if isinstance(event, TextDelta):
                written += event.text
                if time.monotonic() - shown_at > _STREAM_SECONDS:
                    shown_at = time.monotonic()
                    yield View(messages=(*said, Said(written + " …")))
            elif isinstance(event, LayerReady):
                yield self._layers_view(session, marks)
            else:
                done = event.turn
        if done is None and len(session.turns) == before:
            sorry = "Something went wrong while I answered; the log tells why. Nothing is lost: try it again."
            yield View(messages=(*said, Said(sorry)), chips=suggest(session, marks), typed=text, busy=False)
            return
        last = done or session.turns[-1]
        view = self._session_view(session, browser, composite, NO_MARKS if _used_marks(last) else marks)
        yield replace(view, file=_exported(last))


def _used_marks(turn: Turn) -> bool:
    return turn.plan is not None and uses_marks(turn.plan.steps)


def _exported(turn: Turn) -> str | None:
    """The file that a turn wrote for download; several come as one archive."""
    files = turn.facts.get("files") if turn.plan is not None and turn.plan.intent == "export" else None
    return str(bundle([Path(path) for path in files.values()])) if files else None
