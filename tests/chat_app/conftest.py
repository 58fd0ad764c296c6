"""A session on a small synthetic scene, and a runtime that paints known masks in the model's place."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_app.graph import Conversation
from chat_app.memory.session import Session
from chat_app.memory.store import SessionStore
from chat_app.settings import Settings
from spex_model.imaging.indices import prior_for
from spex_model.imaging.scene import Scene
from spex_model.serving.errors import RuntimeUnavailable
from spex_model.serving.protocol import Box, Generation, GenerationResult, Health, Point
from spex_model.serving.states import States
from spex_model.training.synthesis import synthesize, write_geotiff

SPOKEN = "I see water in 3 regions. The largest is huge and lies in the center."


class PaintingRuntime:
    """A `Runtime` that says a fixed sentence and paints the index prior of the land cover it was asked for.

    `plans` are handed out to planning prompts in turn; `down` makes every call fail as a dead server would. An
    `obedient` one paints a square of 5 x 5 pixels around each click as the click asks; as a rule clicks change nothing.
    """

    name = "painting"

    def __init__(self) -> None:
        self.scenes: dict[str, Scene] = {}
        self.prompts: list[str] = []
        self.plans: list[str] = []
        self.spoken = SPOKEN
        self.down = False
        self.obedient = False
        self.clicks: list[tuple[Point, ...]] = []

    def describe_health(self) -> Health:
        return Health(not self.down, "paints priors")

    def encode(self, scene: Scene) -> str:
        self._check()
        self.scenes[scene.id] = scene
        return scene.id

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        self._check()
        self.prompts.append(prompt)
        text = self.plans.pop(0) if json_schema is not None else self.spoken
        return Generation(self._speak(text, prompt))

    def _speak(self, text: str, prompt: str) -> Generator[str, None, GenerationResult]:
        for word in text.split(" "):
            yield word + " "
        return GenerationResult(prompt.split("\n")[0], 5, "stop", 20)

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> np.ndarray:
        self._check()
        land_cover = states_ref.removeprefix("Describe the ").rstrip(".")
        mask = prior_for(self.scenes[image_id], land_cover).mask
        logits = np.where(mask, 4.0, -4.0).astype(np.float32)
        self.clicks.append(tuple(points))
        for row, col, positive in points if self.obedient else ():
            logits[max(0, int(row) - 2) : int(row) + 3, max(0, int(col) - 2) : int(col) + 3] = 4 if positive else -4
        return logits

    def read_states(self, states_ref: str) -> States:
        return np.frombuffer(states_ref.encode(), np.uint8).astype(np.float32)[None]

    def restore_states(self, states: States) -> str:
        return bytes(states[0].astype(np.uint8)).decode()

    def close(self) -> None:
        self.scenes.clear()

    def _check(self) -> None:
        if self.down:
            raise RuntimeUnavailable("The model does not answer.")


@pytest.fixture(scope="session")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A georeferenced ten-band scene of 160 x 160 pixels of 10 m with three lakes, a town, forest and fields."""
    path = tmp_path_factory.mktemp("scenes") / "lakes.tif"
    write_geotiff(path, synthesize(77, size=160, whole=True))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", max_message_chars=2000)


@pytest.fixture
def runtime() -> PaintingRuntime:
    return PaintingRuntime()


@pytest.fixture
def conversation(settings: Settings, runtime: PaintingRuntime) -> Iterator[Conversation]:
    talk = Conversation(settings, runtime, SessionStore(settings))
    yield talk
    talk.close()


@pytest.fixture
def session(conversation: Conversation, scene_file: Path) -> Session:
    return conversation.store.create(scene_file)
