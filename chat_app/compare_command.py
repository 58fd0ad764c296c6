"""`python -m chat_app compare BEFORE AFTER "show me the water"`: what changed, without a browser."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chat_app.acting.change import Change, find_change
from chat_app.answering.change_words import found_change_words
from chat_app.errors import ChatError
from chat_app.files.change_files import write_change, write_change_picture
from chat_app.files.export import write_mask
from chat_app.graph import Conversation
from chat_app.memory.session import Session
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import TurnDone
from chat_app.settings import Settings
from spex_model.imaging.errors import ImagingError
from spex_model.serving.protocol import Runtime

BAD_IMAGE = 2


def compare(options: argparse.Namespace, settings: Settings, runtime: Runtime | None) -> int:
    """Run messages on the earlier image, their recipe on the later one, and report the change of the last layer.

    Exit code 2 and one sentence when an image can't be opened or the two can't be laid on each other; 1 when the
    messages leave nothing to compare.
    """
    scratch = Path(tempfile.mkdtemp(prefix="spex-compare-"))
    conversation = Conversation(settings.model_copy(update={"data_dir": scratch}), runtime)
    try:
        return _compare(options, conversation)
    finally:
        conversation.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _compare(options: argparse.Namespace, conversation: Conversation) -> int:
    store: SessionStore = conversation.store
    said = {
        "bands": [name.strip() for name in options.bands.split(",")] if options.bands else None,
        "scale": options.scale, "offset": options.offset, "gsd_m": options.gsd,
    }  # fmt: skip
    try:
        session = store.create(options.before, **said)
        store.add_other(session, options.after, newer=True, **said)
    except ImagingError as error:
        print(error, file=sys.stderr)
        return BAD_IMAGE
    record = _run(options, conversation, session)
    if options.json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
        print(record["error"] or record["reply"])
        for name, path in record["files"].items():
            print(f"  {name}: {path}")
    return 1 if record["error"] else 0


def _run(options: argparse.Namespace, conversation: Conversation, session: Session) -> dict[str, Any]:
    began = time.monotonic()
    record: dict[str, Any] = {
        "before": str(options.before), "after": str(options.after), "messages": options.messages, "reply": "",
        "change": None, "files": {}, "seconds": 0.0, "error": None,
    }  # fmt: skip
    try:
        for message in options.messages:
            *_, done = conversation.run_turn(session.id, message)
            if isinstance(done, TurnDone) and done.turn.error:
                raise ChatError(done.turn.error)
        layer = session.find_layer(None)
        change = find_change(session, layer, conversation.runtime, conversation.settings)
        record |= {"reply": found_change_words(change.facts, on_page=False), "change": change.facts}
        record["files"] = _write_files(change, session, options.out)
    except (ChatError, ImagingError) as error:
        record["error"] = str(error)
    return {**record, "seconds": round(time.monotonic() - began, 3)}


def _write_files(change: Change, session: Session, folder: Path) -> dict[str, str]:
    """The masks of both images, the change, and its picture; all on the earlier image's grid."""
    folder.mkdir(parents=True, exist_ok=True)
    layer, scene = session.find_layer(None), session.scene
    name = layer.name.replace(" ", "-")
    paths = {key: folder / f"{name}-{key}.tif" for key in ("before", "after", "change")}
    write_mask(paths["before"], change.before, scene, layer)
    write_mask(paths["after"], change.after, scene, layer)
    write_change(paths["change"], change, scene)
    paths["picture"] = write_change_picture(folder / f"{name}-change.png", change, scene)
    return {key: str(path) for key, path in paths.items()}
