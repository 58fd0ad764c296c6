"""What happens when a person does something on the page: plain functions from values to a `View`."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from chat_app.clicks import click_words
from chat_app.downloads import bundle, write_download
from chat_app.engine import Engine, Talks
from chat_app.errors import ChatError, SessionNotFound
from chat_app.examples import ExampleImages
from chat_app.markup import Chip, SessionLine
from chat_app.render import Frame, choose_composite, composite_url, draw_picture, legend_entries
from chat_app.running import RunningTurns
from chat_app.session import Session
from chat_app.turns import LayerReady, TextDelta, Turn
from chat_app.view import BrowserRecord, Points, Said, View, said_so_far, suggest
from spex_model.imaging.composites import available_composites
from spex_model.imaging.errors import ImagingError

log = logging.getLogger(__name__)

EMPTY_HINT = "Write what you want to see, for example “show me the water”."
NO_IMAGE_HINT = "Open an image first: upload one, or pick an example. Your words stay in the box."
WORKING = "Looking at the image …"
BUSY_HINT = "A message is being answered just now; try that again in a moment."
_STREAM_SECONDS = 0.08
"""Text reaches the page at most this often, so that many readers don't crowd the server."""
_CLICK_OPS = frozenset({"keep_clicked", "drop_clicked"})


