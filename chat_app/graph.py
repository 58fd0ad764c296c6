"""One message through the house: plan -> extract, refine, act or answer -> reply, as a LangGraph graph."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

from chat_app import actions, answers, explain, facts
from chat_app.errors import ChatError, MessageError, PlanError, SessionNotFound
from chat_app.extract import Found, extract
from chat_app.outcome import Outcome
from chat_app.plan import Plan
from chat_app.planner import ask_model, read_message, resolve
from chat_app.refine import refine
from chat_app.session import Session
from chat_app.settings import Settings
from chat_app.steps import RefinementStep
from chat_app.store import SessionStore
from chat_app.turns import Event, LayerReady, TextDelta, Turn, TurnDone
from spex_model.imaging.errors import ImagingError
from spex_model.serving.errors import ServingError
from spex_model.serving.protocol import Runtime

log = logging.getLogger(__name__)

_ANSWERED = frozenset(
    {
        "measure",
        "count",
        "locate",
        "list",
        "describe",
        "explain",
        "compare",
        "help",
        "small_talk",
        "out_of_scope",
        "clarify",
    }
)
_SENTENCES = (ChatError, ImagingError, ServingError)


class TurnState(TypedDict, total=False):
    """What the graph carries and the checkpointer stores: ids and text, never arrays."""

    session_id: str
    message: str
    points: list[tuple[int, int]]
    plan: dict[str, Any]
    reader: str
    reply: str
    facts: dict[str, Any]
    changed: list[str]
    options: list[str]
    error: str | None
    model_text: str


class Stopped(Exception):
    """The person stopped the turn, or left."""


def open_checkpointer(settings: Settings) -> BaseCheckpointSaver[Any]:
    """The SQLite checkpointer under the data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(settings.data_dir / "conversations.sqlite", check_same_thread=False)
    return SqliteSaver(connection)


