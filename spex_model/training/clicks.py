"""Clicks as a person would set them while training: on what the mask has wrong."""

import torch
from torch import Tensor

from spex_model.model.mask_decoder import POINT_ADD, POINT_REMOVE
from spex_model.training.datasets import UNKNOWN


def click_on_errors(logits: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points on pixels that are wrong, at random; on any known pixel where nothing is wrong.

    logits (N, H, W) float; labels (N, H, W) uint8 in {0, 1, 255}. Returns points (N, count, 2) as (x, y) in 0-1
    and their labels (N, count) int: POINT_ADD where the class is, POINT_REMOVE where it is not.
    """
    width = logits.shape[-1]
    truth, known = (labels == 1).flatten(1), (labels != UNKNOWN).flatten(1)
    wrong = ((logits.flatten(1) > 0) != truth) & known
    # A weight above zero everywhere, so that an image without any known pixel still gives points.
    weights = wrong.float() + 1e-4 * known.float() + 1e-9
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    points = torch.stack([(chosen % width + 0.5) / width, (chosen // width + 0.5) / logits.shape[-2]], dim=-1)
    return points, torch.where(truth.gather(1, chosen), POINT_ADD, POINT_REMOVE)
