"""Simulated clicks land on errors and say the truth."""

import torch

from spex_model.model.mask_decoder import POINT_ADD, POINT_REMOVE
from spex_model.training.clicks import click_on_errors


def test_clicks_lie_on_errors_and_name_them():
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[0, 1, 5] = 1  # missed
    labels[1, :, 0] = 255
    logits = torch.full((2, 8, 8), -3.0)
    logits[1, 6, 2] = 3.0  # false
    logits[1, 3, 0] = 3.0  # not known, so no error
    points, kinds = click_on_errors(logits, labels, 4, torch.Generator().manual_seed(0))
    assert points.shape == (2, 4, 2)
    pixels = (points * 8 - 0.5).round().int()
    assert (pixels[0] == torch.tensor([5, 1])).all() and (kinds[0] == POINT_ADD).all()
    assert (pixels[1] == torch.tensor([2, 6])).all() and (kinds[1] == POINT_REMOVE).all()


def test_nothing_known_still_gives_points():
    labels = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    points, _ = click_on_errors(torch.zeros(1, 4, 4), labels, 2, torch.Generator())
    assert torch.isfinite(points).all()
