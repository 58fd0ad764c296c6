"""Where sessions live: one folder each, with the image, the arrays and `session.json`."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from chat_app.errors import SessionNotFound
from chat_app.memory.arrays import ArrayStore
from chat_app.memory.layers import Extraction, Layer, OtherImage, Snapshot
from chat_app.memory.pending import PendingMessage, cut_off, interrupted, on_record
from chat_app.memory.session import Session
from chat_app.memory.turns import Turn
from chat_app.settings import Settings
from chat_app.steps import RefinementStep
from spex_model.imaging.errors import ImagingError
from spex_model.imaging.reading import open_scene
from spex_model.imaging.scene import Scene

log = logging.getLogger(__name__)

_ID = re.compile(r"^[0-9a-f]{32}$")
_SIDECARS = (".aux.xml", ".prj", ".tfw", ".pgw", ".jgw", ".wld", ".json", ".xml")
_STEPS: TypeAdapter[tuple[RefinementStep, ...]] = TypeAdapter(tuple[RefinementStep, ...])


@dataclass(frozen=True)
class SessionInfo:
    """A line of the session list; times are seconds since 1970."""

    id: str
    title: str
    image: str
    turns: int
    updated: float


class SessionStore:
    """Creates, saves and reopens sessions under `settings.data_dir`.

    Whoever keeps something of a session elsewhere puts a function into `on_delete`, which gets the id.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.data_dir / "sessions"
        self._open: dict[str, Session] = {}
        self.on_delete: list[Callable[[str], None]] = []
        self._lock = threading.Lock()

    def create(
        self,
        path: Path,
        *,
        bands: Sequence[str] | None = None,
        scale: float | None = None,
        offset: float | None = None,
        gsd_m: float | None = None,
        title: str | None = None,
    ) -> Session:
        """Open an image and start a session on a copy of it; raises `ImagingError` and leaves nothing behind."""
        options = {"bands": list(bands) if bands else None, "scale": scale, "offset": offset, "gsd_m": gsd_m}
        scene = self._open_scene(Path(path), options)
        session_id = uuid4().hex
        folder = self._root / session_id
        try:
            _copy_image(Path(path), folder / "image")
            session = self._build(session_id, scene, title or Path(path).name)
            self._write(session, {"image": Path(path).name, "options": options})
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._open[session_id] = session
        return session

    def open(self, session_id: str) -> Session:
        """The session of that id, from memory or disk; raises `SessionNotFound`.

        From disk, a message whose turn was cut off by the end of its process gets a turn that says so.
        """
        with self._lock:
            if session_id not in self._open:
                with cut_off(self._folder(session_id)) as messages:
                    session = self._load(session_id)
                    self._close_interrupted(session, messages)
                self._open[session_id] = session
            return self._open[session_id]

    def on_record(self, session_id: str, message: str) -> AbstractContextManager[str]:
        """Keep a message on record while it is answered; gives the id that the turn shall carry as `pending_id`."""
        return on_record(self._folder(session_id), message)

    def save(self, session: Session) -> None:
        """Write the state of a session, so that it survives a restart."""
        self._write(session, {})

    def add_other(self, session: Session, path: Path, *, newer: bool = True, **options: Any) -> OtherImage:
        """Give a session a second image of the same place, in the stead of an earlier one; `options` as in `create`.

        Raises `ImagingError`, and keeps what was there, when it can't be opened or laid on the first.
        """
        scene = self._open_scene(path, options)
        other = OtherImage(path.name, scene, newer)
        other = replace(other, remarks=session.align_other(other).remarks)
        session.check_kept()
        folder = self._root / session.id / f"other-{uuid4().hex[:8]}"
        _copy_image(path, folder)
        old = self._read(session.id).get("other")
        session.other = other
        about = {"name": path.name, "newer": newer, "remarks": list(other.remarks)}
        self._write(session, {"other": {**about, "folder": folder.name, "options": options}})
        if old:
            shutil.rmtree(self._root / session.id / old["folder"], ignore_errors=True)
        return other

    def info(self, session_id: str) -> SessionInfo:
        """The list line of one session; raises `SessionNotFound`."""
        record = self._read(session_id)
        return SessionInfo(session_id, record["title"], record["image"], len(record["turns"]), record["updated"])

    def list_sessions(self) -> list[SessionInfo]:
        """All stored sessions, last used first; folders that can't be read are left out."""
        found = []
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(SessionNotFound):
                found.append(self.info(folder.name))
        return sorted(found, key=lambda info: info.updated, reverse=True)

    def rename(self, session_id: str, title: str) -> None:
        """Give a session another title, cut to 80 characters, once its running turn is over."""
        session = self.open(session_id)
        with session.lock:
            session.title = title.strip()[:80] or session.title
            self.save(session)

    def delete(self, session_id: str) -> None:
        """Remove a session and all its files, once its running turn has stopped; raises `SessionNotFound`."""
        self._read(session_id)
        try:
            session = self.open(session_id)
        except (ImagingError, SessionNotFound) as error:
            # What can't be opened has no turn that writes, and is removed all the same.
            log.info("session to delete can't be opened", exc_info=error)
            self._remove(session_id)
            return
        session.deleted = True
        with session.lock:
            self._remove(session_id)

    def _remove(self, session_id: str) -> None:
        # Under another name first: a message that comes in meanwhile must not put a record into the folder.
        folder = self._root / f"deleted-{uuid4().hex}"
        with self._lock:
            self._open.pop(session_id, None)
            try:
                self._folder(session_id).rename(folder)
            except FileNotFoundError as error:
                raise SessionNotFound(f"The session {session_id} is not here any more.") from error
        shutil.rmtree(folder)
        shutil.rmtree(self._settings.data_dir / "exports" / session_id, ignore_errors=True)
        for forget in self.on_delete:
            forget(session_id)

    def image_path(self, session_id: str) -> Path:
        """The stored copy of the image."""
        return self._root / session_id / "image" / self._read(session_id)["image"]

    def _close_interrupted(self, session: Session, messages: Sequence[PendingMessage]) -> None:
        """Give messages that were cut off a turn, and take away their records once that is saved."""
        answered = {turn.pending_id for turn in session.turns}
        unanswered = [pending for pending in messages if pending.id not in answered]
        for pending in unanswered:
            session.close_turn(interrupted(pending, session))
        try:
            if unanswered:
                self.save(session)
            for pending in messages:
                pending.remove()
        except OSError as error:
            log.warning("interrupted messages could not be saved", exc_info=error)

    def _build(self, session_id: str, scene: Scene, title: str) -> Session:
        arrays = ArrayStore(self._root / session_id / "arrays", memory_bytes=self._settings.memory_mb * 2**20)
        return Session(session_id, scene, arrays, title=title, max_undo=self._settings.max_undo)

    def _open_scene(self, path: Path, options: dict[str, Any]) -> Scene:
        return open_scene(path, **options, max_pixels=self._settings.max_pixels)

    def _load(self, session_id: str) -> Session:
        record = self._read(session_id)
        try:
            scene = self._open_scene(self._root / session_id / "image" / record["image"], record["options"])
            session = self._build(session_id, scene, record["title"])
            if stored := record.get("other"):
                path = self._root / session_id / stored["folder"] / stored["name"]
                other = self._open_scene(path, stored["options"])
                session.other = OtherImage(stored["name"], other, bool(stored["newer"]), tuple(stored["remarks"]))
            session.turns = [Turn.from_dict(turn) for turn in record["turns"]]
            session.after_turn = [_read_snapshot(values) for values in record["after_turn"]]
            session.extractions = {
                values["id"]: Extraction(
                    **{**values, "steps": _STEPS.validate_python(values["steps"])}, arrays=session.arrays
                )
                for values in record["extractions"]
            }
            session.restore_history(
                _read_snapshot(record["current"]),
                past=[_read_snapshot(values) for values in record["past"]],
                future=[_read_snapshot(values) for values in record["future"]],
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise SessionNotFound(f"The session {session_id} is stored in a form that can't be read.") from error
        return session

    def _folder(self, session_id: str) -> Path:
        if not _ID.match(session_id):
            raise SessionNotFound(f'There is no session "{session_id[:40]}". Upload an image to start one.')
        return self._root / session_id

    def _read(self, session_id: str) -> dict[str, Any]:
        folder = self._folder(session_id)
        try:
            record = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SessionNotFound(f"The session {session_id} is not here any more. Upload the image again.") from error
        return dict(record)

    def _write(self, session: Session, images: dict[str, Any]) -> None:
        """Write the record; what `images` does not say of the session's files stays as it is stored.

        Raises `SessionNotFound` for a deleted session.
        """
        session.check_kept()
        current, past, future = session.history
        stored: dict[str, Any] = {} if "image" in images else self._read(session.id)
        files: dict[str, Any] = {key: stored[key] for key in ("image", "options", "other") if key in stored}
        record = {
            **files,
            **images,
            "title": session.title,
            "updated": time.time(),
            "current": asdict(current),
            "past": [asdict(snapshot) for snapshot in past],
            "future": [asdict(snapshot) for snapshot in future],
            "extractions": [extraction.to_dict() for extraction in session.extractions.values()],
            "after_turn": [asdict(snapshot) for snapshot in session.after_turn],
            "turns": [turn.to_dict() for turn in session.turns],
        }
        target = self._root / session.id / "session.json"
        draft = target.with_name(f"session-{uuid4().hex}.tmp")
        try:
            draft.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _read_snapshot(values: dict[str, Any]) -> Snapshot:
    layers = tuple(Layer(**layer) for layer in values["layers"])
    bands = tuple(values["bands"]) if values["bands"] is not None else None
    return Snapshot(**{**values, "layers": layers, "bands": bands, "turns": tuple(values.get("turns", ()))})


def _copy_image(path: Path, folder: Path) -> None:
    """Copy an image with the small files beside it that GDAL reads with it."""
    folder.mkdir(parents=True)
    shutil.copyfile(path, folder / path.name)
    for suffix in _SIDECARS:
        for name in (path.name + suffix, path.stem + suffix):
            sidecar = path.with_name(name)
            if sidecar.is_file() and sidecar.stat().st_size < 1_000_000:
                shutil.copyfile(sidecar, folder / name)
