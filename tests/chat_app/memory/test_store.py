"""Sessions on disk: listed, renamed, reopened, deleted; bad images leave nothing behind."""

import sqlite3

import pytest

from chat_app.errors import SessionNotFound
from chat_app.memory.store import SessionStore
from spex_model.imaging.errors import ImagingError


def test_sessions_can_be_listed_renamed_and_deleted(conversation, session, settings):
    store = conversation.store
    store.rename(session.id, "My farm")
    [info] = SessionStore(settings).list_sessions()
    assert (info.id, info.title, info.image) == (session.id, "My farm", "lakes.tif")
    store.delete(session.id)
    assert store.list_sessions() == []
    with pytest.raises(SessionNotFound):
        store.open(session.id)


@pytest.mark.parametrize("session_id", ["", "../etc", "0" * 32, "x" * 1000])
def test_an_unknown_session_is_refused(conversation, session_id):
    with pytest.raises(SessionNotFound):
        list(conversation.run_turn(session_id, "show me the water"))


def test_a_bad_image_leaves_no_folder(conversation, settings, tmp_path):
    (tmp_path / "bad.tif").write_text("no picture")
    with pytest.raises(ImagingError):
        conversation.store.create(tmp_path / "bad.tif")
    assert not list((settings.data_dir / "sessions").glob("*"))


def test_pixel_size_and_names_survive(conversation, settings, tmp_path):
    import numpy as np
    from PIL import Image

    Image.fromarray(np.zeros((20, 30, 3), np.uint8) + 90).save(tmp_path / "p.png")
    session = conversation.store.create(tmp_path / "p.png")
    list(conversation.run_turn(session.id, "pixels are 2.5 m"))
    assert SessionStore(settings).open(session.id).scene.gsd_m == 2.5


def test_nothing_of_a_deleted_session_stays(conversation, session, settings):
    for message in ("show me the water", "export it as png"):
        list(conversation.run_turn(session.id, message))
    assert (settings.data_dir / "exports" / session.id).is_dir()
    conversation.store.delete(session.id)
    assert not [path for path in settings.data_dir.rglob("*") if session.id in path.as_posix()]
    database = sqlite3.connect(settings.data_dir / "conversations.sqlite")
    for table in ("checkpoints", "writes"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()
