"""Stage nought, on request: the encoder alone, on images without labels.

Blocks of a crop are hidden and bands dropped; from what is left the spectral slots and the index channels are to be
told, so that the encoder learns how bands go together and what surfaces look like. `python -m
spex_model.training.pretrain --images FOLDER --run RUN` resumes from RUN when it holds a checkpoint, and writes
RUN/encoder.safetensors, which `train_vision --encoder` begins with; configs/pretrain.yaml holds all options.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from spex_model.imaging.bands import SLOTS
from spex_model.model.config import SpexConfig
from spex_model.model.encoder import SpectralEncoder, initialise
from spex_model.training.datasets import Tile, load_imagery, split, synthetic_tiles
from spex_model.training.precision import mixed_precision
from spex_model.training.runs import begin_run, end_run, read_options, write_record
from spex_model.training.synthesis import FIRST_EVALUATION_SEED
from spex_model.training.train_vision import learning_rate, save_run
from spex_model.training.unlabelled import (
    NUM_TARGETS,
    MaskedCrop,
    MaskedStream,
    MaskSettings,
    folder_tiles,
    mask_crop,
)

log = logging.getLogger(__name__)

ENCODER_FILE = "encoder.safetensors"
HEAD_WIDTH = 32
_LOG_EVERY = 10
_WATCH_EVERY_IMAGE = 10
_KINDS = {"bands": slice(0, len(SLOTS)), "indices": slice(len(SLOTS), NUM_TARGETS)}


class Reconstruction(nn.Module):
    """The encoder, and a head that adds up a projection of each of its maps and is thrown away afterwards."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        self.encoder = SpectralEncoder(config.num_channels, config.stage_widths, config.stage_depths)
        initialise(self.encoder)
        self.lateral = nn.ModuleList(nn.Conv2d(width, HEAD_WIDTH, 1) for width in config.stage_widths)
        self.tell = nn.Conv2d(HEAD_WIDTH, NUM_TARGETS, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pixels (B, num_channels, H, W) -> targets (B, NUM_TARGETS, H, W)."""
        maps = [lateral(feature) for feature, lateral in zip(self.encoder(pixel_values), self.lateral, strict=True)]
        fused = maps.pop()
        for finer in reversed(maps):
            fused = finer + F.interpolate(fused, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        return self.tell(F.relu(fused))


def hidden_loss(told: Tensor, crop: MaskedCrop) -> Tensor:
    """Mean absolute error of what was hidden, of the slots plus of the indices; what is not wanted counts for nothing."""
    error = (told - crop.targets).abs() * crop.wanted
    parts = [error[:, part].sum() / crop.wanted[:, part].sum().clamp(min=1) for part in _KINDS.values()]
    return torch.stack(parts).sum()


def watched_crops(tiles: list[Tile], settings: MaskSettings) -> list[MaskedCrop]:
    """One crop of each tile, always the same."""
    return [mask_crop(tile, settings, np.random.default_rng(number)) for number, tile in enumerate(tiles)]


@torch.inference_mode()
def score(model: Reconstruction, crops: list[MaskedCrop]) -> dict[str, float]:
    """Of slots and of indices on watched crops: mean absolute error, and the share of the variance that is explained.

    0 is as good as telling the mean of the hidden values of all crops, 1 is without error.
    """
    told = torch.cat([model(crop.pixel_values[None]) for crop in crops])
    targets, wanted = (torch.stack([getattr(crop, name) for crop in crops]) for name in ("targets", "wanted"))
    figures = {}
    for kind, part in _KINDS.items():
        true, guess = targets[:, part][wanted[:, part]], told[:, part][wanted[:, part]]
        figures[f"watched/{kind} error"] = round((guess - true).abs().mean().item(), 4)
        explained = 1 - (guess - true).square().mean() / true.var(correction=0).clamp(min=1e-9)
        figures[f"watched/{kind} explained"] = round(explained.item(), 4)
    return figures


def gather_tiles(options: argparse.Namespace) -> tuple[list[Tile], list[Tile]]:
    """(training, watched): synthetic scenes, images of a folder, and the labelled imagery's training side without labels.

    Watched are synthetic scenes of evaluation seeds, every tenth image of the folder, and held-out labelled tiles.
    Raises ValueError where there is nothing to learn from.
    """
    training = synthetic_tiles(iter(range(options.synthetic)))
    watched = synthetic_tiles(iter(range(FIRST_EVALUATION_SEED + 600, FIRST_EVALUATION_SEED + 605)))
    if options.images:
        found = folder_tiles(options.images)
        watched += found[::_WATCH_EVERY_IMAGE] if len(found) > 1 else []
        training += [tile for number, tile in enumerate(found) if number % _WATCH_EVERY_IMAGE or len(found) == 1]
    if options.imagery:
        known, held_out = split(load_imagery(options.imagery))
        training, watched = training + known, watched + held_out[:: options.watch_every]
    if not training:
        raise ValueError("There are no images to learn from. Name a folder with --images, or take --synthetic scenes.")
    return training, watched


def train(options: argparse.Namespace) -> None:
    """Run (or resume) the stage and leave RUN/encoder.safetensors, RUN/last.pt, its options, its log and its curves."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    training, watched = gather_tiles(options)
    settings = MaskSettings(size=options.size, hidden=options.hidden)
    crops = watched_crops(watched, settings)
    model = Reconstruction(SpexConfig())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    checkpoint, first = options.run / "last.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    begin_run(options.run, options, first)
    stream = MaskedStream(training, settings, seed=options.seed + first)
    loader = iter(DataLoader(stream, batch_size=options.batch, num_workers=1, prefetch_factor=4))
    log.info("%d images, %d watched, from step %d of %d", len(training), len(watched), first, options.steps)
    began, losses = time.monotonic(), []
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr, warmup=options.warmup)
        crop = MaskedCrop(*next(loader))
        pixel_values = crop.pixel_values.contiguous(memory_format=torch.channels_last)
        with mixed_precision():
            told = model(pixel_values)
        loss = hidden_loss(told.float(), crop)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        last = step + 1 == options.steps
        if (step + 1) % _LOG_EVERY == 0 or last:
            seconds = round(time.monotonic() - began, 1)
            record = {"step": step + 1, "loss": round(float(np.mean(losses)), 4), "s": seconds}
            losses.clear()
            if (step + 1) % options.score_every == 0 or last:
                record |= score(model, crops)
                save_run(checkpoint, model, optimizer, step + 1)
            write_record(options.run, record)
    save_file(
        {key: value.contiguous() for key, value in model.encoder.state_dict().items()}, options.run / ENCODER_FILE
    )
    end_run(options.run)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.pretrain", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of images without labels, read as the chat reads them")
    parser.add_argument(
        "--imagery", type=Path, help="labelled imagery (see datasets.py), whose labels are not looked at"
    )
    parser.add_argument("--run", type=Path, help="folder of checkpoint, encoder, log and curves")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, help="side of a crop in pixels, a multiple of 32")
    parser.add_argument("--hidden", type=float, help="share of a crop that is hidden")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--warmup", type=int, help="steps until the rate is reached")
    parser.add_argument("--synthetic", type=int, help="synthetic scenes")
    parser.add_argument("--score-every", type=int, help="steps between scores; a checkpoint is written with each")
    parser.add_argument("--watch-every", type=int, help="score every n-th held-out labelled tile")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(read_options(parser, "pretrain", arguments))


if __name__ == "__main__":
    main()
