"""The practice dialogues: they hold to their format, and the right plans lead to what they expect."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from chat_app.errors import PlanError
from chat_app.graph import Conversation
from chat_app.measuring.evaluate import DialogueTurn, _broken_expectations, load_dialogues, write_scenes
from chat_app.memory.session import Session
from chat_app.memory.turns import TurnDone
from chat_app.plan import INTENTS
from chat_app.reading.planner import resolve, view_layers
from chat_app.reading.repair import repair
from chat_app.steps import RefinementStep

SEEN = Path(__file__).parents[2] / "dialogues" / "seen"
EXPECTABLE = {"layers", "active", "regions", "error", "asks", "reply_has", "mask"}
STEPS = {kind.model_fields["op"].default for kind in get_args(get_args(RefinementStep)[0])}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def test_the_dialogues_cover_every_intent_and_step():
    dialogues = load_dialogues(SEEN)
    plans = [plan for dialogue in dialogues for turn in dialogue.turns for plan in turn.means]
    assert not [name for name, count in Counter(dialogue.name for dialogue in dialogues).items() if count > 1]
    assert all(5 <= len(dialogue.turns) <= 8 and not dialogue.held_out for dialogue in dialogues)
    assert {key for dialogue in dialogues for turn in dialogue.turns for key in turn.expect} <= EXPECTABLE
    # what needs a second image is no matter of a written dialogue
    assert {plan.intent for plan in plans} == set(INTENTS) - {"change"}
    assert {step.op for plan in plans for step in plan.steps} == STEPS


@pytest.mark.parametrize("file", [pytest.param(path, id=path.stem) for path in sorted(SEEN.glob("*.yaml"))])
def test_right_plans_meet_the_expectations(
    file: Path, images: dict[str, Path], conversation: Conversation, tmp_path: Path
):
    alone = tmp_path / "one"
    alone.mkdir()
    (alone / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    odd = []
    for dialogue in load_dialogues(alone):
        session = conversation.store.create(images[dialogue.scene])
        for number, turn in enumerate(dialogue.turns, start=1):
            odd += [f"{dialogue.name}/{number} {turn.say!r}: {problem}" for problem in _misread(turn, session)]
            *_, done = conversation.run_turn(session.id, turn.say, plan=turn.means[0])
            assert isinstance(done, TurnDone)
            problems = list(_broken_expectations(turn.expect, done.turn, session))
            if done.turn.error and not turn.expect.get("error"):
                problems.append(done.turn.error)
            if "mask" in turn.expect and turn.expect["mask"] != _mask_state(session):
                problems.append(f"the mask is {_mask_state(session)}, expected {turn.expect['mask']}")
            odd += [f"{dialogue.name}/{number} {turn.say!r}: {problem}" for problem in problems]
    assert not odd


def _misread(turn: DialogueTurn, session: Session) -> Iterator[str]:
    """What holding a right plan to the message's words would spoil."""
    layers, last = view_layers(session), session.turns[-1].plan if session.turns else None
    try:
        held = repair(turn.means[0], turn.say, layers, last)
    except PlanError as error:
        yield f"the right plan is refused: {error}"
        return
    if resolve(held, session) not in {resolve(plan, session) for plan in turn.means}:
        yield f"the right plan becomes {held.to_json()}"


def _mask_state(session: Session) -> str:
    active = session.active_layer
    return "found" if active is not None and session.extraction(active).mask.any() else "empty"
