"""Registers the SPEX language model with vLLM, through the entry-point group `vllm.general_plugins`.

vLLM calls `register` in each of its processes, sometimes twice; the model class is named lazily so that the
call costs nothing and touches no device.
"""

ARCHITECTURE = "SpexForConditionalGeneration"
MODEL_CLASS = "spex_model.serving.vllm_model:SpexForConditionalGeneration"


def register() -> None:
    """Tell vLLM which class serves a checkpoint whose architecture is SPEX. Safe to call again."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL_CLASS)
