"""Where LangGraph keeps the state of conversations: SQLite in the data folder, or PostgreSQL by a setting."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any
from urllib.parse import urlsplit

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from chat_app.errors import DatabaseUnavailable
from chat_app.settings import Settings

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 8
"""As many turns reach the database at once; further ones wait for a connection."""


def open_checkpointer(settings: Settings) -> BaseCheckpointSaver[Any]:
    """The checkpointer that the settings ask for; its tables are made where they lack.

    Raises DatabaseUnavailable when PostgreSQL is asked for and can't be reached, or its packages are not installed.
    """
    if settings.database_url is not None:
        return _open_postgres(settings.database_url.get_secret_value())
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(settings.data_dir / "conversations.sqlite", check_same_thread=False)
    return SqliteSaver(connection)


def close_checkpointer(checkpointer: BaseCheckpointSaver[Any]) -> None:
    """Close the connections of a checkpointer that `open_checkpointer` opened."""
    connection = getattr(checkpointer, "conn", None)
    if connection is not None:
        connection.close()


def _open_postgres(url: str) -> BaseCheckpointSaver[Any]:
    try:
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg import Error
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool, PoolTimeout
    except ImportError as error:
        raise DatabaseUnavailable(
            "SPEX_DATABASE_URL asks for PostgreSQL, and its packages are not installed: run `make run`, or `pip install -r requirements.txt`."
        ) from error
    # Autocommit and rows as dictionaries are what the saver asks for.
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = ConnectionPool(url, kwargs=options, min_size=1, max_size=MAX_CONNECTIONS, open=False, name="spex-chat")
    try:
        pool.open(wait=True, timeout=CONNECT_SECONDS)
        saver = PostgresSaver(pool)
        saver.setup()
    except (Error, PoolTimeout) as error:
        pool.close()
        raise DatabaseUnavailable(
            f"The database at {_place(url)} can't be used; check SPEX_DATABASE_URL and that PostgreSQL runs."
        ) from error
    return saver


def _place(url: str) -> str:
    """Host and database of an address, without user and password."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'the local socket'}{parts.path}"
    except ValueError:
        return "the given address"
