"""Measure the reading of messages on written dialogues: `python -m chat_app evaluate`.

A turn is right when what it leads to is what a careful person's plan leads to: the same layers, masks, colours and
active layer, and the same reply. What was clicked and drawn comes with the turn. Each turn starts from the state that
the right plans before it made, so that one mistake counts once. The readers are measured together, and each alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from chat_app.graph import Conversation
from chat_app.measuring.dialogues import Dialogue, broken_expectations, load_dialogues, masks_of
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import Turn, TurnDone
from chat_app.plan import Plan
from chat_app.reading.planner import read_message, resolve
from chat_app.settings import Settings
from spex_model.imaging.scene import Scene
from spex_model.serving.protocol import Box, Generation, GenerationResult, Health, Point, Runtime
from spex_model.serving.states import KeepsStates, States
from spex_model.training.synthesis import evaluation_scene, synthesize, write_geotiff

log = logging.getLogger(__name__)

Reader = Literal["both", "model", "rules"]
READERS: dict[Reader, dict[str, bool]] = {
    "both": {"use_rules": True, "use_model_planner": True, "use_gist": True},
    "model": {"use_rules": False, "use_model_planner": True, "use_gist": False},
    "rules": {"use_rules": True, "use_model_planner": False, "use_gist": False},
}


@dataclass
class Score:
    """Right and wrong turns of one reader on one group of dialogues."""

    right: int = 0
    total: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.right / self.total:.1%} ({self.right}/{self.total})" if self.total else "-"


def write_scenes(folder: Path) -> dict[str, Path]:
    """The scenes that dialogues speak about, made anew: lakes, town, aerial and photo."""
    paths = {name: folder / f"{name}.tif" for name in ("lakes", "town", "aerial")}
    write_geotiff(paths["lakes"], evaluation_scene(9000))
    write_geotiff(paths["town"], evaluation_scene(9001))
    write_geotiff(paths["aerial"], synthesize(9101, size=384, gsd_m=1.0, sensor="naip"))
    photo = synthesize(9102, size=384, gsd_m=0.5, sensor="rgb").scene
    paths["photo"] = folder / "photo.png"
    Image.fromarray((photo.reflectance.transpose(1, 2, 0) * 255).round().astype("uint8")).save(paths["photo"])
    return paths


class _Remembering:
    """A runtime that asks another one once for each prompt and schema, and gives the same answer ever after."""

    def __init__(self, runtime: Runtime) -> None:
        self.name = runtime.name
        self._runtime = runtime
        self._said: dict[tuple[str | None, str, str], tuple[str, GenerationResult]] = {}
        self._painted: dict[str, npt.NDArray[np.float32]] = {}

    def describe_health(self) -> Health:
        return self._runtime.describe_health()

    def encode(self, scene: Scene) -> str:
        return self._runtime.encode(scene)

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        asked = image_id, prompt, json.dumps(json_schema)
        if asked not in self._said:
            answer = self._runtime.generate(image_id, prompt, max_tokens=max_tokens, json_schema=json_schema)
            text = answer.read()
            self._said[asked] = text, answer.result
            if image_id is not None:
                self._painted[answer.states_ref] = self._runtime.decode(image_id, answer.states_ref)
                self._keep_states(answer.states_ref)
        return Generation(self._repeat(*self._said[asked]))

    @staticmethod
    def _repeat(text: str, result: GenerationResult) -> Generator[str, None, GenerationResult]:
        yield text
        return result

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> npt.NDArray[np.float32]:
        if points or boxes:
            return self._runtime.decode(image_id, states_ref, points=points, boxes=boxes)
        return self._painted[states_ref]

    def _keep_states(self, states_ref: str) -> None:
        """Nothing, where the runtime gives none away."""

    def close(self) -> None:
        self._runtime.close()


class _RememberingStates(_Remembering):
    """Remembers the states of answers too, so that clicks reach the decoder as they do in the chat."""

    def __init__(self, runtime: Runtime, keeper: KeepsStates) -> None:
        super().__init__(runtime)
        self._keeper = keeper
        self._states: dict[str, States] = {}

    def _keep_states(self, states_ref: str) -> None:
        self._states[states_ref] = self._keeper.read_states(states_ref)

    def read_states(self, states_ref: str) -> States:
        return self._states[states_ref]

    def restore_states(self, states: States) -> str:
        return self._keeper.restore_states(states)


def remembering(runtime: Runtime) -> Runtime:
    """The runtime, asked once for each answer: trials then differ by their plans and by nothing else."""
    return _RememberingStates(runtime, runtime) if isinstance(runtime, KeepsStates) else _Remembering(runtime)


class _Trial:
    """One session in which plans are tried and taken back."""

    def __init__(self, conversation: Conversation, session: Session) -> None:
        self.conversation = conversation
        self.session = session

    def outcome(self, message: str, plan: Plan, marks: Marks) -> tuple[Turn, str]:
        """What a plan leads to: the turn, and a digest of everything that a person would see of it."""
        *_, done = self.conversation.run_turn(self.session.id, message, plan=plan, marks=marks)
        assert isinstance(done, TurnDone)
        return done.turn, self._digest(done.turn)

    def _digest(self, turn: Turn) -> str:
        digest = hashlib.sha256()
        for layer in self.session.layers:
            digest.update(repr((layer.name, layer.colour, layer.visible, layer.id == turn.active)).encode())
            digest.update(self.session.extraction(layer).mask.tobytes())
        scene = self.session.scene
        reply = "a question" if turn.plan is not None and turn.plan.intent == "clarify" else turn.reply
        digest.update(repr((scene.gsd_m, scene.bands, reply)).encode())
        return digest.hexdigest()

    def tried(self, message: str, plan: Plan, marks: Marks) -> tuple[Turn, str]:
        """Like `outcome`, and everything is put back as it was."""
        current, past, future = self.session.history
        turns, after = list(self.session.turns), list(self.session.after_turn)
        result = self.outcome(message, plan, marks)
        self.session.turns, self.session.after_turn = turns, after
        self.session.restore_history(current, past=list(past), future=list(future))
        return result


def _note(scores: dict[tuple[str, str], Score], reader: Reader, dialogue: Dialogue, good: bool) -> None:
    language = "en" if dialogue.language == "en" else "other languages"
    for group in ("all", language, "held out" if dialogue.held_out else "seen"):
        scores[reader, group].total += 1
        scores[reader, group].right += good


def _run_dialogue(
    conversation: Conversation,
    dialogue: Dialogue,
    image: Path,
    readers: Sequence[Reader],
    scores: dict[tuple[str, str], Score],
    odd: list[str],
) -> None:
    session = conversation.store.create(image)
    trial = _Trial(conversation, session)
    for number, turn in enumerate(dialogue.turns, start=1):
        meant, marks = {resolve(plan, session) for plan in turn.means}, turn.marks(session.scene.shape)
        right: set[str] = set()
        for reader in readers:
            settings = conversation.settings.model_copy(update=READERS[reader])
            reading = read_message(turn.say, session, conversation.runtime, settings)
            good = reading.plan in meant
            if not good:
                right = right or {digest for _, digest in (trial.tried(turn.say, plan, marks) for plan in meant)}
                good = trial.tried(turn.say, reading.plan, marks)[1] in right
            _note(scores, reader, dialogue, good)
            if not good:
                failure = f"{dialogue.name}/{number} [{reading.reader}] {turn.say!r}: {reading.plan.to_json()}, right: {turn.means[0].to_json()}"
                scores[reader, "all"].failures.append(failure)
        before = masks_of(session)
        done, _ = trial.outcome(turn.say, turn.means[0], marks)
        odd += [
            f"{dialogue.name}/{number} {turn.say!r}: {problem}"
            for problem in broken_expectations(turn.expect, done, session, before)
        ]
    conversation.store.delete(session.id)


def evaluate_dialogues(
    runtime: Runtime,
    folder: Path,
    settings: Settings,
    readers: Sequence[Reader] = ("both", "model", "rules"),
    every: int = 1,
) -> str:
    """Run all dialogues (or every n-th) and return the report as Markdown."""
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    odd: list[str] = []
    dialogues = load_dialogues(folder)[::every]
    with tempfile.TemporaryDirectory(prefix="spex-evaluate-") as scratch:
        images = write_scenes(Path(scratch))
        used = settings.model_copy(update={"data_dir": Path(scratch) / "data"})
        conversation = Conversation(used, remembering(runtime), SessionStore(used))
        for number, dialogue in enumerate(dialogues, start=1):
            _run_dialogue(conversation, dialogue, images[dialogue.scene], readers, scores, odd)
            log.info("%d of %d dialogues, both readers together: %s", number, len(dialogues), scores[readers[0], "all"])
    return _report(dialogues, readers, scores, odd)


def _report(
    dialogues: list[Dialogue], readers: Sequence[Reader], scores: dict[tuple[str, str], Score], odd: list[str]
) -> str:
    groups = ("all", "held out", "seen", "en", "other languages")
    turns = sum(len(dialogue.turns) for dialogue in dialogues)
    names = {"both": "rules, then the model", "model": "the language model alone", "rules": "rules alone"}
    lines = [
        f"# Right turns in {len(dialogues)} dialogues, {turns} turns",
        "",
        f"| reader | {' | '.join(groups)} |",
        f"|---|{'---|' * len(groups)}",
    ]
    lines += [
        f"| {names[reader]} | {' | '.join(str(scores[reader, group]) for group in groups)} |" for reader in readers
    ]
    for reader in readers:
        lines += [
            "",
            f"## Wrong turns: {names[reader]}",
            "",
            *(f"- {failure}" for failure in scores[reader, "all"].failures),
        ]
    lines += ["", "## Right plans whose outcome is not the expected one", "", *(f"- {problem}" for problem in odd)]
    return "\n".join(lines) + "\n"
