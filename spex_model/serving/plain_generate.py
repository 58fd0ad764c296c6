"""The yardstick of the benchmark: transformers' own `generate`, one answer after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from spex_model.imaging.scene import Scene
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.model.weights import IMAGE_TOKEN_ID, build_checkpoint, load_language, load_vision
from spex_model.serving.language import LanguageModel


@dataclass(frozen=True)
class PlainAnswer:
    """One answer: its tokens without the end token, and seconds from the request on."""

    tokens: int
    first_token_s: float
    last_token_s: float
    mask_s: float


class _Clock:
    """A streamer that notes when the first token comes; `generate` shows it the prompt first."""

    def __init__(self) -> None:
        self.calls = 0
        self.first_token_at = 0.0

    def put(self, value: torch.Tensor) -> None:
        self.calls += 1
        if self.calls == 2:
            self.first_token_at = time.perf_counter()

    def end(self) -> None:
        """Nothing is left to do."""


class PlainGenerate:
    """The language model in float32 with `generate`, and the vision side for the masks."""

    def __init__(self, vision: SpexVision, model: Any, tokenizer: Any, projector: torch.nn.Module) -> None:
        self._vision = vision
        self._model = model
        self._projector = projector
        self._layout = LanguageModel(model, tokenizer, projector, image_token_id=IMAGE_TOKEN_ID)

    @classmethod
    def load(cls, checkpoint: Path | None = None, *, cache_dir: Path | None = None) -> Self:
        """Load a built checkpoint, or build it first."""
        folder = checkpoint or build_checkpoint(cache_dir)
        return cls(load_vision(folder), *load_language(folder))

    def answer(self, scene: Scene, prompts: Sequence[str], max_tokens: int) -> list[PlainAnswer]:
        """Answer prompts about a scene, whose encoding isn't counted, and paint each answer."""
        features = SceneFeatures(self._vision, scene)
        return [self._answer(features, prompt, max_tokens) for prompt in prompts]

    @torch.inference_mode()
    def _answer(self, features: SceneFeatures, prompt: str, max_tokens: int) -> PlainAnswer:
        started, clock = time.perf_counter(), _Clock()
        ids = torch.tensor([self._layout.tokenize(prompt, len(features.tokens))])
        embeds = self._model.get_input_embeddings()(ids).clone()
        embeds[ids == IMAGE_TOKEN_ID] = self._projector(features.tokens)
        said = self._model.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            streamer=clock,
            pad_token_id=self._model.generation_config.eos_token_id,
        )[0]
        ended = time.perf_counter()
        count = len(said) - int(said[-1] == self._model.generation_config.eos_token_id)
        # `generate` gives the states of the step before each token; one more pass gives those at the tokens.
        whole = torch.cat([embeds, self._model.get_input_embeddings()(said[None, :count])], dim=1)
        states = self._model.get_decoder()(inputs_embeds=whole).last_hidden_state[0, ids.shape[1] :]
        decode_scene(features, states)
        return PlainAnswer(count, clock.first_token_at - started, ended - started, time.perf_counter() - started)
