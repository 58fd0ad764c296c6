"""The practice dialogues: they hold to their format, and the right plans lead to what they expect."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from chat_app.errors import PlanError
from chat_app.graph import Conversation
from chat_app.measuring.dialogues import DialogueTurn, broken_expectations, load_dialogues, masks_of
from chat_app.measuring.evaluate import write_scenes
from chat_app.memory.marks import ON_AREA, ON_POINTS
from chat_app.memory.session import Session
from chat_app.memory.turns import TurnDone
from chat_app.plan import INTENTS
from chat_app.reading.planner import resolve, view_layers
from chat_app.reading.repair import repair
from chat_app.steps import RefinementStep

SEEN = Path(__file__).parents[2] / "dialogues" / "seen"
STEPS = {kind.model_fields["op"].default for kind in get_args(get_args(RefinementStep)[0])}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def test_the_dialogues_cover_every_intent_and_step():
    dialogues = load_dialogues(SEEN)
    plans = [plan for dialogue in dialogues for turn in dialogue.turns for plan in turn.means]
    assert not [name for name, count in Counter(dialogue.name for dialogue in dialogues).items() if count > 1]
    assert all(5 <= len(dialogue.turns) <= 8 and not dialogue.held_out for dialogue in dialogues)
    # what needs a second image is no matter of a written dialogue
    assert {plan.intent for plan in plans} == set(INTENTS) - {"change"}
    assert {step.op for plan in plans for step in plan.steps} == STEPS
    marked = [turn for dialogue in dialogues for turn in dialogue.turns if turn.clicks or turn.box or turn.polygon]
    assert {step.op for turn in marked for plan in turn.means for step in plan.steps} == ON_POINTS | ON_AREA
    assert {turn.expect.mask for dialogue in dialogues for turn in dialogue.turns} == {"found", "empty", None}


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
            marks = turn.marks(session.scene.shape)
            before = masks_of(session)
            *_, done = conversation.run_turn(session.id, turn.say, plan=turn.means[0], marks=marks)
            assert isinstance(done, TurnDone)
            problems = broken_expectations(turn.expect, done.turn, session, before)
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
