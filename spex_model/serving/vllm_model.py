"""The SPEX language model inside vLLM: a Llama backbone, image tokens in, hidden states out.

Clients send `image_embeds`: the (N, vision_hidden_size) tokens of the vision encoder, which `mm_projector`
turns into N positions of the prompt. The post-norm states of the last layer go, position by position, into a
side KV cache of one "head" of width hidden_size, laid out in the same blocks as the real one; that is why
they survive batching, chunked prefill and prefix-cache hits. `SpexHiddenStatesConnector` reads them there.

Imported by vLLM alone, through `vllm_plugin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context
from vllm.model_executor.models.extract_hidden_states import CacheOnlyAttentionLayer, basic_cache
from vllm.model_executor.models.interfaces import SupportsMultiModal
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)

from spex_model.serving.protocol import IMAGE_TOKEN


class ImageTokensParser(MultiModalDataParser):
    """Takes image embeddings only, and refuses what would harm other requests.

    NaN or infinity in one image reaches shared KV-cache blocks and silences later requests, so it must not
    get past this point. Raises `ValueError`, which vLLM answers with status 400.
    """

    def __init__(self, *, num_image_tokens: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._num_image_tokens = num_image_tokens

    def _parse_image_data(self, data: Any) -> Any:
        if data is None:
            return None
        if not self.is_embeddings(data):
            raise ValueError("SPEX takes image_embeds from its vision encoder, not pictures.")
        items = super()._parse_image_data(data)
        for index in range(items.get_count()):
            self._check_tokens(items.get(index))
        return items

    def _check_tokens(self, tokens: torch.Tensor) -> None:
        if tokens.ndim != 2 or tokens.shape[0] != self._num_image_tokens:
            raise ValueError(
                f"image_embeds has shape {tuple(tokens.shape)}; {self._num_image_tokens} image tokens are needed."
            )
        if not tokens.is_floating_point() or not bool(torch.isfinite(tokens).all()):
            raise ValueError("image_embeds must be floating point and finite; it holds NaN, infinity or integers.")


class SpexProcessingInfo(BaseProcessingInfo):
    """What vLLM asks about the inputs: one kind, images, each of a fixed number of tokens."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": None}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": self.get_hf_config().num_image_tokens}

    def get_data_parser(self) -> MultiModalDataParser:
        config = self.get_hf_config()
        return ImageTokensParser(
            num_image_tokens=config.num_image_tokens, expected_hidden_size=config.vision_hidden_size
        )


class SpexDummyInputs(BaseDummyInputsBuilder[SpexProcessingInfo]):
    """Inputs of full size, for vLLM's memory profiling."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE_TOKEN * mm_counts.get("image", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> dict[str, Any]:
        config = self.info.get_hf_config()
        shape = (config.num_image_tokens, config.vision_hidden_size)
        images = [torch.zeros(shape) for _ in range(mm_counts.get("image", 0))]
        return {"image": images} if images else {}


class SpexProcessor(BaseMultiModalProcessor[SpexProcessingInfo]):
    """Expands the one `<image>` token of the prompt to the image's number of tokens."""

    def _get_mm_fields_config(
        self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {"image_embeds": MultiModalFieldConfig.batched("image")}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> list[PromptReplacement]:
        token_id = self.info.get_hf_config().image_token_id

        def expand(index: int) -> list[int]:
            return [token_id] * mm_items.get_items("image", ImageEmbeddingItems).get_feature_size(index)

        return [PromptReplacement(modality="image", target=[token_id], replacement=expand)]


@MULTIMODAL_REGISTRY.register_processor(SpexProcessor, info=SpexProcessingInfo, dummy_inputs=SpexDummyInputs)
class SpexForConditionalGeneration(LlamaForCausalLM, SupportsMultiModal):
    """Llama with `mm_projector` and a side cache of hidden states; weight names are the checkpoint's own."""

    embed_input_ids = SupportsMultiModal.embed_input_ids
    # The checkpoint's folder also holds the weights of the vision side, which the mask service loads.
    allow_patterns_overrides = ("model*.safetensors",)

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, **kwargs)
        config = self.config
        self.configure_mm_token_handling(config.vocab_size, [config.image_token_id])
        self.mm_projector = nn.Linear(config.vision_hidden_size, config.hidden_size)
        self._cast_head: torch.Tensor | None = None
        self.states_cache: CacheOnlyAttentionLayer | None = None
        if vllm_config.kv_transfer_config is not None:
            self.states_cache = CacheOnlyAttentionLayer(
                num_heads=1,
                head_size=config.hidden_size,
                cache_config=vllm_config.cache_config,
                # vLLM orders cache layers by the number in their name: after the last real layer.
                prefix=maybe_prefix(prefix, f"states_cache.{config.num_hidden_layers}"),
            )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        if modality.startswith("image"):
            return IMAGE_TOKEN
        raise ValueError(f"SPEX reads images, not {modality}.")

    def get_language_model(self) -> nn.Module:
        return self

    def _embed_text_input_ids(
        self, input_ids: torch.Tensor, embed_input_ids: Any, *, is_multimodal: Any = None, **kwargs: Any
    ) -> torch.Tensor:
        return self.model.embed_input_ids(input_ids)

    def embed_multimodal(self, **kwargs: Any) -> list[torch.Tensor]:
        """Project each image's (N, vision_hidden_size) tokens to (N, hidden_size)."""
        images = kwargs.get("image_embeds")
        if images is None:
            return []
        weight = self.mm_projector.weight
        return [self.mm_projector(tokens.to(weight)) for tokens in images]

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        output = self.model(input_ids, positions, intermediate_tensors, inputs_embeds)
        if self.states_cache is not None:
            self._cache_states(output[0] if isinstance(output, tuple) else output)
        return output

    def _cache_states(self, states: Any) -> None:
        """Scatter (tokens, hidden_size) states to the slots that the same tokens have in the KV cache."""
        assert self.states_cache is not None
        slots_by_layer = get_forward_context().slot_mapping
        if not isinstance(states, torch.Tensor) or not isinstance(slots_by_layer, dict):
            return  # a pipeline stage without the last layer, or a profiling run without a cache
        slots = slots_by_layer.get(self.states_cache.layer_name)
        cache = self.states_cache.kv_cache
        if slots is None or not cache.numel():
            return
        count = min(slots.shape[0], states.shape[0])
        basic_cache(states[:count, None].to(cache.dtype), cache, slots[:count])

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """(tokens, vocabulary) logits; vLLM casts the head of a half-precision model anew in each step, a CPU keeps it."""
        wanted = self.logits_processor.head_dtype
        if wanted in (None, hidden_states.dtype) or hidden_states.device.type != "cpu" or self.lm_head.tp_size > 1:
            return super().compute_logits(hidden_states)
        if self._cast_head is None:
            self._cast_head = self.lm_head.weight[: self.config.vocab_size].to(wanted)
        return nn.functional.linear(hidden_states.to(wanted), self._cast_head)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(weights)
