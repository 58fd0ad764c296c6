"""Stage two: low-rank adapters and the projector of the language model, on planning and describing examples.

`python -m spex_model.training.train_language --vision RUN --run RUN2 --imagery FOLDER`; resumes from RUN2.
Writes language.safetensors into `--export`, assets/weights by default; configs/language.yaml holds all options.
"""

import argparse
import itertools
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.helpers import disable_input_dtype_casting
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from spex_model.model.config import SpexConfig
from spex_model.model.weights import ADAPTER_FILE, ASSETS, IMAGE_TOKEN_ID, PROJECTOR, find_base, load_base
from spex_model.training.plan_data import plan_examples
from spex_model.training.runs import begin_run, end_run, read_options, write_record
from spex_model.training.spie.descriptions import PROMPTS, describe_examples
from spex_model.training.train_vision import learning_rate, load_prompted, save_run

log = logging.getLogger(__name__)

RANK, ALPHA = 16, 32
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FROZEN_LAYERS = 1 / 3
"""Share of the layers, from the bottom, that stay as they are: planning needs no backward pass through them."""


@dataclass(frozen=True)
class Lesson:
    """Token ids of a prompt and of the answer with its end token; `image` says whether image tokens stand first."""

    prompt: list[int]
    answer: list[int]
    image: bool


def tokenize_lesson(tokenizer: Any, text: str, answer: str, num_image_tokens: int) -> Lesson:
    """One turn in the layout of serving; num_image_tokens = 0 for planning."""
    content = f"<image>\n{text}" if num_image_tokens else text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    prompt: list[int] = []
    for token in tokenizer.encode(chat, add_special_tokens=False):
        prompt += [token] * (num_image_tokens if token == IMAGE_TOKEN_ID else 1)
    ids = tokenizer.encode(answer, add_special_tokens=False) + [tokenizer.eos_token_id]
    return Lesson(prompt, ids, bool(num_image_tokens))


def lessons(
    tokenizer: Any, seed: int, num_image_tokens: int, plan_share: float, *, spectral_words: bool = True
) -> Iterator[Lesson]:
    """An endless mixture of planning and describing; `spectral_words` as for `describe_examples`."""
    rng = random.Random(seed)
    template = (PROMPTS / "plan.md").read_text().strip()
    plans, descriptions = plan_examples(seed, 10**9), describe_examples(seed, 10**9, spectral_words=spectral_words)
    while True:
        if rng.random() < plan_share:
            example = next(plans)
            text = template.format(layers=example.layers, last=example.last, message=example.message)
            yield tokenize_lesson(tokenizer, text, example.plan_json, 0)
        else:
            described = next(descriptions)
            yield tokenize_lesson(tokenizer, described.prompt, described.reply, num_image_tokens)


def batches(stream: Iterator[Lesson], tokens: int, pool: int = 256) -> Iterator[list[Lesson]]:
    """Batches of lessons of like length, at most `tokens` padded tokens each."""
    rng = random.Random(0)
    while True:
        drawn = sorted((next(stream) for _ in range(pool)), key=lambda lesson: len(lesson.prompt) + len(lesson.answer))
        groups: list[list[Lesson]] = [[]]
        for lesson in drawn:
            if groups[-1] and (len(groups[-1]) + 1) * (len(lesson.prompt) + len(lesson.answer)) > tokens:
                groups.append([])
            groups[-1].append(lesson)
        rng.shuffle(groups)
        yield from groups


def usual_words(stream: Iterator[Lesson], count: int = 6000) -> Tensor:
    """Token ids (V,), sorted, that occur in `count` lessons: what an answer is chosen from in training."""
    found: set[int] = set()
    for lesson in itertools.islice(stream, count):
        found.update(lesson.prompt, lesson.answer)
    return torch.tensor(sorted(found))


