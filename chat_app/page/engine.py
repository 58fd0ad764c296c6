"""What stands behind the page: the session store at once, the conversation as soon as the model is loaded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from chat_app.errors import ChatError
from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.store import SessionStore
from chat_app.page.status import Status
from chat_app.page.turn_thread import RunningTurn
from chat_app.settings import Settings
from spex_model.serving import Runtime, load_runtime
from spex_model.serving.errors import ServingError

log = logging.getLogger(__name__)

HEALTH_SECONDS = 3.0
"""A health report is asked for at most this often, however many pages are open."""
RETRY_SECONDS = 15.0


class Talks(Protocol):
    """What the page needs of a conversation: `chat_app.graph.Conversation`, or a fake of it."""

    runtime: Runtime | None

    def start_turn(self, session_id: str, message: str, *, marks: Marks = NO_MARKS) -> RunningTurn:
        """Begin to answer one message."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def load_conversation(settings: Settings, store: SessionStore) -> Talks:
    """Load the runtime that the settings ask for, which takes a while, and the conversation on it."""
    from chat_app.graph import Conversation

    runtime = load_runtime(
        settings.runtime,
        checkpoint=settings.checkpoint,
        cache_dir=settings.cache_dir,
        vllm_url=settings.vllm_url,
        mask_url=settings.mask_url,
        request_timeout_s=settings.request_timeout_s,
        device=settings.device,
    )
    conversation = Conversation(settings, runtime, store)
    conversation.warm_up()
    return conversation


class Engine:
    """Loads the conversation in a thread of its own, and tries again when that fails.

    >>> engine = Engine(settings)
    >>> engine.start()
    >>> engine.status().text
    'The model is starting; ...'
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[Settings, SessionStore], Talks] = load_conversation,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.settings = settings
        self.store = SessionStore(settings)
        self._load = load
        self._retry_seconds = retry_seconds
        self._conversation: Talks | None = None
        self._problem = ""
        self._loaded = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_loading, name="load-model", daemon=True)
        self._health: tuple[float, Status] | None = None

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop trying to load and free the conversation."""
        self._closed.set()
        if self._conversation is not None:
            self._conversation.close()

    @property
    def conversation(self) -> Talks | None:
        """The conversation, or None while the model is loading."""
        return self._conversation

    @property
    def problem(self) -> str:
        """Why the last try to load the model failed; "" when none did."""
        return self._problem

    def wait(self, seconds: float) -> bool:
        """Wait for the model, and tell whether it is there."""
        return self._loaded.wait(seconds)

    def status(self) -> Status:
        """How the model is now, at most some seconds old."""
        if self._conversation is None:
            if self._problem:
                return Status("down", f"{self._problem} Your session is safe; trying again by itself.")
            return Status("starting", "The model is starting; you can open an image meanwhile, your session is safe.")
        if self._health is None or time.monotonic() - self._health[0] > HEALTH_SECONDS:
            self._health = (time.monotonic(), self._ask_health(self._conversation.runtime))
        return self._health[1]

    def _ask_health(self, runtime: Runtime | None) -> Status:
        if runtime is None:
            return Status("down", "There is no model; masks come from spectral indices alone.")
        try:
            health = runtime.describe_health()
        except ServingError as error:
            return Status("down", f"{error} Your session is safe; this page recovers by itself.")
        if health.ready:
            return Status("ready", f"{runtime.name.capitalize()} model ready. {health.detail}")
        return Status("down", f"The model is restarting: {health.detail} Your session is safe.")

    def _keep_loading(self) -> None:
        while not self._closed.is_set():
            try:
                self._conversation = self._load(self.settings, self.store)
            except (ServingError, ChatError) as error:
                log.warning("the model can't be loaded", exc_info=error)
                self._problem = str(error)
            except Exception as error:
                log.exception("loading the model failed")
                self._problem = f"The model can't be loaded ({type(error).__name__}); the log tells more."
            else:
                self._problem = ""
                self._loaded.set()
                return
            self._closed.wait(self._retry_seconds)
