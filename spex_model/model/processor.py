"""From a scene to the encoder's channels, and from a reply's hidden states to logits on the scene's grid."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spex_model.imaging.bands import SLOTS
from spex_model.imaging.scene import Scene
from spex_model.imaging.tiles import Window, blend_weights, tile_windows
from spex_model.model.click_head import BOX_TOP_LEFT
from spex_model.model.config import INDEX_CHANNELS
from spex_model.model.decoding import TileMaps, decode_tiles, lay_out
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


class TileCache(Protocol):
    """Where the encoded tiles of one scene are kept."""

    def get(self, window: Window) -> TileMaps | None:
        """The maps of a tile, or None where they aren't held (any more)."""
        ...

    def put(self, window: Window, maps: TileMaps) -> None:
        """Hold the maps of a tile."""
        ...


class RecentTiles:
    """The last tiles of one scene in memory, up to a number."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tiles: OrderedDict[Window, TileMaps] = OrderedDict()

    def get(self, window: Window) -> TileMaps | None:
        return self._tiles.get(window)

    def put(self, window: Window, maps: TileMaps) -> None:
        self._tiles[window] = maps
        while len(self._tiles) > self._limit:
            self._tiles.popitem(last=False)


class SceneFeatures:
    """One scene's encoded tiles, as far as a cache holds them, and its image tokens.

    Tiles are encoded when first decoded, and anew when the cache has let go of them; without a `cache` the last
    `max_tiles` are kept. `recall` gives the scene back for that; without it the scene itself is held.
    """

    def __init__(
        self,
        vision: SpexVision,
        scene: Scene,
        *,
        max_tiles: int = 12,
        cache: TileCache | None = None,
        recall: Callable[[], Scene] | None = None,
    ) -> None:
        self.vision = vision
        self.shape = scene.shape
        self.windows = tile_windows(scene.shape, vision.config.tile_size, vision.config.tile_overlap)
        self._cache = cache or RecentTiles(max_tiles)
        self._recall = recall or (lambda: scene)
        if len(self.windows) == 1:
            self.tokens = self._encode_tile(scene, self.windows[0])[1]
        else:
            self.tokens = self._encode(prepare_overview(scene, vision.config.tile_size)).tokens[0]

    @torch.inference_mode()
    def _encode(self, pixel_values: Tensor) -> VisionFeatures:
        padded = pad_to_stride(pixel_values[None], self.vision.encoder.stride)
        parameter = next(self.vision.parameters())
        return self.vision.encode(padded.to(parameter.device, parameter.dtype, memory_format=torch.channels_last))

    @torch.inference_mode()
    def _encode_tile(self, scene: Scene, window: Window) -> tuple[TileMaps, Tensor]:
        features = self._encode(prepare_pixels(scene, window))
        maps = lay_out(self.vision.mask_decoder, features)
        self._cache.put(window, maps)
        return maps, features.tokens[0]

    def tile(self, window: Window) -> TileMaps:
        """The maps of one window, from the cache or encoded now."""
        return self._cache.get(window) or self._encode_tile(self._recall(), window)[0]


def encode_scene(vision: SpexVision, scene: Scene) -> SceneFeatures:
    """Encode a scene once; what comes back answers any number of `decode_scene` calls."""
    return SceneFeatures(vision, scene)


def points_on_tile(points: Sequence[tuple[float, float, int]], window: Window) -> list[tuple[float, float, int]]:
    """The points (row, column, label) that lie in a window; a box that reaches into it is cut to it, corner by corner.

    The two corners of a box stand next to each other, the upper left one first.
    """
    row0, col0, row1, col1 = window
    inside, following = [], iter(points)
    for row, column, label in following:
        if label == BOX_TOP_LEFT:
            last_row, last_column, closing = next(following)
            if row < row1 and column < col1 and last_row >= row0 and last_column >= col0:
                inside.append((max(row, row0), max(column, col0), label))
                inside.append((min(last_row, row1 - 1), min(last_column, col1 - 1), closing))
        elif row0 <= row < row1 and col0 <= column < col1:
            inside.append((row, column, label))
    return inside


class Painting:
    """One reply on its way to logits (H, W) on the scene's grid, tile by tile, overlaps blended in logit space.

    hidden_states (T, language_hidden_size): post-norm last-layer states at each generated token.
    points: (row, column, label) in pixels of the scene; label 1 adds, 0 removes, 2 and 3 are a box's corners.
    """

    def __init__(
        self, features: SceneFeatures, hidden_states: Tensor, points: Sequence[tuple[float, float, int]] = ()
    ) -> None:
        self.features = features
        self._points = points
        device = next(features.vision.parameters()).device
        with torch.inference_mode():
            self.said = features.vision.condensation([hidden_states.to(device)])[0]
        self._logits = np.zeros(features.shape, np.float32)
        self._weights = np.zeros(features.shape, np.float32)

    def marks(self, window: Window, maps: TileMaps) -> Tensor | None:
        """The points that lie in a tile (N, 3), rows (x, y, label) in 0-1 of it, or None where none do."""
        height, width = (4 * side for side in maps.grid)
        inside = [
            ((column + 0.5 - window[1]) / width, (row + 0.5 - window[0]) / height, label)
            for row, column, label in points_on_tile(self._points, window)
        ]
        return torch.tensor(inside, dtype=torch.float32, device=self.said.device) if inside else None

    def add(self, window: Window, decoded: np.ndarray) -> None:
        """Blend in the logits of one tile."""
        row0, col0, row1, col1 = window
        weight = blend_weights(window, self.features.shape, self.features.vision.config.tile_overlap)
        self._logits[row0:row1, col0:col1] += weight * decoded[: row1 - row0, : col1 - col0]
        self._weights[row0:row1, col0:col1] += weight

    def logits(self) -> np.ndarray:
        """Logits (H, W) float32, once every window is painted."""
        return self._logits / np.maximum(self._weights, 1e-6)


@torch.inference_mode()
def paint(strokes: Sequence[tuple[Painting, Window]]) -> list[int]:
    """Paint tiles of any number of paintings of one model, and return the sizes of the passes that it took.

    Tiles of the same size share a pass of the decoder.
    """
    passes: dict[tuple[int, int], list[tuple[Painting, Window, TileMaps]]] = {}
    for painting, window in strokes:
        maps = painting.features.tile(window)
        passes.setdefault(maps.grid, []).append((painting, window, maps))
    for together in passes.values():
        vision = together[0][0].features.vision
        prompts = torch.stack([painting.said for painting, _, _ in together])
        decoded = decode_tiles(vision.mask_decoder, [maps for _, _, maps in together], prompts)
        for (painting, window, maps), logits in zip(together, decoded, strict=True):
            marks = painting.marks(window, maps)
            if marks is not None:
                positions = maps.embedding.to(logits)[None]
                logits = vision.click_head(positions, maps.grid, logits[None], marks[None])[0]
            painting.add(window, logits.cpu().numpy())
    return [len(together) for together in passes.values()]


def decode_scene(
    features: SceneFeatures, hidden_states: Tensor, points: Sequence[tuple[float, float, int]] = ()
) -> np.ndarray:
    """Logits (H, W) float32 of one reply on the scene's grid; arguments as for `Painting`."""
    painting = Painting(features, hidden_states, points)
    for window in features.windows:
        paint([(painting, window)])
    return painting.logits()
