"""Pictures of a scene for people: three bands stretched to 8 bit."""

import numpy as np

from spex_model.imaging.errors import BandsError
from spex_model.imaging.scene import Scene

COMPOSITES: dict[str, tuple[str, str, str]] = {
    "natural": ("red", "green", "blue"),
    "false colour": ("nir", "red", "green"),
    "short-wave": ("swir1", "nir", "red"),
}
"""Bands that are shown as red, green and blue. In false colour plants are red, in short-wave water is black."""


_VIVID_RANGE, _DARK, _TOO_DARK = 0.35, 0.33, 0.12


def available_composites(scene: Scene) -> tuple[str, ...]:
    """Names of the composites that the bands allow; a scene without red, green and blue has "grey"."""
    return tuple(name for name, bands in COMPOSITES.items() if set(bands) <= set(scene.bands)) or ("grey",)


def stretch(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """One band (H, W) to 0-255 between its 2nd and 98th percentile, uint8; 0 where not valid."""
    inside = values[valid]
    if inside.size == 0:
        return np.zeros(values.shape, np.uint8)
    sample = inside[:: max(1, inside.size // 200_000)]
    low, high = np.percentile(sample, (2, 98))
    scaled = (np.nan_to_num(values, nan=low) - low) / max(float(high - low), 1e-6)
    return np.where(valid, np.clip(scaled, 0, 1) * 255, 0).astype(np.uint8)


def rgb_composite(scene: Scene, kind: str = "natural", *, max_side: int | None = None) -> np.ndarray:
    """A picture (h, w, 3) uint8 of the scene, thinned so that no side is longer than `max_side`.

    Uncalibrated RGB is shown as it is, unless it is too flat to see anything, as raw counts of old satellites are.
    All else is stretched, and brightened where clouds or roofs leave the ground dark. Raises BandsError when the bands don't allow that composite.
    """
    step = 1 if max_side is None else max(1, -(-max(scene.shape) // max_side))
    valid = scene.valid[::step, ::step]
    if kind == "grey":
        grey = stretch(scene.reflectance[0, ::step, ::step], valid)
        return np.stack([grey] * 3, axis=-1)
    if kind not in COMPOSITES or not set(COMPOSITES[kind]) <= set(scene.bands):
        raise BandsError(
            f"The composite '{kind}' cannot be shown; this image allows: {', '.join(available_composites(scene))}."
        )
    channels = [scene.band(name)[::step, ::step] for name in COMPOSITES[kind]]
    if kind == "natural" and not scene.calibrated and _is_vivid(channels, valid):
        return np.stack(
            [np.nan_to_num(np.clip(channel, 0, 1) * 255).round().astype(np.uint8) for channel in channels], -1
        )
    return _brighten(np.stack([stretch(channel, valid) for channel in channels], axis=-1), valid)


def _is_vivid(channels: list[np.ndarray], valid: np.ndarray) -> bool:
    """Whether brightness 0-1 uses enough of its range to be looked at as it is."""
    inside = np.stack([channel[valid] for channel in channels])
    if not inside.size:
        return True
    low, middle, high = np.percentile(inside, (2, 50, 98))
    return bool(high - low < 1e-3 or (high - low >= _VIVID_RANGE and middle >= _TOO_DARK))


def _brighten(picture: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """One gamma for all channels that lifts the middle of a dark picture (h, w, 3) uint8 to a third of the range."""
    middle = float(np.median(picture[valid])) / 255 if valid.any() else 1.0
    if not 0 < middle < _DARK:
        return picture
    gamma = max(0.4, np.log(_DARK) / np.log(middle))
    return np.round(255 * (picture / 255) ** gamma).astype(np.uint8)
