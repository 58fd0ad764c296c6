"""Sessions on disk: listed, renamed, reopened, deleted; bad images leave nothing behind."""

import sqlite3
import threading

import numpy as np
import pytest

from chat_app.errors import SessionNotFound
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import TextDelta
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
    assert_nothing_left(settings)


def assert_nothing_left(settings):
    assert not list((settings.data_dir / "sessions").iterdir()) and not list(settings.data_dir.glob("exports/*"))
    database = sqlite3.connect(settings.data_dir / "conversations.sqlite")
    for table in ("checkpoints", "writes"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


@pytest.fixture
def held_runtime(runtime):
    """The runtime, which says a word and goes on with its answer when its `go` is set."""
    speak, runtime.go = runtime._speak, threading.Event()

    def speak_held(text, prompt):
        yield "I "
        assert runtime.go.wait(20)
        return (yield from speak(text, prompt))

    runtime._speak = speak_held
    yield runtime
    runtime.go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("turn-"):
            thread.join(20)  # the database must not close under a turn


def test_deleting_stops_the_turn_at_work_and_the_next_and_nothing_is_written_again(
    conversation, session, settings, held_runtime
):
    turns = [conversation.start_turn(session.id, "show me the water")]
    events = turns[0].events()
    assert isinstance(next(events), TextDelta)
    turns.append(conversation.start_turn(session.id, "show me the trees"))
    deleting = threading.Thread(target=conversation.store.delete, args=(session.id,))
    deleting.start()
    while deleting.is_alive() and not session.deleted:
        deleting.join(0.01)
    assert deleting.is_alive(), "it waits for the turn"
    held_runtime.go.set()
    for left in (events, turns[1].events()):
        with pytest.raises(SessionNotFound):
            list(left)
    deleting.join(20)
    assert_nothing_left(settings)
    with pytest.raises(SessionNotFound):
        conversation.store.save(session)
    with pytest.raises(FileNotFoundError):
        session.make_extraction(np.ones(session.scene.shape, bool), land_cover="water", method="index", threshold=0.0)
    assert_nothing_left(settings)


def test_a_second_image_does_not_bring_a_deleted_session_back(conversation, session, settings, scene_file):
    conversation.store.delete(session.id)
    with pytest.raises(SessionNotFound):
        conversation.store.add_other(session, scene_file)
    with pytest.raises(SessionNotFound):
        conversation.store.delete(session.id)
    assert_nothing_left(settings)


def test_a_session_that_cannot_be_opened_can_be_deleted(conversation, session, settings):
    conversation.store.image_path(session.id).write_text("no picture")
    SessionStore(settings).delete(session.id)
    assert not list((settings.data_dir / "sessions").iterdir())


def test_renaming_waits_for_the_turn_at_work(conversation, session, settings, held_runtime):
    turn = conversation.start_turn(session.id, "show me the water")
    events = turn.events()
    next(events)
    renaming = threading.Thread(target=conversation.store.rename, args=(session.id, "My farm"))
    renaming.start()
    renaming.join(0.2)
    assert renaming.is_alive()
    held_runtime.go.set()
    list(events)
    renaming.join(20)
    stored = SessionStore(settings).open(session.id)
    assert stored.title == "My farm" and len(stored.turns) == 1


def test_saves_at_once_do_not_spoil_each_other(conversation, session, settings):
    failed = []

    def save_often():
        try:
            for _ in range(50):
                conversation.store.save(session)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=save_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and SessionStore(settings).open(session.id).turns == []
    assert not list((settings.data_dir / "sessions" / session.id).glob("*.tmp"))
