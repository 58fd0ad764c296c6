"""What simpler methods reach on the same images: indices, a random forest on pixels, and a plain U-Net without language.

`python -m spex_model.training.baselines --imagery FOLDER` trains the forest and the U-Net on the training side.
"""

import argparse
import itertools
import logging
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from skimage.filters import threshold_otsu
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spex_model.imaging.indices import available_indices, compute_index, prior_for
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.scene import Scene
from spex_model.model.config import SpexConfig
from spex_model.model.processor import pixel_channels
from spex_model.training.crops import CropSettings, CropStream
from spex_model.training.datasets import UNKNOWN, Tile, load_imagery, split
from spex_model.training.losses import mask_loss
from spex_model.training.precision import mixed_precision

log = logging.getLogger(__name__)

_INDICES = {
    "water": ("NDWI", "MNDWI"), "vegetation": ("NDVI",), "trees": ("NDVI",), "buildings": ("NDBI",), "bare soil": ("BI",),
}  # fmt: skip
FOREST_SOURCES = ("landsat", "naip")
"""Sources with spectra that a pixel alone can be told by; each gets a forest of its own."""


def index_masks(scene: Scene, land_cover: str) -> dict[str, np.ndarray]:
    """Masks (H, W) bool of the usual indices at their usual thresholds, and at Otsu's."""
    masks = {}
    for name in _INDICES[land_cover]:
        if name not in available_indices(scene):
            continue
        masks[name] = prior_for(scene, land_cover, index=name).mask
        values = compute_index(scene, name)
        finite = values[np.isfinite(values)]
        if finite.size and finite.min() < finite.max():
            masks[f"{name}, Otsu"] = np.nan_to_num(values, nan=-9) > threshold_otsu(finite)
    return masks


def scene_channels(scene: Scene) -> np.ndarray:
    """The encoder's own input channels (num_channels, H, W) float32 of a whole scene."""
    reflectance = np.nan_to_num(scene.reflectance)
    return pixel_channels(reflectance, scene.bands, scene.valid, gsd_m=scene.gsd_m, calibrated=scene.calibrated)


class Forest:
    """A random forest on single pixels, one a source and land cover."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], RandomForestClassifier] = {}

    def fit(self, tiles: Sequence[Tile], per_tile: int = 400, seed: int = 0) -> None:
        """Fit on a number of known pixels of every tile."""
        rng = np.random.default_rng(seed)
        for source in FOREST_SOURCES:
            chosen = [tile for tile in tiles if tile.source == source]
            if not chosen:
                continue
            pixels = [self._pixels(tile) for tile in chosen]
            for number, cover in enumerate(LAND_COVERS):
                inputs, targets = [], []
                for tile, values in zip(chosen, pixels, strict=True):
                    labels = tile.covers[number].ravel()
                    known = np.flatnonzero((labels != UNKNOWN) & tile.valid.ravel())
                    picked = rng.choice(known, min(per_tile, len(known)), replace=False)
                    inputs.append(values[picked])
                    targets.append(labels[picked])
                target = np.concatenate(targets)
                if len(np.unique(target)) == 2:
                    forest = RandomForestClassifier(100, min_samples_leaf=5, n_jobs=-1, random_state=seed)
                    self.models[source, cover] = forest.fit(np.concatenate(inputs), target)

    @staticmethod
    def _pixels(tile: Tile) -> np.ndarray:
        channels = pixel_channels(
            tile.reflectance, tile.bands, tile.valid, gsd_m=tile.gsd_m, calibrated=tile.calibrated
        )
        return channels.reshape(len(channels), -1).T

    def mask(self, source: str, scene: Scene, land_cover: str) -> np.ndarray | None:
        """The mask (H, W) bool, or None where no forest was fitted for this."""
        model = self.models.get((source, land_cover))
        if model is None:
            return None
        channels = scene_channels(scene)
        return (model.predict(channels.reshape(len(channels), -1).T) == 1).reshape(scene.shape) & scene.valid


def _double(in_channels: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (in_channels, channels):
        layers += [
            nn.Conv2d(width, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    """A U-Net (Ronneberger 2015) with one output a land cover; (B, num_channels, H, W) -> (B, len(LAND_COVERS), H, W)."""

    def __init__(self, num_channels: int, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_double(a, b) for a, b in zip((num_channels, *widths), widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.merge = nn.ModuleList(_double(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], len(LAND_COVERS), 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        kept = []
        hidden = pixel_values
        for level, block in enumerate(self.down):
            hidden = block(hidden if level == 0 else nn.functional.max_pool2d(hidden, 2))
            kept.append(hidden)
        for level in reversed(range(len(self.up))):
            hidden = self.merge[level](torch.cat([self.up[level](hidden), kept[level]], dim=1))
        return self.head(hidden)


def train_unet(tiles: list[Tile], path: Path, steps: int, seed: int = 0) -> None:
    """Train on the same crops as SPEX (augmentation, band dropout) and write the weights."""
    torch.manual_seed(seed)
    model = PlainUNet(SpexConfig().num_channels)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    stream = CropStream(tiles, CropSettings(), seed)
    loader = iter(DataLoader(stream, batch_size=16, num_workers=1, prefetch_factor=4))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    log.info("U-Net of %.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    began, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        crop = next(loader)
        with mixed_precision():
            logits = model(crop.pixel_values).float()
        asked = crop.asked[..., None, None].expand(-1, -1, *logits.shape[-2:])
        loss = mask_loss(logits.gather(1, asked).flatten(0, 1), crop.labels.flatten(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            log.info("step %d of %d, loss %.4f, %.0f s", step, steps, total / 100, time.monotonic() - began)
            total = 0.0
            torch.save(model.state_dict(), path)
    torch.save(model.state_dict(), path)


class Baselines:
    """All baselines that were trained, asked alike."""

    def __init__(self, run: Path | None) -> None:
        self.forest, self.unet = Forest(), None
        if run is not None and (run / "forest.pkl").exists():
            self.forest = pickle.loads((run / "forest.pkl").read_bytes())
        if run is not None and (run / "unet.pt").exists():
            self.unet = PlainUNet(SpexConfig().num_channels).eval()
            self.unet.load_state_dict(torch.load(run / "unet.pt", weights_only=True))

    def masks(self, source: str, scene: Scene, land_cover: str) -> dict[str, np.ndarray]:
        """Masks (H, W) bool of each method that can answer."""
        masks = index_masks(scene, land_cover)
        forest = self.forest.mask(source, scene, land_cover)
        if forest is not None:
            masks["random forest"] = forest
        if self.unet is not None:
            masks["U-Net"] = self._unet_mask(scene, land_cover)
        return masks

    @torch.inference_mode()
    def _unet_mask(self, scene: Scene, land_cover: str) -> np.ndarray:
        assert self.unet is not None
        channels = scene_channels(scene)
        height, width = scene.shape
        padded = np.pad(channels, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
        logits = self.unet(torch.from_numpy(padded)[None])[0, LAND_COVERS.index(land_cover), :height, :width]
        return (logits.numpy() > 0) & scene.valid


def main() -> None:
    """Train what needs training."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.baselines", description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500, help="of the U-Net")
    parser.add_argument("--threads", type=int, default=2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.run.mkdir(parents=True, exist_ok=True)
    training, _ = split(load_imagery(options.imagery), options.fold)
    forest = Forest()
    forest.fit(training)
    (options.run / "forest.pkl").write_bytes(pickle.dumps(forest))
    log.info("forests for %s", ", ".join(" ".join(key) for key in forest.models))
    if options.steps:
        train_unet(training, options.run / "unet.pt", options.steps)


if __name__ == "__main__":
    main()
