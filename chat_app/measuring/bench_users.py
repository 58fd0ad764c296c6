"""Simulated people for the benchmark, and a runtime that notes what each model call takes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio

from chat_app.graph import Conversation
from chat_app.memory.turns import LayerReady, TextDelta, TurnDone
from chat_app.prompts import render
from chat_app.settings import Settings
from spex_model.imaging.scene import Scene
from spex_model.imaging.spectral_words import put_into_words
from spex_model.serving.protocol import Generation, GenerationResult, Health, Runtime
from spex_model.serving.states import KeepsStates, States

MESSAGES = (
    "show me the water",
    "only the biggest one",
    "could you perhaps make the outline nicer and less ragged",
    "how many hectares is that?",
    "show me the trees",
    "why do you think so?",
    "I would rather not see the small scraps, anything below half a hectare can go",
    "how much of the image is that?",
    "show me the water again",
    "start over",
)
"""One round of a session: extractions, refinements by rules and by the model, questions, and a fresh start."""
COVERS = ("water", "trees", "buildings")


@dataclass
class Call:
    """One generation, times in seconds of `time.perf_counter`."""

    about_image: bool
    started: float
    first_token: float = 0.0
    ended: float = 0.0
    tokens: int = 0
    painted: float = 0.0


@dataclass
class Log:
    """What happened to all users together."""

    calls: list[Call] = field(default_factory=list)
    first_text_s: list[float] = field(default_factory=list)
    mask_s: list[float] = field(default_factory=list)
    turn_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class MeasuredRuntime:
    """A `Runtime` that passes everything on to another one and notes how long it takes."""

    def __init__(self, runtime: Runtime, log: Log) -> None:
        self.name = runtime.name
        self._runtime = runtime
        self._log = log
        self._by_states: dict[str, Call] = {}

    def describe_health(self) -> Health:
        """As the runtime does."""
        return self._runtime.describe_health()

    def encode(self, scene: Scene) -> str:
        """As the runtime does."""
        return self._runtime.encode(scene)

    def read_states(self, states_ref: str) -> States:
        """As the runtime does; both of ours can."""
        assert isinstance(self._runtime, KeepsStates)
        return self._runtime.read_states(states_ref)

    def restore_states(self, states: States) -> str:
        """As the runtime does."""
        assert isinstance(self._runtime, KeepsStates)
        return self._runtime.restore_states(states)

    def close(self) -> None:
        """Close the runtime."""
        self._runtime.close()

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        """As the runtime does."""
        call = Call(image_id is not None, time.perf_counter())
        answer = self._runtime.generate(image_id, prompt, max_tokens=max_tokens, json_schema=json_schema)
        return Generation(self._timed(answer, call))

    def _timed(self, answer: Generation, call: Call) -> Generator[str, None, GenerationResult]:
        with answer:
            for delta in answer:
                call.first_token = call.first_token or time.perf_counter()
                yield delta
            call.ended, call.tokens = time.perf_counter(), answer.tokens
            self._log.calls.append(call)
            self._by_states[answer.states_ref] = call
            return answer.result

    def decode(self, image_id: str, states_ref: str, **prompts: Any) -> npt.NDArray[Any]:
        """As the runtime does."""
        logits = self._runtime.decode(image_id, states_ref, **prompts)
        if call := self._by_states.get(states_ref):
            call.painted = time.perf_counter()
        return logits


def write_images(source: Path, folder: Path, count: int) -> list[Path]:
    """As many images of the same kind with other pixels: the source, its rows shifted on."""
    with rasterio.open(source) as dataset:
        values, profile = dataset.read(), dataset.profile
        described = dataset.descriptions, [dataset.tags(band) for band in dataset.indexes], dataset.tags()
    paths = [folder / f"user-{number}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        shift = number * values.shape[1] // max(1, count)
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(values[:, list(range(shift, values.shape[1])) + list(range(shift))])
            dataset.descriptions = described[0]
            dataset.update_tags(**described[2])
            for band, tags in enumerate(described[1], start=1):
                dataset.update_tags(band, **tags)
    return paths


def talk(conversation: Conversation, images: Sequence[Path], turns: int, think_s: float, log: Log) -> None:
    """Let one user for each image talk for a number of turns, all at once."""

    def one(number: int) -> None:
        pause = random.Random(number)
        with _noted(log):
            session = conversation.store.create(images[number])
            for turn in range(turns):
                time.sleep(min(5 * think_s, pause.expovariate(1 / think_s)) if think_s else 0)
                with _noted(log):
                    _turn(conversation, session.id, MESSAGES[turn % len(MESSAGES)], log)

    _side_by_side(one, len(images), log)


@contextmanager
def _noted(log: Log) -> Iterator[None]:
    """Count what goes wrong, and go on as a person would."""
    try:
        yield
    except Exception as error:
        log.errors.append(f"{type(error).__name__}: {error}")


def _turn(conversation: Conversation, session_id: str, message: str, log: Log) -> None:
    started, written, painted = time.perf_counter(), False, False
    for event in conversation.run_turn(session_id, message):
        now = time.perf_counter() - started
        if isinstance(event, TextDelta) and not written:
            written = True
            log.first_text_s.append(now)
        elif isinstance(event, LayerReady) and written and not painted:
            painted = True
            log.mask_s.append(now)
        elif isinstance(event, TurnDone):
            log.turn_s.append(now)
            if event.turn.error:
                log.errors.append(f"{message!r}: {event.turn.error}")


def description_prompts(scene: Scene, settings: Settings) -> list[str]:
    """What an extraction asks the language model, for each of `COVERS`."""
    prompts = []
    for cover in COVERS:
        words = put_into_words(scene, cover, limit=settings.max_prompt_regions)
        fields = {"land_cover": cover, "evidence": words.evidence, "attributes": words.attributes}
        prompts.append(render("extract", settings.prompts_dir, **fields))
    return prompts


def describe(runtime: Runtime, scenes: Sequence[Scene], rounds: int, settings: Settings, log: Log) -> None:
    """Let each scene's user ask for descriptions one after the other, all users at once, and paint each."""
    asked = [(runtime.encode(scene), description_prompts(scene, settings)) for scene in scenes]

    def one(number: int) -> None:
        image_id, prompts = asked[number]
        for prompt in prompts * rounds:
            with _noted(log), runtime.generate(image_id, prompt, max_tokens=settings.max_answer_tokens) as answer:
                answer.read()

    _side_by_side(one, len(scenes), log)


def _side_by_side(work: Any, count: int, log: Log) -> None:
    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,), name=f"user-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.seconds = time.perf_counter() - started
