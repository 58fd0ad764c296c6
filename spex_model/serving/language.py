"""The language model in this process: greedy text, its hidden states, and answers held to a JSON schema.

The same layout, grammar, stopping rule and states as the served model, so that both give the same answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
import xgrammar
from tokenizers.decoders import DecodeStream
from torch import nn
from transformers import DynamicCache

from spex_model.serving.errors import BadRequest
from spex_model.serving.protocol import IMAGE_TOKEN, MAX_MODEL_LEN, clean_prompt


@dataclass
class Answer:
    """Grows while `LanguageModel.stream` runs.

    `states` holds one (1, hidden_size) float32 row for each generated token that was fed back: all of them
    after finish reason "stop", all but the last after "length".
    """

    prompt_tokens: int = 0
    token_ids: list[int] = field(default_factory=list)
    states: list[torch.Tensor] = field(default_factory=list)
    finish_reason: str = "length"

    def hidden_states(self) -> torch.Tensor:
        """(T, hidden_size) states at the generated tokens."""
        return torch.cat(self.states) if self.states else torch.empty(0)


class LanguageModel:
    """A causal language model with its tokenizer and the projector of the image tokens.

    `model` is a transformers causal LM; `projector` maps (N, vision_hidden_size) to (N, hidden_size).
    Several threads may stream at once: each step takes the lock, no stream keeps it.
    """

    def __init__(self, model: Any, tokenizer: Any, projector: nn.Module, *, image_token_id: int) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._projector = projector.eval()
        self._image_token_id = image_token_id
        self._lock = threading.Lock()
        ends = model.generation_config.eos_token_id
        self._end_ids = frozenset([ends] if isinstance(ends, int) else ends or [tokenizer.eos_token_id])
        self._vocab_size = model.config.vocab_size
        limit = getattr(model.config, "max_position_embeddings", MAX_MODEL_LEN)
        self.max_length = min(MAX_MODEL_LEN, limit)
        self._compile_schema = lru_cache(maxsize=32)(self._compile_schema_text)

    def tokenize(self, prompt: str, num_image_tokens: int = 0) -> list[int]:
        """Token ids of one user turn; the image tokens stand first when there are any.

        Control tokens that the user typed are removed. Raises `BadRequest` for an empty or overlong prompt.
        """
        text = clean_prompt(prompt)
        content = f"{IMAGE_TOKEN}\n{text}" if num_image_tokens else text
        chat = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        ids: list[int] = []
        for token_id in self._tokenizer.encode(chat, add_special_tokens=False):
            ids.extend([token_id] * (num_image_tokens if token_id == self._image_token_id else 1))
        return ids

    def stream(
        self,
        prompt: str,
        answer: Answer,
        *,
        image_tokens: torch.Tensor | None = None,
        max_tokens: int,
        json_schema: dict[str, Any] | None = None,
    ) -> Generator[str, None, None]:
        """Yield text deltas and fill `answer`.

        image_tokens (N, vision_hidden_size) floating point. Raises `BadRequest` when prompt and answer don't
        fit the context, the schema can't be compiled, or the image tokens aren't finite.
        """
        ids = self.tokenize(prompt, 0 if image_tokens is None else len(image_tokens))
        answer.prompt_tokens = len(ids)
        if max_tokens < 1 or len(ids) + max_tokens > self.max_length:
            raise BadRequest(
                f"The prompt has {len(ids)} tokens and {max_tokens} are asked for; together at least one new and "
                f"at most {self.max_length} are possible. Shorten the message."
            )
        matcher = self._match_schema(json_schema)
        cache = DynamicCache()
        text = DecodeStream(skip_special_tokens=True)
        state = self._prefill(ids, image_tokens, cache)
        while True:
            token_id = self._pick(state, matcher)
            if token_id in self._end_ids:
                answer.finish_reason = "stop"
                return
            answer.token_ids.append(token_id)
            if delta := text.step(self._tokenizer._tokenizer, token_id):
                yield delta
            if len(answer.token_ids) == max_tokens:
                return
            state = self._feed(token_id, cache)
            answer.states.append(state.float().cpu())

    @torch.inference_mode()
    def _prefill(self, ids: list[int], image_tokens: torch.Tensor | None, cache: DynamicCache) -> torch.Tensor:
        device = self._model.device
        with self._lock:
            input_ids = torch.tensor([ids], device=device)
            embeds = self._model.get_input_embeddings()(input_ids)
            if image_tokens is not None:
                weight = next(self._projector.parameters())
                if not bool(torch.isfinite(image_tokens).all()):
                    raise BadRequest("The image tokens hold NaN or infinity; encode the image again.")
                embeds = embeds.clone()
                embeds[input_ids == self._image_token_id] = self._projector(image_tokens.to(weight)).to(embeds)
            return self._last_state(inputs_embeds=embeds, cache=cache)

    @torch.inference_mode()
    def _feed(self, token_id: int, cache: DynamicCache) -> torch.Tensor:
        with self._lock:
            return self._last_state(input_ids=torch.tensor([[token_id]], device=self._model.device), cache=cache)

    def _last_state(self, *, cache: DynamicCache, **inputs: torch.Tensor) -> torch.Tensor:
        """(1, hidden_size) post-norm state of the last layer at the last position."""
        output = self._model.get_decoder()(**inputs, past_key_values=cache, use_cache=True)
        states: torch.Tensor = output.last_hidden_state[:, -1]
        return states

    @torch.inference_mode()
    def _pick(self, state: torch.Tensor, matcher: xgrammar.GrammarMatcher | None) -> int:
        """The likeliest next token among those that the schema allows."""
        with self._lock:
            logits = self._model.get_output_embeddings()(state).float()
        if matcher is None:
            return int(logits.argmax())
        mask = xgrammar.allocate_token_bitmask(1, self._vocab_size)
        matcher.fill_next_token_bitmask(mask)
        xgrammar.apply_token_bitmask_inplace(logits, mask.to(logits.device))
        token_id = int(logits.argmax())
        matcher.accept_token(token_id)
        return token_id

    def _match_schema(self, json_schema: dict[str, Any] | None) -> xgrammar.GrammarMatcher | None:
        if json_schema is None:
            return None
        try:
            grammar = self._compile_schema(json.dumps(json_schema))
        except (RuntimeError, ValueError, TypeError) as error:
            raise BadRequest(f"The JSON schema can't be used to hold an answer: {error}") from error
        return xgrammar.GrammarMatcher(grammar, override_stop_tokens=sorted(self._end_ids))

    def _compile_schema_text(self, schema: str) -> xgrammar.CompiledGrammar:
        return self._grammar_compiler().compile_json_schema(schema, any_whitespace=False, separators=(",", ":"))

    @lru_cache(maxsize=1)  # noqa: B019 - one model lives as long as its runtime
    def _grammar_compiler(self) -> xgrammar.GrammarCompiler:
        info = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocab_size)
        return xgrammar.GrammarCompiler(info, max_threads=2)
