"""Registers the SPEX language model with vLLM, through the entry-point group `vllm.general_plugins`.

vLLM calls `register` in each of its processes, sometimes twice; the model class is named lazily so that the
call touches no device.
"""

from __future__ import annotations

from typing import Any

ARCHITECTURE = "SpexForConditionalGeneration"
MODEL_CLASS = "spex_model.serving.vllm_model:SpexForConditionalGeneration"


def register() -> None:
    """Tell vLLM which class serves a checkpoint whose architecture is SPEX. Safe to call again."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL_CLASS)
    refuse_garbled_embeddings()
    refuse_sampling_beside_drafts()


def refuse_garbled_embeddings() -> None:
    """Answer image embeddings that can't be unpacked with status 400 and a reason, where vLLM answers with 500."""
    from vllm.multimodal.media.image import ImageEmbeddingMediaIO

    unpack = ImageEmbeddingMediaIO.load_base64
    if getattr(unpack, "refuses", False):
        return

    def load_base64(self: Any, media_type: str, data: str) -> Any:
        try:
            return unpack(self, media_type, data)
        except Exception as error:  # whatever base64, zip, pickle and torch raise for bytes from outside
            raise ValueError("image_embeds can't be read: it must be base64 of a tensor saved by torch.") from error

    load_base64.refuses = True  # type: ignore[attr-defined]
    ImageEmbeddingMediaIO.load_base64 = load_base64


def refuse_sampling_beside_drafts() -> None:
    """Answer a request with a temperature with status 400 where a CPU checks drafts.

    vLLM 0.32 garbles the greedy answers of others there as soon as one sampled answer is in the same batch.
    """
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.platforms import current_platform

    verify = SamplingParams.verify
    if getattr(verify, "refuses", False) or not current_platform.is_cpu():
        return

    def verify_greedy(self: Any, model_config: Any, speculative_config: Any, *args: Any) -> None:
        if speculative_config is not None and self.temperature > 0:
            sentence = "Answers are greedy here: ask with temperature 0, or serve with SPEX_DRAFT_TOKENS=0."
            raise VLLMValidationError(sentence, parameter="temperature")
        verify(self, model_config, speculative_config, *args)

    verify_greedy.refuses = True  # type: ignore[attr-defined]
    SamplingParams.verify = verify_greedy
