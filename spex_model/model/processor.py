"""From a scene to the encoder's channels, and from a reply's hidden states to logits on the scene's grid."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spex_model.imaging.bands import SLOTS
from spex_model.imaging.scene import Scene
from spex_model.imaging.tiles import Window, blend_weights, tile_windows
from spex_model.model.config import INDEX_CHANNELS
from spex_model.model.modeling_spex import SpexVision, VisionFeatures

_INDEX_BANDS = {
    "NDVI": ("nir", "red"),
    "NDWI": ("green", "nir"),
    "MNDWI": ("green", "swir1"),
    "NDBI": ("swir1", "nir"),
}
_UNKNOWN_GSD_M = 10.0


def pixel_channels(
    reflectance: np.ndarray,
    bands: Sequence[str],
    valid: np.ndarray,
    *,
    gsd_m: float | None,
    calibrated: bool,
) -> np.ndarray:
    """Arrange named bands into the encoder's canonical channels.

    reflectance (C, H, W) float32, unitless, NaN where not valid; valid (H, W) bool.
    Returns (num_channels, H, W) float32: the seven slots (2 sqrt(rho) - 1, which spreads the dark values
    in which water differs; 0 where a band is missing), seven presence flags, the normalised differences
    of `INDEX_CHANNELS`, `valid`, log2(pixel size / 10 m) / 4, and whether the values are calibrated.
    Sensors with several bands in one slot (Sentinel-2's three red-edge bands) give the first.
    """
    height, width = valid.shape
    channels = np.zeros((2 * len(SLOTS) + len(INDEX_CHANNELS) + 3, height, width), np.float32)
    by_name: dict[str, np.ndarray] = {}
    for name, values in zip(bands, reflectance, strict=True):
        if name in SLOTS and name not in by_name:
            by_name[name] = np.clip(np.nan_to_num(values, nan=0.0), 0.0, 1.0)
    for slot, name in enumerate(SLOTS):
        if name in by_name:
            channels[slot] = 2 * np.sqrt(by_name[name]) - 1
            channels[len(SLOTS) + slot] = 1
    first_index = 2 * len(SLOTS)
    for offset, index in enumerate(INDEX_CHANNELS):
        one, other = _INDEX_BANDS[index]
        if one in by_name and other in by_name:
            total = by_name[one] + by_name[other]
            channels[first_index + offset] = (by_name[one] - by_name[other]) / np.maximum(total, 0.01)
    channels[:, ~valid] = 0
    channels[-3] = valid
    channels[-2] = math.log2((gsd_m or _UNKNOWN_GSD_M) / 10) / 4
    channels[-1] = calibrated
    return channels


def prepare_pixels(scene: Scene, window: Window | None = None) -> Tensor:
    """The encoder's input (num_channels, h, w) float32 of one window (row0, col0, row1, col1), or of the whole scene."""
    row0, col0, row1, col1 = window or (0, 0, *scene.valid.shape)
    channels = pixel_channels(
        scene.reflectance[:, row0:row1, col0:col1],
        scene.bands,
        scene.valid[row0:row1, col0:col1],
        gsd_m=scene.gsd_m,
        calibrated=scene.calibrated,
    )
    return torch.from_numpy(channels)


def prepare_overview(scene: Scene, size: int) -> Tensor:
    """The whole scene as one input of at most `size` pixels a side, for the language model's image tokens."""
    step = math.ceil(max(scene.valid.shape) / size)
    channels = pixel_channels(
        scene.reflectance[:, ::step, ::step],
        scene.bands,
        scene.valid[::step, ::step],
        gsd_m=scene.gsd_m * step if scene.gsd_m else None,
        calibrated=scene.calibrated,
    )
    return torch.from_numpy(channels)


def pad_to_stride(pixel_values: Tensor, stride: int) -> Tensor:
    """Pad (B, C, H, W) at the bottom and right to multiples of `stride`, by mirroring (zeros where too small)."""
    bottom, right = -pixel_values.shape[-2] % stride, -pixel_values.shape[-1] % stride
    if not bottom and not right:
        return pixel_values
    mirrors = bottom < pixel_values.shape[-2] and right < pixel_values.shape[-1]
    return F.pad(pixel_values, (0, right, 0, bottom), mode="reflect" if mirrors else "constant")


class SceneFeatures:
    """One scene's encoded tiles, kept up to a number, and its image tokens.

    Tiles are encoded when first decoded; a scene with more than `max_tiles` tiles encodes the oldest anew,
    so that memory stays bounded (a 512-tile holds about 36 MB in float32).
    """

    def __init__(self, vision: SpexVision, scene: Scene, *, max_tiles: int = 12) -> None:
        self.vision = vision
        self.scene = scene
        self.max_tiles = max_tiles
        self.windows = tile_windows(scene.valid.shape, vision.config.tile_size, vision.config.tile_overlap)
        self._tiles: OrderedDict[Window, VisionFeatures] = OrderedDict()
        if len(self.windows) == 1:
            self.tokens = self.tile(self.windows[0]).tokens[0]
        else:
            self.tokens = self._encode(prepare_overview(scene, vision.config.tile_size)).tokens[0]

    @torch.inference_mode()
    def _encode(self, pixel_values: Tensor) -> VisionFeatures:
        padded = pad_to_stride(pixel_values[None], self.vision.encoder.stride)
        parameter = next(self.vision.parameters())
        return self.vision.encode(padded.to(parameter.device, parameter.dtype, memory_format=torch.channels_last))

    def tile(self, window: Window) -> VisionFeatures:
        """The features of one window, from the cache or encoded now."""
        features = self._tiles.get(window)
        if features is None:
            features = self._encode(prepare_pixels(self.scene, window))
            self._tiles[window] = features
            if len(self._tiles) > self.max_tiles:
                self._tiles.popitem(last=False)
        return features


def encode_scene(vision: SpexVision, scene: Scene) -> SceneFeatures:
    """Encode a scene once; what comes back answers any number of `decode_scene` calls."""
    return SceneFeatures(vision, scene)


@torch.inference_mode()
def decode_scene(
    features: SceneFeatures,
    hidden_states: Tensor,
    points: Sequence[tuple[float, float, int]] = (),
) -> np.ndarray:
    """Logits (H, W) float32 of one reply on the scene's grid: every tile decoded, overlaps blended in logit space.

    hidden_states (T, language_hidden_size): post-norm last-layer states at each generated token.
    points: (row, column, label) in pixels of the scene; label 1 adds, 0 removes, 2 and 3 are a box's corners.
    """
    height, width = features.scene.valid.shape
    states = hidden_states.to(next(features.vision.parameters()).device)
    logits = np.zeros((height, width), np.float32)
    weights = np.zeros((height, width), np.float32)
    for window in features.windows:
        row0, col0, row1, col1 = window
        tile = features.tile(window)
        tile_height, tile_width = tile.high_res[0].shape[-2:]
        inside = [
            ((column + 0.5 - col0) / tile_width, (row + 0.5 - row0) / tile_height, label)
            for row, column, label in points
            if row0 <= row < row1 and col0 <= column < col1
        ]
        clicks = torch.tensor(inside, dtype=torch.float32) if inside else None
        decoded = features.vision.decode(tile, [states], clicks)[0, : row1 - row0, : col1 - col0]
        weight = blend_weights(window, (height, width), features.vision.config.tile_overlap)
        logits[row0:row1, col0:col1] += weight * decoded.float().cpu().numpy()
        weights[row0:row1, col0:col1] += weight
    return logits / np.maximum(weights, 1e-6)
