"""What the page shows, as plain values: the record that a browser keeps, and the view of a session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.session import Session
from chat_app.page.markup import Chip, SessionLine
from chat_app.page.render import LegendEntry, Picture
from spex_model.imaging.scene import Scene

_SESSION_ID = re.compile(r"^[0-9a-f]{32}$")
MAX_KNOWN = 50
"""Sessions that one browser lists; the oldest drop off the list, not off the disk."""


@dataclass(frozen=True)
class BrowserRecord:
    """What a browser keeps: the id of its session and those it had before, newest first.

    Ids are secrets: who knows one can open the session. So a page lists what its own browser kept, nothing else.
    """

    current: str | None = None
    known: tuple[str, ...] = ()

    @classmethod
    def from_value(cls, value: Any) -> BrowserRecord:
        """Read what came from the browser; anything that isn't a record counts as an empty one."""
        if not isinstance(value, dict):
            return cls()
        listed = value.get("known")
        known = tuple(item for item in listed if _is_id(item)) if isinstance(listed, list) else ()
        current = value.get("current")
        return cls(current if _is_id(current) else None, known[:MAX_KNOWN])

    def to_value(self) -> dict[str, Any]:
        """Plain values for the browser to keep."""
        return {"current": self.current, "known": list(self.known)}

    def enter(self, session_id: str) -> BrowserRecord:
        """The record with this session as the current one."""
        others = tuple(item for item in self.known if item != session_id)
        return BrowserRecord(session_id, (session_id, *others)[:MAX_KNOWN])

    def leave(self) -> BrowserRecord:
        """The record without a current session."""
        return BrowserRecord(None, self.known)

    def forget(self, session_id: str) -> BrowserRecord:
        """The record without this session."""
        current = None if self.current == session_id else self.current
        return BrowserRecord(current, tuple(item for item in self.known if item != session_id))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_SESSION_ID.match(value))


@dataclass(frozen=True)
class Said:
    """One message of the conversation, plain text; `by_user` tells whose it is."""

    text: str
    by_user: bool = False


@dataclass(frozen=True)
class View:
    """What changes on the page; a field that is None stays as it is.

    `base` is the composite as a `data:` address. `open_image` chooses between the image and the start page. `typed` replaces what stands in the message box,
    `notice` is the line by the upload, `hint` the one by the message box, `other_text` the one about the second image. `file` is an exported file that the browser
    shall download.
    """

    browser: BrowserRecord | None = None
    open_image: bool | None = None
    messages: tuple[Said, ...] | None = None
    chips: tuple[Chip, ...] | None = None
    base: str | None = None
    picture: Picture | None = None
    legend: tuple[LegendEntry, ...] | None = None
    scene: Scene | None = None
    composites: tuple[str, ...] | None = None
    composite: str | None = None
    marks: Marks | None = None
    click_text: str | None = None
    download_name: str | None = None
    title: str | None = None
    other_text: str | None = None
    sessions: tuple[SessionLine, ...] | None = None
    notice: str | None = None
    hint: str | None = None
    typed: str | None = None
    busy: bool | None = None
    file: str | None = None


def greeting(session: Session) -> Said:
    """What the chat says about an image when it is opened."""
    scene = session.scene
    rows, columns = scene.shape
    where = f", in EPSG:{scene.crs.to_epsg()}" if scene.crs is not None and scene.crs.to_epsg() else ""
    size = f", pixels of {scene.gsd_m:.3g} m" if scene.gsd_m is not None else ""
    taken = f", taken on {scene.acquired.isoformat()}" if scene.acquired else ""
    count = len(scene.bands)
    text = (
        f"I opened {scene.source or session.title}: {columns:,} × {rows:,} pixels, {count} band{'s' * (count > 1)} "
        f"({', '.join(scene.bands)}){size}{where}{taken}."
    )
    notes = [f"• {note}" for note in scene.assumptions]
    if notes:
        text += "\n\nWhat the file did not say, and how I took it:\n" + "\n".join(notes)
    if any("band" in note.lower() for note in scene.assumptions):
        text += "\n\nIf the bands are others, tell me, for example “the bands are red, green, blue, nir”."
    return Said(text + "\n\nWhat shall I look for? Water, vegetation, trees, buildings or bare soil.")


def said_so_far(session: Session) -> tuple[Said, ...]:
    """The conversation of a session, from its greeting on."""
    said = [greeting(session)]
    for turn in list(session.turns):
        said += [Said(turn.message, by_user=True), Said(turn.reply)]
    return tuple(said)


def suggest(session: Session, marks: Marks = NO_MARKS) -> tuple[Chip, ...]:
    """Things to say that fit what is on the page; the options of an open question come first."""
    if marks:
        return tuple(Chip(text) for text in _on_marks(session, marks))
    if session.turns and session.turns[-1].options:
        return tuple(Chip(option) for option in session.turns[-1].options)
    layer = session.active_layer
    if layer is None:
        back = ("undo",) if session.can_undo else ()
        texts = ("show me the water", "show the vegetation", "find the buildings", "what can you do?", *back)
    elif not session.extraction(layer).mask.any():
        texts = ("why?", "looser", "undo", "show the vegetation")
    else:
        size = "how many hectares is it?" if session.scene.gsd_m is not None else "pixels are 10 m"
        change = ("what changed?",) if session.other is not None else ()
        several = "only the biggest one" if len(session.regions(layer)) > 1 else "grow it by 2 pixels"
        texts = (*change, several, size, "why?", "undo")
    return tuple(Chip(text) for text in texts)


def _on_marks(session: Session, marks: Marks) -> tuple[str, ...]:
    """What can be said of a clicked place or a drawn outline."""
    layer = session.active_layer
    if layer is None:
        return (
            ("show me the water in the box", "show the vegetation in the box") if marks.area else ("show me the water",)
        )
    if marks.area:
        return ("only inside the box", "remove what is in the box", "add what is in the box", "undo")
    inside = session.extraction(layer).mask[marks.points[-1]]
    return (
        ("keep only this one", "remove this one", "remove this", "undo")
        if inside
        else ("add this", "keep only this one", "undo")
    )
