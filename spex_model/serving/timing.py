"""How long the vision side takes on this machine: `python -m spex_model.serving.timing`.

Measures one tile of the model's size: encoding it, and a pass of the decoder over its features, alone and for
several prompts at once. Prints the milliseconds; with `--json` one JSON object, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from spex_model.imaging.scene import Scene
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import Painting, SceneFeatures, paint
from spex_model.model.weights import build_checkpoint, load_vision


def random_scene(size: int) -> Scene:
    """A scene (4, size, size) of noise; how long it takes doesn't depend on what is in it."""
    values = np.random.default_rng(0).uniform(0.02, 0.4, (4, size, size)).astype(np.float32)
    return Scene(values, np.ones((size, size), bool), ("blue", "green", "red", "nir"), gsd_m=10.0)


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """The median wall time of `work` in milliseconds, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 1)


def measure(vision: SpexVision, *, batch: int = 4, repeats: int = 9) -> dict[str, float]:
    """Milliseconds by what is done; "decode_batch" is of one pass for `batch` prompts, divided by their number."""
    scene = random_scene(vision.config.tile_size)
    features = SceneFeatures(vision, scene)
    said = torch.randn(40, vision.config.language_hidden_size, generator=torch.Generator().manual_seed(0))
    window = features.windows[0]

    def decode(count: int) -> None:
        paint([(Painting(features, said), window) for _ in range(count)])

    return {
        "encode_ms": median_ms(lambda: SceneFeatures(vision, scene), repeats),
        "decode_ms": median_ms(lambda: decode(1), repeats),
        "decode_batch_ms": round(median_ms(lambda: decode(batch), repeats) / batch, 1),
        "tile_mb": round(features.tile(window).nbytes / 2**20, 1),
        "threads": torch.get_num_threads(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Load the vision side and print what it takes."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.serving.timing", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, help="a built checkpoint; else the one in the cache, built if needed"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--batch", type=int, default=4, help="prompts in the pass for several")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    vision = load_vision(options.checkpoint or build_checkpoint(), device=options.device)
    times = measure(vision, batch=options.batch, repeats=options.repeats)
    if options.json:
        print(json.dumps(times))
    else:
        side = vision.config.tile_size
        print(f"A tile of {side} x {side} pixels, {times['threads']:.0f} threads, median of {options.repeats}:")
        print(f"encode            {times['encode_ms']:8.1f} ms, once an image")
        print(f"decode            {times['decode_ms']:8.1f} ms, once an answer")
        print(f"decode, {options.batch} at once {times['decode_batch_ms']:8.1f} ms each")
        print(f"features          {times['tile_mb']:8.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
