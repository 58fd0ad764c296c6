"""One message through the house: plan -> extract, refine, act or answer -> reply, as a LangGraph graph."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

from chat_app.acting import actions
from chat_app.acting.change import find_change, show_change
from chat_app.acting.extract import Found, extract
from chat_app.acting.painting import painter
from chat_app.acting.refine import Paint, refine
from chat_app.answering import answers, explain, facts
from chat_app.answering.change_words import found_change_words
from chat_app.answering.checking import check_words
from chat_app.answering.marked_words import why_in_vain
from chat_app.errors import ChatError, MessageError, PlanError
from chat_app.memory.checkpoints import close_checkpointer, open_checkpointer
from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.session import Session
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import Event, LayerReady, TextDelta, Turn, TurnDone
from chat_app.outcome import Outcome
from chat_app.page.turn_thread import RunningTurn
from chat_app.plan import Plan
from chat_app.reading import spelling
from chat_app.reading.planner import ask_model, read_message, resolve
from chat_app.settings import Settings
from chat_app.steps import RefinementStep
from chat_app.turn_state import WORK, TurnState, begin, check_message, marks_of, route
from spex_model.imaging.errors import ImagingError
from spex_model.serving.errors import ServingError
from spex_model.serving.protocol import Runtime

log = logging.getLogger(__name__)

_SENTENCES = (ChatError, ImagingError, ServingError)


class Stopped(Exception):
    """The person stopped the turn, or left."""


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
        """Load dictionaries and let the model read one message, so that the first person need not wait for them."""
        spelling.warm_up()
        if self.runtime is None or not self.settings.use_model_planner:
            return
        try:
            ask_model("hello", [], None, self.runtime, self.settings)
        except (ServingError, PlanError) as error:
            log.info("warming up failed: %s", error)

    def _build(self) -> StateGraph[TurnState]:
        graph = StateGraph(TurnState)
        graph.add_node("plan", self._plan)
        graph.add_node("extract", self._guarded(self._extract))
        graph.add_node("refine", self._guarded(self._refine))
        graph.add_node("change", self._guarded(self._change))
        graph.add_node("act", self._guarded(self._act))
        graph.add_node("answer", self._guarded(self._answer))
        graph.add_node("reply", self._reply)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", route, list(WORK))
        for node in WORK:
            graph.add_edge(node, "reply")
        graph.add_edge("reply", END)
        return graph

    def run_turn(
        self, session_id: str, message: str, *, marks: Marks = NO_MARKS, plan: Plan | None = None
    ) -> Iterator[Event]:
        """Answer one message: TextDelta as text is written, LayerReady for each new mask, TurnDone at the end.

        `marks` are what the person clicked and drew in the picture. A given `plan` is done without reading the message.
        Raises SessionNotFound for a session that is unknown or is deleted meanwhile; whatever else goes wrong becomes
        a sentence in the turn. Closing the iterator stops the turn and leaves no change.
        """
        turn = self.start_turn(session_id, message, marks=marks, plan=plan)
        try:
            yield from turn.events()
        finally:
            turn.stop()

    def start_turn(
        self, session_id: str, message: str, *, marks: Marks = NO_MARKS, plan: Plan | None = None
    ) -> RunningTurn:
        """Like `run_turn`, but the turn begins at once and goes on when nobody listens any more."""
        session = self.store.open(session_id)

        def work(emit: Callable[[Event], None], stop: threading.Event) -> None:
            with self.store.on_record(session_id, message) as pending_id, session.lock:
                session.check_kept()
                self._stops[session_id] = stop
                try:
                    turn = self._run(session, message, marks, plan, emit, pending_id)
                finally:
                    del self._stops[session_id]
            emit(TurnDone(turn))

        return RunningTurn(f"turn-{session_id[:8]}", work)

    def _run(
        self,
        session: Session,
        message: str,
        marks: Marks,
        plan: Plan | None,
        emit: Callable[[Event], None],
        pending_id: str,
    ) -> Turn:
        began = time.monotonic()
        state = begin(session.id, message, marks, plan)
        try:
            check_message(message, self.settings)
            config: Any = {"configurable": {"thread_id": session.id}}
            given: Any = state
            for event in self._graph.stream(given, config, stream_mode="custom"):
                emit(cast(Event, event))
            state = cast(TurnState, self._graph.get_state(config).values)
        except (MessageError, Stopped) as error:
            state |= {"reply": str(error), "error": str(error)}
        except Exception as error:
            log.exception("a turn failed")
            sentence = "Something went wrong while I worked on that; nothing was changed. Please try it another way."
            state |= {"reply": sentence, "error": f"{sentence} ({type(error).__name__})"}
        return self._record(session, state, time.monotonic() - began, pending_id)

    def _record(self, session: Session, state: TurnState, seconds: float, pending_id: str) -> Turn:
        session.check_kept()
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
            pending_id=pending_id,
        )
        session.close_turn(turn)
        self.store.save(session)
        log.info("turn %d of %s, read by %s: %.2f s", turn.number, session.id[:8], turn.reader, seconds)
        return turn

    def _plan(self, state: TurnState) -> dict[str, Any]:
        session = self.store.open(state["session_id"])
        if state["plan"]:
            plan, reader = resolve(Plan.model_validate(state["plan"]), session), "none"
        else:
            reading = read_message(state["message"], session, self.runtime, self.settings)
            plan, reader = reading.plan, reading.reader
        marked = marks_of(state).fill_in(plan.steps)
        return {"plan": plan.model_copy(update={"steps": marked}).to_dict(), "reader": reader}

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
        write, say = get_stream_writer(), self._teller(session)
        found, steps = [], actions.steps_meant(plan, session)
        with actions.correcting(plan, session) as taken_back:
            for number, land_cover in enumerate(plan.land_covers):
                if number:
                    write(TextDelta("\n\n"))
                found.append(extract(session, land_cover, self.runtime, self.settings, index=plan.index, say=say))
            paint = painter(session, self.runtime)
            with session.change(f"extract {' and '.join(plan.land_covers)}"):
                results = [_show(session, one, steps, paint) for one in found]
        for layer_id, _, _ in results:
            write(LayerReady(layer_id))
        measured = {facts_["layer"]: facts_ for _, facts_, _ in results}
        return Outcome(
            taken_back + "\n\n".join(reply for _, _, reply in results),
            next(iter(measured.values())) if len(measured) == 1 else {"layers": measured},
            tuple(layer_id for layer_id, _, _ in results),
            model_text="\n\n".join(one.model_text for one in found),
        )

    def _teller(self, session: Session) -> Callable[[str], None]:
        """Passes text on as it is written, and ends the turn when it was stopped."""
        write, stop = get_stream_writer(), self._stops.get(session.id)

        def say(delta: str) -> None:
            session.check_kept()
            if stop is not None and stop.is_set():
                raise Stopped("Stopped before it was done; nothing was changed.")
            write(TextDelta(delta))

        return say

    def _change(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        layer, write = session.find_layer(plan.target), get_stream_writer()
        change = find_change(session, layer, self.runtime, self.settings, self._teller(session))
        with session.change("compare with another image"):
            shown = show_change(session, layer, change)
        for one in shown:
            write(LayerReady(one.id))
        changed = tuple(one.id for one in shown)
        return Outcome(found_change_words(change.facts), {"change": change.facts}, changed)

    def _refine(self, plan: Plan, session: Session, state: TurnState) -> Outcome:
        outcome = actions.apply_refinement(plan, session, self.runtime)
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
        close_checkpointer(self._checkpointer)


def _show(
    session: Session, found: Found, steps: Sequence[RefinementStep], paint: Paint | None
) -> tuple[str, dict[str, Any], str]:
    """Put an extraction on the layer list: the layer's id, its facts, and the words for them."""
    layer = session.add_layer(found.extraction)
    measured = facts.layer_facts(session, layer)
    model_text, dropped = check_words(found.model_text, measured, found.prior_regions, found.prompt_evidence)
    for sentence in dropped:
        log.info("a sentence of the model is corrected or dropped by the measurement: %s", sentence)
    reply = explain.extract_words(model_text, measured, found.extraction.evidence, found.extraction.method)
    if found.trouble:
        reply = f"{found.trouble} {reply}"
    if steps:
        refined = refine(found.extraction, tuple(steps), session, paint)
        layer = session.replace_extraction(layer, refined)
        after = facts.layer_facts(session, layer)
        why = why_in_vain(steps, found.extraction.mask, refined.mask, layer.name, session.scene.valid)
        reply += " " + explain.change_words(measured, after, ", then ".join(map(actions.step_words, steps)), why)
        measured = after
    return layer.id, measured, reply
