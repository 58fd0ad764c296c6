"""Stage three: the condenser learns to turn what was said into the decoder's prompt.

First it imitates the learned prompts of stage one from the cached states (minutes become seconds, since no
image is needed), then condenser and decoder are tuned together on masks, lightly, with the encoder frozen.
Writes assets/weights/vision.safetensors and spex.json; configs/condenser.yaml holds all options.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.condensation import REPLY_STATES
from spex_model.model.weights import ASSETS, save_vision
from spex_model.training.crops import CropSettings, CropStream
from spex_model.training.datasets import load_imagery, split, synthetic_tiles
from spex_model.training.losses import mask_loss
from spex_model.training.precision import mixed_precision
from spex_model.training.replies import Reply, load_replies
from spex_model.training.runs import begin_run, end_run, read_options, write_record
from spex_model.training.train_vision import PromptedVision, learning_rate, load_prompted

log = logging.getLogger(__name__)


def imitate(model: PromptedVision, replies: list[Reply], run: Path, steps: int, rng: torch.Generator) -> None:
    """Fit the condenser to the learned prompts; logs the loss as a figure `imitation` at steps below 0."""
    condensation = model.vision.condensation
    optimizer = torch.optim.AdamW(condensation.parameters(), lr=2e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3)
        chosen = [replies[int(number)] for number in torch.randint(len(replies), (64,), generator=rng)]
        target = model.prompts.detach()[[LAND_COVERS.index(reply.land_cover) for reply in chosen]]
        loss = F.mse_loss(condensation([reply.states for reply in chosen]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            write_record(run, {"step": step + 1 - steps, "imitation": round(loss.item(), 5)})


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
        DataLoader(
            CropStream(training, CropSettings(), seed=options.seed + 77),
            batch_size=options.batch,
            num_workers=1,
            prefetch_factor=4,
        )
    )
    began, losses = time.monotonic(), []
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr, warmup=20)
        crop = next(loader)
        with torch.no_grad(), mixed_precision():
            features = vision.encode(crop.pixel_values.contiguous(memory_format=torch.channels_last))
        states = []
        for number in crop.asked.flatten().tolist():
            pool = by_cover[number]
            states.append(pool[int(torch.randint(len(pool), (), generator=rng))].states)
        prompts = vision.condensation(states).unflatten(0, tuple(crop.asked.shape))
        with mixed_precision():
            logits, _ = vision.decode_prompts(features, prompts)
        loss = mask_loss(logits.float().flatten(0, 1), crop.labels.flatten(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            loss_, seconds = round(sum(losses) / len(losses), 4), round(time.monotonic() - began, 1)
            write_record(options.run, {"step": step + 1, "loss": loss_, "s": seconds})
            losses.clear()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_condenser", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True, help="labelled imagery (see datasets.py)")
    parser.add_argument("--vision", type=Path, help="run of train_vision")
    parser.add_argument("--replies", type=Path, help="replies that spex_model.training.replies cached")
    parser.add_argument("--run", type=Path, help="folder of options, log and curves")
    parser.add_argument("--export", type=Path, default=ASSETS, help="folder of the weights; default: %(default)s")
    parser.add_argument("--imitation-steps", type=int)
    parser.add_argument("--steps", type=int, help="of tuning on masks")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--synthetic", type=int, help="synthetic scenes")
    parser.add_argument("--reply-states", choices=REPLY_STATES, help="all states of a reply, pooled, or the last alone")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = read_options(parser, "condenser", arguments)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = load_prompted(options.vision, reply_states=options.reply_states)
    replies = [reply for reply in load_replies(options.replies) if not reply.held_out]
    rng = torch.Generator().manual_seed(options.seed)
    begin_run(options.run, options)
    log.info("%d replies", len(replies))
    imitate(model, replies, options.run, options.imitation_steps, rng)
    save_vision(model.vision, options.export)
    if options.steps:
        tune(model, replies, options, rng)
        save_vision(model.vision, options.export)
    end_run(options.run)


if __name__ == "__main__":
    main()
