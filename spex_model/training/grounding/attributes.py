"""The paper's list of attributes in a prompt, held to the pixels."""

import re

import numpy as np

from spex_model.training.grounding import measures
from spex_model.training.grounding.measures import Piece
from spex_model.training.grounding.subject import Ground, Statement


def check_attributes(prompt: str, ground: Ground) -> list[Statement]:
    """The paper's list of attributes in a prompt, entry by entry.

    Order, size and place are exact; centroids may be 0.001 off (three decimals printed); a box must hold all pixels of its
    region (0.002 of the image as slack) and be no more than 2 % plus rounding larger than the smallest rectangle.
    """
    entry = re.compile(r"\{'Size of area': '([^']+)', 'Centroid': \[([\d., -]+)\], 'Location': '([^']+)', 'Bounding box': \[\[(.+?)\]\]\}")  # fmt: skip
    statements = []
    height, width = ground.mask.shape
    listed = entry.findall(prompt)
    for rank, (size, centroid, place, box) in enumerate(listed):
        x, y = (float(value) for value in centroid.split(", "))
        corners = np.array([[float(value) for value in corner.split(", ")] for corner in box.split("], [")]) * (width, height)  # fmt: skip
        fits = False
        for piece in ground.ranked(rank):
            middle = (piece.centroid[1] + 0.5) / width, (piece.centroid[0] + 0.5) / height
            named = measures.size_fits(piece.pixels, ground.valid, size) and place in measures.place_of(
                piece, (height, width)
            )
            close = max(abs(x - middle[0]), abs(y - middle[1])) <= 0.001
            fits = fits or (named and close and _box_fits(corners, piece, 0.002 * max(height, width)))
        statements.append(Statement("attributes", f"entry {rank + 1}: {size}, {place}", fits, "see the prompt"))
    expected = min(10, len(ground.pieces))
    if "'Size of area'" in prompt:
        statements.append(Statement("attributes", f"{len(listed)} entries", len(listed) == expected, f"{expected}"))
    return statements


def _box_fits(corners_xy: np.ndarray, piece: Piece, slack_px: float) -> bool:
    """Whether a box (4, 2) as (x, y) in pixels holds a region and is hardly larger than its smallest rectangle."""
    x, y = corners_xy.T
    around = np.roll(corners_xy, -1, axis=0) - corners_xy
    turning = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    points = np.concatenate([piece.coordinates[:, ::-1] + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    for corner, side in zip(corners_xy, around, strict=True):
        offset = points - corner
        beyond = (
            -np.sign(turning) * (side[0] * offset[:, 1] - side[1] * offset[:, 0]) / max(float(np.hypot(*side)), 1e-9)
        )
        if beyond.max() > slack_px:
            return False
    longer, shorter = piece.rectangle
    return abs(turning) <= 1.02 * longer * shorter + slack_px * (longer + shorter) + slack_px**2
