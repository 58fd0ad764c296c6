"""Overlapping tiles over a scene of any size, and the weights that blend them without seams."""

import numpy as np

Window = tuple[int, int, int, int]
"""(row0, col0, row1, col1) in pixels, half-open."""


def _starts(length: int, size: int, overlap: int) -> list[int]:
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [round(number * (length - size) / (count - 1)) for number in range(count)]


def tile_windows(shape: tuple[int, int], size: int = 512, overlap: int = 64) -> list[Window]:
    """Windows that cover (H, W) in row order; each is `size` long or as long as the scene, neighbours overlap by `overlap` or more."""
    if not 0 <= overlap < size:
        raise ValueError(f"The overlap must be at least 0 and less than the tile size {size}, got {overlap}.")
    height, width = shape
    return [
        (row, col, min(row + size, height), min(col + size, width))
        for row in _starts(height, size, overlap)
        for col in _starts(width, size, overlap)
    ]


def _ramp(start: int, stop: int, length: int, overlap: int) -> np.ndarray:
    """Weights (stop - start,): rising and falling linearly within `overlap` of an inner edge, 1 elsewhere."""
    position = np.arange(stop - start, dtype=np.float32)
    weights = np.ones(stop - start, np.float32)
    if start > 0:
        weights = np.minimum(weights, (position + 1) / (overlap + 1))
    if stop < length:
        weights = np.minimum(weights, (stop - start - position) / (overlap + 1))
    return weights


def blend_weights(window: Window, shape: tuple[int, int], overlap: int = 64) -> np.ndarray:
    """Positive blending weights (h, w) float32 of one window in a scene of `shape`; divide the sum of weighted tiles by the sum of weights."""
    row0, col0, row1, col1 = window
    return np.outer(_ramp(row0, row1, shape[0], overlap), _ramp(col0, col1, shape[1], overlap))