class Page:
    """The handlers of one chat; holds no state of any visitor: a visitor's `BrowserRecord` comes with each call."""

    def __init__(self, engine: Engine, examples: ExampleImages) -> None:
        self._engine = engine
        self._store = engine.store
        self.examples = examples
        self._running = RunningTurns()

    def load(self, browser: BrowserRecord, composite: str | None = None) -> View:
        """The page as this browser left it; a session that is gone leaves a sentence."""
        if browser.current is None:
            return self._start_view(browser)
        try:
            return self._session_view(self._store.open(browser.current), browser, composite)
        except (ChatError, ImagingError) as error:
            log.info("session can't be reopened", exc_info=error)
            return self._start_view(browser.forget(browser.current), notice=str(error))

    def open_image(self, browser: BrowserRecord, path: Path | None) -> View:
        """Start a session on an uploaded image, or say in one sentence why not."""
        if path is None:
            return View(notice="")
        try:
            session = self._store.create(path)
        except (ImagingError, ChatError) as error:
            return View(notice=str(error))
        except Exception:
            log.exception("opening %s failed", path.name)
            return View(notice=f"{path.name} could not be opened; the log tells why. Try another file.")
        return self._session_view(session, browser.enter(session.id), None)

    def open_example(self, browser: BrowserRecord, key: str) -> View:
        """Start a session on an example image."""
        path = self.examples.path(key)
        return self.open_image(browser, path) if path else View(notice="There is no such example.")

    def reopen(self, browser: BrowserRecord, session_id: str) -> View:
        """Go to another session of this browser."""
        if session_id not in browser.known:
            return View(hint="This session is not one of yours.")
        return self.load(browser.enter(session_id))

    def new_image(self, browser: BrowserRecord) -> View:
        """Back to the start page; the session stays in the list."""
        return self._start_view(browser.leave())

    def rename(self, browser: BrowserRecord, title: str) -> View:
        """Give the current session another title."""
        if browser.current is None or not title.strip():
            return View(hint="Write a title first." if browser.current else NO_IMAGE_HINT)
        try:
            self._store.rename(browser.current, title)
        except ChatError as error:
            return View(hint=str(error))
        return View(sessions=self._session_lines(browser), title=title.strip()[:80], hint="")

    def delete(self, browser: BrowserRecord) -> View:
        """Remove the current session with its image and layers, for good."""
        if browser.current is None:
            return View(hint="No session is open.")
        try:
            self._store.delete(browser.current)
        except SessionNotFound as error:
            log.info("session to delete is gone", exc_info=error)
        return self._start_view(browser.forget(browser.current))

    def choose_composite(self, browser: BrowserRecord, composite: str) -> View:
        """Show the image in other colours."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        return View(base=composite_url(session.scene, choose_composite(session.scene, composite)))

    def press_layer(self, browser: BrowserRecord, layer_id: str, action: str, points: Points) -> View:
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
        return self._layers_view(session, points)

    def click(self, browser: BrowserRecord, place: tuple[float, float], points: Points, *, add: bool) -> View:
        """Mark the scene pixel under a place on the picture (x, y 0-1), and tell what is there."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        pixel = Frame.of(session.scene).scene_pixel(*place)
        if pixel is None:
            return View()
        marked = (*points, pixel)[-8:] if add else (pixel,)
        self._mean_layer_at(session, pixel)
        return replace(
            self._layers_view(session, marked),
            points=marked,
            click_text=click_words(session, marked),
            chips=suggest(session, marked),
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

    def clear_points(self, browser: BrowserRecord) -> View:
        """Take the marks off the picture."""
        session = self._current(browser)
        if session is None:
            return View(points=(), click_text="")
        return View(picture=draw_picture(session), points=(), click_text="", chips=suggest(session))

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

    def send(self, browser: BrowserRecord, text: str, composite: str, points: Points) -> Iterator[View]:
        """Answer a message: the text as it is written, layers as they come, and at last the whole page."""
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
        yield from self._answer(conversation, session, browser, text, composite, points, said)

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
        points: Points,
        said: tuple[Said, ...],
    ) -> Iterator[View]:
        written, shown_at, done, before = "", 0.0, None, len(session.turns)
        for event in self._running.run(conversation, session, text, points):
            if isinstance(event, TextDelta):
                written += event.text
                if time.monotonic() - shown_at > _STREAM_SECONDS:
                    shown_at = time.monotonic()
                    yield View(messages=(*said, Said(written + " …")))
            elif isinstance(event, LayerReady):
                yield self._layers_view(session, points)
            else:
                done = event.turn
        if done is None and len(session.turns) == before:
            sorry = "Something went wrong while I answered; the log tells why. Nothing is lost: try it again."
            yield View(messages=(*said, Said(sorry)), chips=suggest(session, points), typed=text, busy=False)
            return
        last = done or session.turns[-1]
        view = self._session_view(session, browser, composite, () if _used_points(last) else points)
        yield replace(view, file=_exported(last))

    def _current(self, browser: BrowserRecord) -> Session | None:
        if browser.current is None:
            return None
        try:
            return self._store.open(browser.current)
        except (ChatError, ImagingError) as error:
            log.info("the current session can't be opened", exc_info=error)
            return None

    def _start_view(self, browser: BrowserRecord, notice: str = "") -> View:
        chips = tuple(Chip(f"open {card.title}", example=card.key) for card in self.examples.cards())
        return View(
            browser=browser, open_image=False, messages=(), chips=chips, legend=(), points=(), click_text="",
            download_name="", title="", sessions=self._session_lines(browser), notice=notice, hint="", busy=False,
        )  # fmt: skip

    def _session_view(
        self, session: Session, browser: BrowserRecord, composite: str | None, points: Points = ()
    ) -> View:
        kind = choose_composite(session.scene, composite)
        return replace(
            self._layers_view(session, points),
            base=composite_url(session.scene, kind),
            browser=browser,
            open_image=True,
            messages=said_so_far(session),
            chips=suggest(session, points),
            scene=session.scene,
            composites=available_composites(session.scene),
            composite=kind,
            points=points,
            click_text=click_words(session, points) if points else "",
            title=session.title,
            sessions=self._session_lines(browser),
            notice="",
            hint="",
            busy=False,
        )

    def _layers_view(self, session: Session, points: Points) -> View:
        active = session.active_layer
        return View(
            picture=draw_picture(session, points=points),
            legend=legend_entries(session),
            download_name=active.name if active else "",
        )

    def _session_lines(self, browser: BrowserRecord) -> tuple[SessionLine, ...]:
        found = []
        for session_id in browser.known:
            try:
                info = self._store.info(session_id)
            except SessionNotFound:
                continue
            day = time.strftime("%d %b, %H:%M", time.localtime(info.updated))
            count = f"{info.turns} message{'s' if info.turns != 1 else ''}"
            found.append(SessionLine(info.id, info.title, f"{count} · {day}", info.id == browser.current))
        return tuple(found)


def _used_points(turn: Turn) -> bool:
    return turn.plan is not None and any(step.op in _CLICK_OPS for step in turn.plan.steps)


def _exported(turn: Turn) -> str | None:
    """The file that a turn wrote for download; several come as one archive."""
    files = turn.facts.get("files") if turn.plan is not None and turn.plan.intent == "export" else None
    return str(bundle([Path(path) for path in files.values()])) if files else None