def language_loss(model: Any, projector: nn.Module, batch: list[Lesson], images: Tensor, words: Tensor) -> Tensor:
    """Mean cross entropy over the answers' tokens; images (N, num_image_tokens, vision_hidden_size) are drawn at random.

    The softmax runs over `words` and the batch's own tokens only: a seventh of the vocabulary, and a fifth of the
    time of a step less.
    """
    length = max(len(lesson.prompt) + len(lesson.answer) for lesson in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    labels = torch.full((len(batch), length), -100)
    for row, lesson in enumerate(batch):
        end = len(lesson.prompt) + len(lesson.answer)
        ids[row, :end] = torch.tensor(lesson.prompt + lesson.answer)
        labels[row, len(lesson.prompt) : end] = torch.tensor(lesson.answer)
    embedded = model.get_input_embeddings()(ids)
    with_image = [row for row, lesson in enumerate(batch) if lesson.image]
    if with_image:
        chosen = images[torch.randint(len(images), (len(with_image),))]
        embedded = embedded.masked_scatter((ids == IMAGE_TOKEN_ID)[..., None], projector(chosen).to(embedded.dtype))
    # Right padding under a causal mask: no answer ever sees it, so no attention mask is needed.
    hidden = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    choices = torch.unique(torch.cat([words, ids.flatten()]))
    logits = F.linear(hidden[wanted], model.lm_head.weight[choices])
    return F.cross_entropy(logits.float(), torch.searchsorted(choices, labels[:, 1:][wanted]))


def sample_image_tokens(run: Path, imagery: Path, limit: int = 96) -> Tensor:
    """Image tokens (N, num_image_tokens, vision_hidden_size) of tiles, from the vision run."""
    from spex_model.training.datasets import load_imagery
    from spex_model.training.train_vision import tile_pixels

    model = load_prompted(run)
    tiles = load_imagery(imagery)
    with torch.inference_mode():
        return torch.cat(
            [model.vision.encode(tile_pixels(tile)).tokens for tile in tiles[:: max(1, len(tiles) // limit)]]
        )


def adapted_model() -> tuple[Any, Any, nn.Linear]:
    """The base model with fresh adapters, its tokenizer, and a fresh projector."""
    config = SpexConfig()
    model, tokenizer = load_base(find_base())
    model.requires_grad_(False)
    # Eager attention: on a CPU the fused backward pass takes twice as long for prompts as short as these.
    model.config._attn_implementation = "eager"
    model.to(torch.bfloat16)
    layers = model.config.num_hidden_layers
    adapted = list(range(int(layers * FROZEN_LAYERS), layers))
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS), layers_to_transform=adapted)
    inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    projector = nn.Linear(config.vision_hidden_size, model.config.hidden_size)
    nn.init.normal_(projector.weight, std=0.01)
    nn.init.zeros_(projector.bias)
    return model, tokenizer, projector


def export(model: nn.Module, projector: nn.Linear, folder: Path) -> None:
    """Write adapters and projector (bfloat16) as `weights.build_checkpoint` reads them."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            tensors[name.replace(".default.weight", "")] = parameter
    tensors |= {f"{PROJECTOR}.{name}": value for name, value in projector.named_parameters()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.detach().to(torch.bfloat16).contiguous() for name, value in tensors.items()},
        folder / ADAPTER_FILE,
        metadata={"lora_scale": str(ALPHA / RANK)},
    )


def train(options: argparse.Namespace) -> None:
    """Run (or resume) the stage."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model, tokenizer, projector = adapted_model()
    images = sample_image_tokens(options.vision, options.imagery)
    trained = nn.ModuleDict({"language": model, "projector": projector})
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    log.info("%.2f M trained parameters", sum(parameter.numel() for parameter in parameters) / 1e6)
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
    checkpoint, first = options.run / "last.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trained.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    begin_run(options.run, options, first)

    def lessons_of(seed: int) -> Iterator[Lesson]:
        share, words = options.plan_share, options.spectral_words
        return lessons(tokenizer, seed, images.shape[1], share, spectral_words=words)

    stream = batches(lessons_of(options.seed + first), options.tokens)
    began, losses, seen = time.monotonic(), [], 0
    words = usual_words(lessons_of(options.seed))
    if options.compile:
        for layer in model.get_decoder().layers:
            layer.compile(dynamic=True)
    model.train()
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr, warmup=40)
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(model):
            loss = language_loss(model, projector, batch, images, words)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
        seen += sum(len(lesson.prompt) + len(lesson.answer) for lesson in batch)
        if (step + 1) % 25 == 0 or step + 1 == options.steps:
            seconds = time.monotonic() - began
            record = {
                "step": step + 1,
                "loss": round(sum(losses) / len(losses), 4),
                "tokens_per_s": round(seen / seconds),
            }
            losses.clear()
            write_record(options.run, record)
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            save_run(checkpoint, trained, optimizer, step + 1)
    end_run(options.run)
    export(model, projector, options.export)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_language", description=__doc__)
    parser.add_argument("--vision", type=Path, help="run of train_vision")
    parser.add_argument("--imagery", type=Path, required=True, help="labelled imagery (see datasets.py)")
    parser.add_argument("--run", type=Path, help="folder of checkpoint, log and curves")
    parser.add_argument("--export", type=Path, default=ASSETS, help="folder of the weights; default: %(default)s")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--tokens", type=int, help="padded tokens a batch")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--plan-share", type=float, help="share of planning lessons; the rest describe")
    parser.add_argument(
        "--spectral-words", action=argparse.BooleanOptionalAction, help="describing prompts tell indices"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="compile layers; needs a C++ compiler")
    parser.add_argument("--seed", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(read_options(parser, "language", arguments))


if __name__ == "__main__":
    main()
