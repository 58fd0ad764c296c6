"""Stage three: the condenser learns to turn what was said into the decoder's prompt.

First it imitates the learned prompts of stage one from the cached states (minutes become seconds, since no
image is needed), then condenser and decoder are tuned together on masks, lightly, with the encoder frozen.
Writes assets/weights/vision.safetensors and spex.json.
"""

import argparse
import logging
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.weights import ASSETS, save_vision
from spex_model.training.crops import CropSettings, CropStream
from spex_model.training.datasets import load_imagery, split, synthetic_tiles
from spex_model.training.losses import mask_loss
from spex_model.training.replies import Reply, load_replies
from spex_model.training.train_vision import PromptedVision, learning_rate, load_prompted

log = logging.getLogger(__name__)


def imitate(model: PromptedVision, replies: list[Reply], steps: int, rng: torch.Generator) -> float:
    """Fit the condenser to the learned prompts; returns the last loss."""
    condensation = model.vision.condensation
    optimizer = torch.optim.AdamW(condensation.parameters(), lr=2e-3, weight_decay=0.01)
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3)
        chosen = [replies[int(number)] for number in torch.randint(len(replies), (64,), generator=rng)]
        target = model.prompts.detach()[[LAND_COVERS.index(reply.land_cover) for reply in chosen]]
        loss = F.mse_loss(condensation([reply.states for reply in chosen]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


def tune(model: PromptedVision, replies: list[Reply], options: argparse.Namespace, rng: torch.Generator) -> None:
    """Tune condenser and mask decoder on masks; each asked land cover brings the states of some reply about it."""
    training, _ = split(load_imagery(options.imagery))
    training += synthetic_tiles(iter(range(options.synthetic)))
    by_cover = {number: [r for r in replies if r.land_cover == cover] for number, cover in enumerate(LAND_COVERS)}
    vision = model.vision
    for frozen in (vision.encoder, vision.aggregation, vision.image_tokens):
        frozen.requires_grad_(False)
    parameters = [*vision.condensation.parameters(), *vision.mask_decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01)
    loader = iter(
        DataLoader(CropStream(training, CropSettings(), seed=77), batch_size=16, num_workers=1, prefetch_factor=4)
    )
    began, total = time.monotonic(), 0.0
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr, warmup=20)
        crop = next(loader)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            features = vision.encode(crop.pixel_values.contiguous(memory_format=torch.channels_last))
        states = []
        for number in crop.asked.flatten().tolist():
            pool = by_cover[number]
            states.append(pool[int(torch.randint(len(pool), (), generator=rng))].states)
        prompts = vision.condensation(states).unflatten(0, tuple(crop.asked.shape))
        with torch.autocast("cpu", torch.bfloat16):
            logits, _ = vision.decode_prompts(features, prompts)
        loss = mask_loss(logits.float().flatten(0, 1), crop.labels.flatten(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0)
        optimizer.step()
        total += loss.item()
        if (step + 1) % 50 == 0:
            log.info("step %d, loss %.4f, %.0f s", step + 1, total / 50, time.monotonic() - began)
            total = 0.0


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_condenser", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True)
    parser.add_argument("--vision", type=Path, default=Path("runs/vision"))
    parser.add_argument("--replies", type=Path, default=Path("runs/replies.pt"))
    parser.add_argument("--export", type=Path, default=ASSETS)
    parser.add_argument("--imitation-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--synthetic", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = load_prompted(options.vision)
    replies = [reply for reply in load_replies(options.replies) if not reply.held_out]
    rng = torch.Generator().manual_seed(0)
    log.info(
        "%d replies; imitation ends at loss %.5f",
        len(replies),
        imitate(model, replies, options.imitation_steps, rng),
    )
    save_vision(model.vision, options.export)
    if options.steps:
        tune(model, replies, options, rng)
        save_vision(model.vision, options.export)


if __name__ == "__main__":
    main()
