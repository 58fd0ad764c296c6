"""The mask loss of the paper (2 x BCE + 1 x Dice), blind where the label is not known."""

import torch
from torch import Tensor
from torch.nn import functional as F

from spex_model.training.datasets import UNKNOWN


def mask_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.03) -> Tensor:
    """2 BCE + 1 Dice over prompts.

    logits (N, H, W) float; labels (N, H, W) uint8 in {0, 1, 255}, 255 counts for nothing. `smoothing` softens
    targets, since drawn outlines are off by a pixel here and there. A prompt without any known pixel adds 0;
    Dice counts only where the class is present, because it has no gradient worth having on empty targets.
    """
    known = (labels != UNKNOWN).float()
    target = (labels == 1).float()
    soft = target * (1 - 2 * smoothing) + smoothing
    count = known.sum((1, 2))
    bce = (F.binary_cross_entropy_with_logits(logits, soft, reduction="none") * known).sum((1, 2)) / count.clamp(min=1)
    probability = torch.sigmoid(logits) * known
    overlap = (probability * target).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum((1, 2)) + (target * known).sum((1, 2)) + 1)
    present = ((target * known).sum((1, 2)) > 0).float()
    usable = (count > 0).float()
    return (2 * bce + dice * present).sum() / usable.sum().clamp(min=1)


def presence_loss(presence: Tensor, labels: Tensor) -> Tensor:
    """BCE of presence logits (N,) against whether the class occurs among at least 8 known pixels of the crop."""
    known = (labels != UNKNOWN).float().mean((1, 2)) > 0.9
    present = ((labels == 1).sum((1, 2)) >= 8).float()
    loss = F.binary_cross_entropy_with_logits(presence, present, reduction="none") * known
    return loss.sum() / known.sum().clamp(min=1)
