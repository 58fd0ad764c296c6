"""Stage one: encoder, aggregation and mask decoder, with a learned prompt a land cover in the reply's place.

`python -m spex_model.training.train_vision --imagery FOLDER --run RUN` resumes from RUN when it holds a
checkpoint; configs/vision.yaml holds all options. The learned prompts are the targets from which stage three starts;
the product never uses them. With `--prompt-every N` a plain head tells all land covers of a crop at once: it teaches
the encoder from five planes of labels in half the time that two prompts take, and prompts come every N steps only.
"""

import argparse
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.config import SpexConfig
from spex_model.model.mask_decoder import MaskDecoder
from spex_model.model.modeling_spex import SpexVision, VisionFeatures
from spex_model.model.processor import pixel_channels
from spex_model.model.weights import CONFIG_FILE
from spex_model.training.crops import Crop, CropSettings, CropStream
from spex_model.training.datasets import (
    BAND_SETS,
    UNKNOWN,
    Tile,
    limit_bands,
    load_imagery,
    split,
    synthetic_tiles,
)
from spex_model.training.losses import mask_loss, presence_loss
from spex_model.training.precision import mixed_precision
from spex_model.training.runs import begin_run, end_run, read_options, write_record

log = logging.getLogger(__name__)

AVERAGED_OVER = 0.998
"""Decay of the moving average of the weights, which is what is measured and shipped."""


