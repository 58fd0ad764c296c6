"""The hidden states of free-running replies, cached once at the very index that serving uses."""

import argparse
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.scene import Scene
from spex_model.model.weights import (
    ADAPTER_FILE,
    ASSETS,
    IMAGE_TOKEN_ID,
    PROJECTOR,
    find_base,
    load_base,
    merge_adapter,
)
from spex_model.training.datasets import Tile, load_imagery, split, synthetic_tiles
from spex_model.training.spie.descriptions import scene_record
from spex_model.training.synthesis import FIRST_EVALUATION_SEED
from spex_model.training.train_language import ALPHA, RANK, tokenize_lesson
from spex_model.training.train_vision import load_prompted, tile_pixels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What the language model said of one land cover of one tile: text and states (T, language_hidden_size) float32."""

    tile: str
    land_cover: str
    held_out: bool
    text: str
    states: Tensor


def tile_scene(tile: Tile) -> Scene:
    """A tile as the scene that a user would have uploaded."""
    reflectance = np.where(tile.valid, tile.reflectance, np.nan).astype(np.float32)
    return Scene(
        reflectance,
        tile.valid.copy(),
        tile.bands,
        gsd_m=tile.gsd_m,
        source=tile.name,
        calibrated=tile.calibrated,
    )


def load_adapted(assets: Path) -> tuple[Any, Any, nn.Linear]:
    """Base model with the trained adapter merged, its tokenizer and the projector, all float32."""
    model, tokenizer = load_base(find_base())
    tensors = load_file(assets / ADAPTER_FILE)
    merge_adapter(model, tensors, ALPHA / RANK)
    weight = tensors[f"{PROJECTOR}.weight"].float()
    projector = nn.Linear(weight.shape[1], weight.shape[0])
    projector.load_state_dict({"weight": weight, "bias": tensors[f"{PROJECTOR}.bias"].float()})
    return model.eval(), tokenizer, projector.eval()


@torch.inference_mode()
def reply_batch(
    model: Any,
    tokenizer: Any,
    projector: nn.Linear,
    prompts: list[str],
    images: Tensor,
    max_new_tokens: int = 120,
) -> list[tuple[str, Tensor]]:
    """Greedy replies to prompts of one length each with its image tokens; states are post-norm, at each generated token.

    images (N, num_image_tokens, vision_hidden_size). The states come from one more pass over prompt and reply, so
    that state k belongs to the position where token k is fed, as in serving.
    """
    lessons = [tokenize_lesson(tokenizer, prompt, "", images.shape[1]) for prompt in prompts]
    ids = torch.tensor([lesson.prompt for lesson in lessons])
    embed = model.get_input_embeddings()

    def with_images(tokens: Tensor) -> Tensor:
        embedded = embed(tokens)
        return embedded.masked_scatter((tokens == IMAGE_TOKEN_ID)[..., None], projector(images))

    generated = model.generate(
        inputs_embeds=with_images(ids),
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    whole = torch.cat([ids, generated], 1)
    hidden = model.model(inputs_embeds=with_images(whole), use_cache=False).last_hidden_state
    replies = []
    for row, tokens in enumerate(generated.tolist()):
        length = tokens.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in tokens else len(tokens) - 1
        start = ids.shape[1]
        replies.append((tokenizer.decode(tokens[:length]), hidden[row, start : start + max(1, length)].clone()))
    return replies


def cache_replies(options: argparse.Namespace) -> None:
    """Let the model speak of every tile and land cover and keep what it said."""
    torch.set_num_threads(options.threads)
    vision = load_prompted(options.vision)
    model, tokenizer, projector = load_adapted(options.assets)
    training, held_out = split(load_imagery(options.imagery))
    training = training[:: options.every] + synthetic_tiles(iter(range(0, 60)), size=256)
    held_out = held_out + synthetic_tiles(
        iter(range(FIRST_EVALUATION_SEED + 500, FIRST_EVALUATION_SEED + 525)), size=256
    )
    rng = random.Random(0)
    jobs: dict[int, list[tuple[Tile, str, bool, str, Tensor]]] = {}
    sides = ((training, False),) if options.training_only else ((training, False), (held_out, True))
    for tiles, held in sides:
        for tile in tiles:
            with torch.inference_mode():
                tokens = vision.vision.encode(tile_pixels(tile)).tokens[0]
            scene = tile_scene(tile)
            covers = LAND_COVERS if held else rng.sample(LAND_COVERS, options.covers)
            for cover in covers:
                prompt = scene_record(scene, cover, rng, spectral_words=options.spectral_words).prompt
                length = len(tokenize_lesson(tokenizer, prompt, "", tokens.shape[0]).prompt)
                jobs.setdefault(length, []).append((tile, cover, held, prompt, tokens))
    replies, began = [], time.monotonic()
    groups = [group[start : start + 24] for group in jobs.values() for start in range(0, len(group), 24)]
    for number, group in enumerate(groups):
        images = torch.stack([job[4] for job in group])
        for job, (text, states) in zip(
            group, reply_batch(model, tokenizer, projector, [job[3] for job in group], images), strict=True
        ):
            replies.append(
                {
                    "tile": f"{job[0].source}/{job[0].name}",
                    "land_cover": job[1],
                    "held_out": job[2],
                    "text": text,
                    "states": states.to(torch.bfloat16),
                }
            )
        if number % 10 == 0:
            log.info(
                "%d of %d groups, %d replies, %.0f s",
                number + 1,
                len(groups),
                len(replies),
                time.monotonic() - began,
            )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(replies, options.out)


def load_replies(path: Path) -> list[Reply]:
    """Replies written by `cache_replies`."""
    return [Reply(**{**values, "states": values["states"].float()}) for values in torch.load(path, weights_only=True)]


def main() -> None:
    """Parse the command line and cache."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.replies", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True)
    parser.add_argument("--vision", type=Path, default=Path("runs/vision"))
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--out", type=Path, default=Path("runs/replies.pt"))
    parser.add_argument("--every", type=int, default=2, help="take every n-th training tile")
    parser.add_argument("--covers", type=int, default=2, help="land covers asked of each training tile")
    parser.add_argument("--training-only", action="store_true", help="no replies about the held-out side")
    parser.add_argument(
        "--spectral-words",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tell the model what the indices show",
    )
    parser.add_argument("--threads", type=int, default=2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cache_replies(parser.parse_args())


if __name__ == "__main__":
    main()
