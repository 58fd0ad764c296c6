"""Sessions on the page: open an image, go from one to another, rename, delete, compare, take away. Functions to a `View`."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from chat_app.acting.change import is_newer
from chat_app.answering.clicks import mark_words
from chat_app.errors import ChatError, SessionNotFound
from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.session import Session
from chat_app.page.downloads import write_session
from chat_app.page.engine import Engine
from chat_app.page.examples import ExampleImages
from chat_app.page.markup import Chip, SessionLine
from chat_app.page.render import choose_composite, composite_url, draw_picture, legend_entries
from chat_app.page.view import BrowserRecord, View, said_so_far, suggest
from spex_model.imaging.composites import available_composites
from spex_model.imaging.errors import ImagingError

log = logging.getLogger(__name__)

NO_IMAGE_HINT = "Open an image first: upload one, or pick an example. Your words stay in the box."
BUSY_HINT = "A message is being answered just now; try that again in a moment."


class SessionPages:
    """The handlers that deal with whole sessions; a visitor's `BrowserRecord` comes with each call."""

    def __init__(self, engine: Engine, examples: ExampleImages) -> None:
        self._engine = engine
        self._store = engine.store
        self.examples = examples

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
            session = self._store.open(browser.current)
            if not session.lock.acquire(timeout=0.5):
                return View(hint=BUSY_HINT)
            try:
                self._store.rename(session.id, title)
            finally:
                session.lock.release()
        except ChatError as error:
            return View(hint=str(error))
        return View(sessions=self._session_lines(browser), title=title.strip()[:80], hint="")

    def delete(self, browser: BrowserRecord) -> View:
        """Remove the current session with its image and layers, for good; an answer that is being written is stopped."""
        if browser.current is None:
            return View(hint="No session is open.")
        try:
            self._store.delete(browser.current)
        except SessionNotFound as error:
            log.info("session to delete is gone", exc_info=error)
        return self._start_view(browser.forget(browser.current))

    def add_other(self, browser: BrowserRecord, path: Path | None, *, newer: bool) -> View:
        """Take a second image of the same place to compare with, or say in one sentence why not."""
        session = self._current(browser)
        if session is None or path is None:
            return View(hint="" if session else NO_IMAGE_HINT)
        if not session.lock.acquire(timeout=0.5):
            return View(hint=BUSY_HINT)
        try:
            self._store.add_other(session, path, newer=newer)
        except (ImagingError, ChatError) as error:
            return View(other_text=str(error))
        except Exception:
            log.exception("opening %s failed", path.name)
            return View(other_text=f"{path.name} could not be opened; the log tells why. Try another file.")
        finally:
            session.lock.release()
        return View(other_text=other_words(session), chips=suggest(session), hint="")

    def download_all(self, browser: BrowserRecord) -> View:
        """Write the whole session to a zip that only this answer names."""
        session = self._current(browser)
        if session is None:
            return View(hint=NO_IMAGE_HINT)
        try:
            path = write_session(self._engine.settings, session, self._store.image_path(session.id))
        except (ChatError, ImagingError) as error:
            return View(hint=str(error))
        except Exception:
            log.exception("writing a session for download failed")
            return View(hint="The session could not be written; the log tells why.")
        return View(file=str(path), hint="")

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
            browser=browser, open_image=False, messages=(), chips=chips, legend=(), marks=NO_MARKS, click_text="",
            download_name="", title="", sessions=self._session_lines(browser), notice=notice, hint="", busy=False,
        )  # fmt: skip

    def _session_view(
        self, session: Session, browser: BrowserRecord, composite: str | None, marks: Marks = NO_MARKS
    ) -> View:
        kind = choose_composite(session.scene, composite)
        return replace(
            self._layers_view(session, marks),
            base=composite_url(session.scene, kind),
            browser=browser,
            open_image=True,
            messages=said_so_far(session),
            chips=suggest(session, marks),
            scene=session.scene,
            composites=available_composites(session.scene),
            composite=kind,
            marks=marks,
            click_text=mark_words(session, marks),
            title=session.title,
            other_text=other_words(session),
            sessions=self._session_lines(browser),
            notice="",
            hint="",
            busy=False,
        )

    def _layers_view(self, session: Session, marks: Marks) -> View:
        active = session.active_layer
        return View(
            picture=draw_picture(session, marks),
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


def other_words(session: Session) -> str:
    """Which second image a session has, and what is to be known of it; "" without one."""
    if session.other is None:
        return ""
    when = "newer" if is_newer(session.scene, session.other) else "older"
    return " ".join(
        [f"Compared with {session.other.name}, taken as the {when} one; ask “what changed?”.", *session.other.remarks]
    )
