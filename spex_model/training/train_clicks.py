"""Stage one and a half: the head that hears clicks and boxes, on masks that the learned prompts paint.

`python -m spex_model.training.train_clicks --imagery FOLDER --vision RUN` trains it with all else frozen and puts it
into RUN/last.pt, from where stage three takes it; configs/clicks.yaml holds all options.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spex_model.training.crops import Crop, CropSettings, CropStream
from spex_model.training.datasets import load_imagery, split, synthetic_tiles
from spex_model.training.losses import mask_loss
from spex_model.training.precision import mixed_precision
from spex_model.training.runs import begin_run, end_run, read_options, write_record
from spex_model.training.train_vision import PromptedVision, learning_rate, load_prompted

log = logging.getLogger(__name__)


def choose_marks(crop: Crop, step: int) -> tuple[Tensor, Tensor]:
    """Points and labels of a step: by turns one click, two clicks, a box."""
    if step % 3 == 2:
        return crop.boxes, crop.boxed_labels
    return crop.clicks[:, :, : 1 + step % 3], crop.clicked_labels


def heard_logits(model: PromptedVision, crop: Crop, points: Tensor) -> Tensor:
    """Logits (B, P, S, S) of a batch of crops after the marks; gradients reach the click head alone."""
    with torch.no_grad(), mixed_precision():
        pixel_values = crop.pixel_values.contiguous(memory_format=torch.channels_last)
        features = model.vision.encode(pixel_values)
        logits, _ = model.vision.decode_prompts(features, model.prompts[crop.asked])
    return model.vision.hear_marks(features.to(torch.float32), logits.float(), points)


def train(options: argparse.Namespace) -> None:
    """Train the head and write it into the vision run."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    training, _ = split(load_imagery(options.imagery))
    training += synthetic_tiles(iter(range(options.synthetic)))
    model = load_prompted(options.vision)
    head = model.vision.click_head.train()
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=0.01)
    stream = CropStream(training, CropSettings(), seed=options.seed)
    loader = iter(DataLoader(stream, batch_size=options.batch, num_workers=1, prefetch_factor=4))
    begin_run(options.run, options)
    began, losses = time.monotonic(), []
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.lr, warmup=20)
        crop = next(loader)
        points, labels = choose_marks(crop, step)
        loss = mask_loss(heard_logits(model, crop, points).flatten(0, 1), labels.flatten(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 30 == 0 or step + 1 == options.steps:
            loss_, seconds = round(sum(losses) / len(losses), 4), round(time.monotonic() - began, 1)
            write_record(options.run, {"step": step + 1, "loss": loss_, "s": seconds})
            losses.clear()
            _keep(head, options.vision / "last.pt")
    end_run(options.run)


def _keep(head: nn.Module, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    for name in ("model", "average"):
        if name in state:
            state[name] |= {f"vision.click_head.{key}": value for key, value in head.state_dict().items()}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_clicks", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True, help="labelled imagery (see datasets.py)")
    parser.add_argument("--vision", type=Path, help="run of train_vision, which gets the head")
    parser.add_argument("--run", type=Path, help="folder of options, log and curves")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--synthetic", type=int, help="synthetic scenes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(read_options(parser, "clicks", arguments))


if __name__ == "__main__":
    main()
