"""Messages at work: on record while their turn runs, so that one whose process was killed does not vanish.

A record is a small file in the session's folder, locked by the process that answers. The system frees the lock when
that process ends, however it ends: a record without a lock is of a turn that was cut off, and a locked one is left
alone, also by other processes that share the data folder.
"""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from chat_app.memory.session import Session
from chat_app.memory.turns import Turn

log = logging.getLogger(__name__)

INTERRUPTED = "I was interrupted before I could answer this; nothing was changed. Please send it again."


@dataclass(frozen=True)
class PendingMessage:
    """A message whose turn was cut off, and the file that says so; `began` is in seconds since 1970."""

    id: str
    message: str
    began: float
    path: Path

    def remove(self) -> None:
        """Take the record away."""
        self.path.unlink(missing_ok=True)


@contextmanager
def on_record(folder: Path, message: str) -> Iterator[str]:
    """Keep a message on record in a session's folder while the block runs; gives the id of the record.

    The record stays when the block raises: then the turn was not saved. Where none can be written, the block runs
    without one.
    """
    pending_id = uuid4().hex
    path = folder / f"pending-{pending_id}.json"
    file: IO[str] | None = None
    try:
        file = _write(path, {"message": message, "began": time.time()})
    except OSError as error:
        log.warning("a message could not be put on record", exc_info=error)
    try:
        yield pending_id
        with suppress(OSError):
            path.unlink(missing_ok=True)
    finally:
        if file is not None:
            file.close()


@contextmanager
def cut_off(folder: Path) -> Iterator[list[PendingMessage]]:
    """The messages in a session's folder whose process is gone, oldest first, claimed while the block runs."""
    found = []
    with ExitStack() as claims:
        for path in folder.glob("pending-*.json"):
            file = _claim(path)
            if file is None:
                continue
            claims.enter_context(file)
            try:
                values = json.load(file)
                found.append(PendingMessage(_id_of(path), str(values["message"]), float(values["began"]), path))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("%s is no record of a message", path.name, exc_info=error)
        yield sorted(found, key=lambda pending: pending.began)


def interrupted(pending: PendingMessage, session: Session) -> Turn:
    """The turn that stands in the history for a message that was cut off; the session is as it was before it."""
    active = session.active_layer
    return Turn(
        number=len(session.turns) + 1,
        message=pending.message,
        reply=INTERRUPTED,
        plan=None,
        reader="none",
        layer_ids=tuple(layer.id for layer in session.layers),
        active=active.id if active else None,
        error=INTERRUPTED,
        pending_id=pending.id,
    )


def _write(path: Path, values: dict[str, object]) -> IO[str]:
    """Write a record and return its locked file; under its name it is whole and locked from the first moment on."""
    draft = path.with_suffix(".tmp")
    file = draft.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        json.dump(values, file, ensure_ascii=False)
        file.flush()
        draft.rename(path)
    except OSError:
        file.close()
        draft.unlink(missing_ok=True)
        raise
    return file


def _claim(path: Path) -> IO[str] | None:
    """The locked file of a record; None where its process lives, or somebody else has dealt with it."""
    try:
        file = path.open("r+", encoding="utf-8")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    if not path.exists():
        file.close()
        return None
    return file


def _id_of(path: Path) -> str:
    return path.stem.removeprefix("pending-")
