"""Conversations in a real PostgreSQL of its own, on a socket in a temporary folder; skipped where there is none."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from chat_app.errors import DatabaseUnavailable
from chat_app.graph import Conversation
from chat_app.memory.checkpoints import open_checkpointer
from chat_app.memory.store import SessionStore
from chat_app.settings import Settings


def find_program(name):
    """A PostgreSQL program: on the path, or where Debian puts it."""
    places = [Path(found)] if (found := shutil.which(name)) else []
    places += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return places[0].resolve() if places else None


def needs():
    """Why no server can be started here; "" when it can."""
    if find_program("initdb") is None or find_program("pg_ctl") is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and (
        "postgres" not in {user.pw_name for user in pwd.getpwall()} or not shutil.which("runuser")
    ):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


@pytest.fixture(scope="module")
def database_url():
    if reason := needs():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="spex-pg-"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")

    def run(program, *arguments):
        command = [*as_user, str(find_program(program)), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    run("initdb", "-D", str(folder / "data"), "-U", "spex", "--auth=trust", "-E", "UTF8", "--no-sync")
    listen = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", listen, "-w", "start")
    try:
        yield f"postgresql:///postgres?host={folder}&user=spex"
    finally:
        run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def in_postgres(database_url, tmp_path):
    return Settings(data_dir=tmp_path / "data", database_url=database_url)


def count_rows(url, table):
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_conversation_lives_in_postgres_and_survives_a_restart(in_postgres, database_url, runtime, scene_file):
    talk = Conversation(in_postgres, runtime, SessionStore(in_postgres))
    session = talk.store.create(scene_file)
    for message in ("show me the water", "only the biggest one"):
        assert list(talk.run_turn(session.id, message))[-1].turn.error is None
    talk.close()
    assert count_rows(database_url, "checkpoints") > 0 and not (in_postgres.data_dir / "conversations.sqlite").exists()
    again = Conversation(in_postgres, runtime, SessionStore(in_postgres))
    assert list(again.run_turn(session.id, "undo"))[-1].turn.error is None
    again.store.delete(session.id)
    again.close()
    assert [count_rows(database_url, table) for table in ("checkpoints", "checkpoint_writes")] == [0, 0]


def test_a_database_that_is_not_there_is_a_sentence_without_the_password(tmp_path, monkeypatch):
    monkeypatch.setattr("chat_app.memory.checkpoints.CONNECT_SECONDS", 0.5)
    url = "postgresql://spex:secret@127.0.0.1:1/chats"
    settings = Settings(data_dir=tmp_path, database_url=url)
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1/chats") as caught:
        open_checkpointer(settings)
    assert "secret" not in str(caught.value) and "secret" not in repr(settings)