class DenseHead(nn.Module):
    """All land covers at once from the mask decoder's own upsampling, without prompts; training alone uses it."""

    def __init__(self, decoder_width: int) -> None:
        super().__init__()
        self.tell = nn.Conv2d(decoder_width // 8, len(LAND_COVERS), 1)

    def forward(self, decoder: MaskDecoder, features: VisionFeatures) -> Tensor:
        """Logits (B, len(LAND_COVERS), H, W) of B encoded crops."""
        fine, middle = features.high_res
        sam = decoder.decoder
        hidden = F.gelu(sam.upscale_layer_norm(sam.upscale_conv1(features.embedding) + middle))
        logits: Tensor = self.tell(F.gelu(sam.upscale_conv2(hidden) + fine))
        return logits


class PromptedVision(nn.Module):
    """The vision side with one learned prompt (condensed_tokens, decoder_width) a land cover, and the dense head."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        self.vision = SpexVision(config)
        self.prompts = nn.Parameter(torch.randn(len(LAND_COVERS), config.condensed_tokens, config.decoder_width) * 0.5)
        self.dense = DenseHead(config.decoder_width)

    def forward(self, pixel_values: Tensor, asked: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """pixel_values (B, C, S, S), asked (B, P) land cover numbers -> logits (B, P, S, S), presence (B, P).

        With nothing asked the logits (B, len(LAND_COVERS), S, S) are of the dense head, and presence is None.
        """
        features = self.vision.encode(pixel_values)
        if asked is None:
            return self.dense(self.vision.mask_decoder, features), None
        return self.vision.decode_prompts(features, self.prompts[asked])

    def loss(self, crop: Crop, *, prompted: bool) -> Tensor:
        """The loss of a batch: of the land covers that are asked for, or of all by the dense head."""
        pixel_values = crop.pixel_values.contiguous(memory_format=torch.channels_last)
        with mixed_precision():
            logits, presence = self(pixel_values, crop.asked if prompted else None)
        labels = (crop.labels if prompted else crop.covers).flatten(0, 1)
        loss = mask_loss(logits.float().flatten(0, 1), labels)
        return loss if presence is None else loss + 0.1 * presence_loss(presence.float().flatten(), labels)


def tile_pixels(tile: Tile, bands: tuple[str, ...] | None = None) -> Tensor:
    """A whole tile as encoder input (1, C, H, W), cut to a multiple of 32; with only some bands on request."""
    kept = [number for number, band in enumerate(tile.bands) if bands is None or band in bands]
    height, width = (side - side % 32 for side in tile.valid.shape)
    channels = pixel_channels(
        tile.reflectance[kept][:, :height, :width],
        [tile.bands[number] for number in kept],
        tile.valid[:height, :width],
        gsd_m=tile.gsd_m,
        calibrated=tile.calibrated,
    )
    return torch.from_numpy(channels)[None].contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def score(model: PromptedVision, tiles: list[Tile]) -> dict[str, float]:
    """Pooled IoU a source and land cover over known pixels, as {"landsat/water": 0.7, …}."""
    counts: dict[str, np.ndarray] = {}
    for tile in tiles:
        features = model.vision.encode(tile_pixels(tile))
        for number, cover in enumerate(LAND_COVERS):
            height, width = features.high_res[0].shape[-2:]
            labels = tile.covers[number, :height, :width]
            known = labels != UNKNOWN
            if not known.any():
                continue
            logits, _ = model.vision.decode_prompts(features, model.prompts[None, None, number])
            mask = (logits[0, 0].float().numpy() > 0) & known
            truth = labels == 1
            pair = counts.setdefault(f"{tile.source}/{cover}", np.zeros(2))
            pair += ((mask & truth).sum(), (mask | truth).sum())
    return {
        key: round(float(both / either), 4) if either else math.nan for key, (both, either) in sorted(counts.items())
    }


def learning_rate(step: int, steps: int, peak: float, warmup: int = 60) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup)))))


def save_run(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, **more: object) -> None:
    """Write a resumable checkpoint; a crash in the middle leaves the one before."""
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, **more},
        path.with_suffix(".tmp"),
    )
    path.with_suffix(".tmp").replace(path)


def config_of(run: Path) -> SpexConfig:
    """The sizes of a run's network, from its spex.json; the usual ones where a run of old has none."""
    return SpexConfig.load(run / CONFIG_FILE) if (run / CONFIG_FILE).exists() else SpexConfig()


def load_prompted(run: Path, **changes: Any) -> PromptedVision:
    """The model of a run: its moving average over the steps where there is one. `changes` are fields of its config."""
    state = torch.load(run / "last.pt", weights_only=True)
    model = PromptedVision(replace(config_of(run), **changes))
    model.load_state_dict(state.get("average") or state["model"])
    model.vision.channels_last()
    return model.eval()


def start(options: argparse.Namespace, model: PromptedVision) -> dict[str, Any] | None:
    """Give a model the weights that its run begins with; returns the checkpoint where there is one to resume from.

    Raises ValueError where the run was begun with another network.
    """
    checkpoint, config = options.run / "last.pt", model.vision.config
    if checkpoint.exists():
        if (before := config_of(options.run)) != config:
            raise ValueError(f"{options.run} was begun with {before}, which is not {config}. Name another run.")
        state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        return state
    if options.begin_with:
        known = torch.load(options.begin_with / "last.pt", weights_only=True)
        missing = model.load_state_dict(known.get("average") or known["model"], strict=False).missing_keys
        log.info("began with %s; new: %s", options.begin_with, ", ".join(missing) or "nothing")
    if options.encoder:
        model.vision.encoder.load_state_dict(load_file(options.encoder))
        log.info("began with the encoder of %s", options.encoder)
    return None


def train(options: argparse.Namespace) -> None:
    """Run (or resume) the stage and leave RUN/last.pt, its options, its log and its curves."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    training, held_out = split(load_imagery(options.imagery))
    if options.synthetic:
        training += synthetic_tiles(iter(range(options.synthetic)))
    training, held_out = ([limit_bands(tile, options.bands) for tile in tiles] for tiles in (training, held_out))
    watched = [tile for tile in held_out if tile.source != "clouds"][:: options.watch_every]
    model = PromptedVision(
        SpexConfig(aggregated_levels=options.aggregated_levels, condensed_tokens=options.condensed_tokens)
    )
    model.vision.channels_last()
    # Eager attention: the fused backward pass takes longer on a CPU for prompts of a few tokens.
    model.vision.mask_decoder.decoder.config._attn_implementation = "eager"
    model.prompts.requires_grad_(not options.keep_prompts)
    learning = [p for p in model.parameters() if p.requires_grad]
    decay = [p for p in learning if p.ndim > 1]
    plain = [p for p in learning if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}])
    state = start(options, model)
    if state:
        optimizer.load_state_dict(state["optimizer"])
    first = state["step"] if state else 0
    begin_run(options.run, options, first)
    model.vision.config.save(options.run / CONFIG_FILE)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED_OVER))
    averaged = cast(PromptedVision, average.module)
    if state and "average" in state:
        averaged.load_state_dict(state["average"])
        average.n_averaged.fill_(1)
    crops = CropStream(training, CropSettings(corrections=False), seed=options.seed + first)
    loader = iter(DataLoader(crops, batch_size=options.batch, num_workers=1, prefetch_factor=4))
    log.info(
        "%d training tiles, %d held out, from step %d of %d",
        len(training),
        len(held_out),
        first,
        options.steps,
    )
    began, losses = time.monotonic(), []
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr)
        loss = model.loss(next(loader), prompted=step % options.prompt_every == 0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in learning if p.grad is not None], 1.0)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            record = {
                "step": step + 1,
                "loss": round(float(np.mean(losses)), 4),
                "s": round(time.monotonic() - began, 1),
            }
            losses.clear()
            if (step + 1) % options.score_every == 0 or step + 1 == options.steps:
                record |= score(averaged.eval(), watched)
                save_run(options.run / "last.pt", model, optimizer, step + 1, average=averaged.state_dict())
            write_record(options.run, record)
    end_run(options.run)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_vision", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True, help="labelled imagery (see datasets.py)")
    parser.add_argument("--run", type=Path, help="folder of checkpoint, log and curves")
    parser.add_argument("--begin-with", type=Path, help="a run whose weights are the beginning of a new one")
    parser.add_argument(
        "--encoder", type=Path, help="a pre-trained encoder to begin with: encoder.safetensors of pretrain"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--prompt-every", type=int, help="steps from one with prompts to the next; a plain head learns between them"
    )
    parser.add_argument("--keep-prompts", action="store_true", help="leave the prompts as the run begins with them")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--synthetic", type=int, help="synthetic scenes")
    parser.add_argument("--bands", choices=BAND_SETS, help="bands that tiles are held to")
    parser.add_argument("--aggregated-levels", type=int, help="levels of the pyramid to fuse; not given: all")
    parser.add_argument("--condensed-tokens", type=int, help="tokens of a prompt")
    parser.add_argument("--score-every", type=int, help="steps between scores; a checkpoint is written with each")
    parser.add_argument("--watch-every", type=int, help="score every n-th held-out tile while training")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(read_options(parser, "vision", arguments))


if __name__ == "__main__":
    main()