class Conversation:
    """Answers messages about the sessions of a store.

    >>> for event in conversation.run_turn(session.id, "show me the water"):
    ...     show(event)

    Turns of one session run one after the other, those of different sessions side by side.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime | None,
        store: SessionStore | None = None,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.store = store or SessionStore(settings)
        self._checkpointer = checkpointer or open_checkpointer(settings)
        self._graph = self._build().compile(checkpointer=self._checkpointer)
        self._stops: dict[str, threading.Event] = {}
        self.store.on_delete.append(self._checkpointer.delete_thread)

    def warm_up(self) -> None:
        """Let the model read one message, so that the first person does not wait for the grammar of plans to be built."""
        if self.runtime is None or not self.settings.use_model_planner:
            return
        try:
            ask_model("hello", [], self.runtime, self.settings)
        except (ServingError, PlanError) as error:
            log.info("warming up failed: %s", error)

    def _build(self) -> StateGraph[TurnState]:
        graph = StateGraph(TurnState)
        graph.add_node("plan", self._plan)
        graph.add_node("extract", self._guarded(self._extract))
        graph.add_node("refine", self._guarded(self._refine))
        graph.add_node("act", self._guarded(self._act))
        graph.add_node("answer", self._guarded(self._answer))
        graph.add_node("reply", self._reply)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", _route, ["extract", "refine", "act", "answer"])
        for node in ("extract", "refine", "act", "answer"):
            graph.add_edge(node, "reply")
        graph.add_edge("reply", END)
        return graph

    def run_turn(
        self, session_id: str, message: str, *, points: Sequence[tuple[int, int]] = (), plan: Plan | None = None
    ) -> Iterator[Event]:
        """Answer one message: TextDelta as text is written, LayerReady for each new mask, TurnDone at the end.

        points are clicked (row, column) pixels of the scene. A given `plan` is done without reading the message.
        Raises SessionNotFound for an unknown session; whatever
        else goes wrong becomes a sentence in the turn. Closing the iterator stops the turn and leaves no change.
        """
        session = self.store.open(session_id)
        events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        stop = threading.Event()

        def work() -> None:
            try:
                with session.lock:
                    self._stops[session_id] = stop
                    try:
                        self._run(session, message, points, plan, events.put)
                    finally:
                        del self._stops[session_id]
            except BaseException as error:
                events.put(error)
            finally:
                events.put(None)

        threading.Thread(target=work, name=f"turn-{session_id[:8]}", daemon=True).start()
        try:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            stop.set()

    def _run(
        self,
        session: Session,
        message: str,
        points: Sequence[tuple[int, int]],
        plan: Plan | None,
        emit: Callable[[Event], None],
    ) -> None:
        began = time.monotonic()
        state: TurnState = {"session_id": session.id, "message": message, "points": list(points)}
        try:
            _check_message(message, self.settings)
            config: Any = {"configurable": {"thread_id": session.id}}
            fresh: TurnState = {
                "plan": plan.to_dict() if plan else {},
                "reply": "",
                "facts": {},
                "changed": [],
                "options": [],
                "error": None,
                "model_text": "",
                "reader": "none",
            }
            given: Any = {**fresh, **state}
            for event in self._graph.stream(given, config, stream_mode="custom"):
                emit(cast(Event, event))
            state = cast(TurnState, self._graph.get_state(config).values)
        except (MessageError, Stopped) as error:
            state |= {"reply": str(error), "error": str(error)}
        except Exception as error:
            log.exception("a turn failed")
            sentence = "Something went wrong while I worked on that; nothing was changed. Please try it another way."
            state |= {"reply": sentence, "error": f"{sentence} ({type(error).__name__})"}
        emit(TurnDone(self._record(session, state, time.monotonic() - began)))

    def _record(self, session: Session, state: TurnState, seconds: float) -> Turn:
        active = session.active_layer
        turn = Turn(
            number=len(session.turns) + 1,
            message=state["message"],
            reply=state["reply"],
            plan=Plan.model_validate(state["plan"]) if state.get("plan") else None,
            reader=state.get("reader", "none"),  # type: ignore[arg-type]
            layer_ids=tuple(layer.id for layer in session.layers),
            changed=tuple(state.get("changed", ())),
            active=active.id if active else None,
            facts=state.get("facts", {}),
            seconds=round(seconds, 3),
            error=state.get("error"),
            options=tuple(state.get("options", ())),
            model_text=state.get("model_text", ""),
        )
        session.close_turn(turn)
        self.store.save(session)
        log.info("turn %d of %s, read by %s: %.2f s", turn.number, session.id[:8], turn.reader, seconds)
        return turn

    def _plan(self, state: TurnState) -> dict[str, Any]:
        session = self.store.open(state["session_id"])
        if state["plan"]:
            return {"plan": resolve(Plan.model_validate(state["plan"]), session).to_dict()}
        reading = read_message(state["message"], session, self.runtime, self.settings)
        return {"plan": reading.plan.to_dict(), "reader": reading.reader}

    def _guarded(self, work: Callable[[Plan, Session, TurnState], Outcome]) -> Any:
        """A node that turns errors with a sentence into the reply; the session is as it was before."""

        def node(state: TurnState) -> dict[str, Any]:
            session = self.store.open(state["session_id"])
            try:
                outcome = work(Plan.model_validate(state["plan"]), session, state)
            except _SENTENCES as error:
                log.info("cannot be done: %s", error, exc_info=error.__cause__)
                return {"reply": str(error), "error": str(error)}
            return {
                "reply": outcome.reply, "facts": outcome.facts, "changed": list(outcome.changed), "options": list(outcome.options),
                "error": outcome.error, "model_text": outcome.model_text,
            }  # fmt: skip

        return node

    def _extract(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        write = get_stream_writer()
        stop = self._stops.get(session.id)

        def say(delta: str) -> None:
            if stop is not None and stop.is_set():
                raise Stopped("Stopped before it was done; nothing was changed.")
            write(TextDelta(delta))

        if plan.correction and session.can_undo:
            session.undo()
        found = []
        for number, land_cover in enumerate(plan.land_covers):
            if number:
                write(TextDelta("\n\n"))
            found.append(extract(session, land_cover, self.runtime, self.settings, index=plan.index, say=say))
        steps = actions.with_points(plan.steps, state["points"])
        with session.change(f"extract {' and '.join(plan.land_covers)}"):
            results = [_show(session, one, steps) for one in found]
        for layer_id, _, _ in results:
            write(LayerReady(layer_id))
        measured = {facts_["layer"]: facts_ for _, facts_, _ in results}
        return Outcome(
            "\n\n".join(reply for _, _, reply in results),
            next(iter(measured.values())) if len(measured) == 1 else {"layers": measured},
            tuple(layer_id for layer_id, _, _ in results),
            model_text="\n\n".join(one.model_text for one in found),
        )

    def _refine(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        outcome = actions.apply_refinement(plan, session, state["points"])
        for layer_id in outcome.changed:
            get_stream_writer()(LayerReady(layer_id))
        return outcome

    def _act(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        return actions.act(plan, session, self.settings.data_dir / "exports" / session.id)

    def _answer(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        return answers.answer(plan, session)

    def _reply(self, state: TurnState) -> dict[str, Any]:
        """The last word: a reply is never empty."""
        return {"reply": state["reply"].strip() or "Done."}

    def close(self) -> None:
        """Free the runtime and the database."""
        if self.runtime is not None:
            self.runtime.close()
        if isinstance(self._checkpointer, SqliteSaver):
            self._checkpointer.conn.close()


def _route(state: TurnState) -> str:
    intent = state["plan"]["intent"]
    if intent in ("extract", "refine"):
        return intent
    return "answer" if intent in _ANSWERED else "act"


def _check_message(message: str, settings: Settings) -> None:
    if not message.strip():
        raise MessageError('The message is empty. Say what you want to see, for example "show me the water".')
    if len(message) > settings.max_message_chars:
        raise MessageError(
            f"The message has {len(message):,} characters; up to {settings.max_message_chars:,} are read. Please say it shorter."
        )


def _show(session: Session, found: Found, steps: Sequence[RefinementStep]) -> tuple[str, dict[str, Any], str]:
    """Put an extraction on the layer list: the layer's id, its facts, and the words for them."""
    layer = session.add_layer(found.extraction)
    measured = facts.layer_facts(session, layer)
    model_text, dropped = explain.check_words(found.model_text, measured, found.prior_regions)
    for sentence in dropped:
        log.info("a sentence of the model is corrected or dropped by the measurement: %s", sentence)
    reply = explain.extract_words(model_text, measured, found.extraction.evidence, found.extraction.method)
    if found.trouble:
        reply = f"{found.trouble} {reply}"
    if steps:
        layer = session.replace_extraction(layer, refine(found.extraction, tuple(steps), session))
        after = facts.layer_facts(session, layer)
        reply += " " + explain.change_words(measured, after, ", then ".join(map(actions.step_words, steps)))
        measured = after
    return layer.id, measured, reply


__all__ = ["Conversation", "SessionNotFound", "Stopped", "TurnState", "open_checkpointer"]
