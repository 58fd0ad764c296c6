"""Clicks and boxes on a mask that a reply has painted: what they add to the logits.

A click means "this, and what belongs to it": near the click, alike, or both. So the head sees, at the embedding's stride,
how near and how much alike each position is to what was clicked, and the logits so far; a few dilated convolutions turn
that into a correction. Without marks nothing is added, so no mask changes that nobody has corrected.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Labels of a mark's points.
POINT_REMOVE, POINT_ADD, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = range(4)

REACHES = (1.0, 3.0, 9.0)
"""How far a click reaches, as standard deviations in positions of the embedding."""


class ClickHead(nn.Module):
    """Image embedding, logits and marks -> corrected logits."""

    def __init__(self, width: int, key_width: int = 32, hidden_width: int = 32) -> None:
        super().__init__()
        self.key = nn.Linear(width, key_width)
        channels = 2 * (len(REACHES) + 1) + 2 + 1
        layers: list[nn.Module] = []
        for dilation in (1, 2, 4, 8):
            layers += [nn.Conv2d(channels, hidden_width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            channels = hidden_width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(hidden_width, 1, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, positions: Tensor, grid: tuple[int, int], logits: Tensor, points: Tensor) -> Tensor:
        """Logits (B, 4h, 4w) with the marks heard.

        positions (B, h*w, width), the image embedding row by row on its grid (h, w); logits (B, 4h, 4w);
        points (B, N, 3), rows (x, y, label) in 0-1 of the tile, the two corners of a box next to each other.
        """
        maps = self._maps(positions, grid, points)
        coarse = F.interpolate(logits[:, None], size=grid, mode="area") / 8
        correction = self.out(self.layers(torch.cat([maps, coarse], dim=1)))
        return logits + F.interpolate(correction, size=logits.shape[-2:], mode="bilinear", align_corners=False)[:, 0]

    def _maps(self, positions: Tensor, grid: tuple[int, int], points: Tensor) -> Tensor:
        """What each kind of mark says of each position: (B, 2 * (reaches + 1) + 2, h, w)."""
        height, width = grid
        rows = (torch.arange(height, device=points.device) + 0.5) / height
        columns = (torch.arange(width, device=points.device) + 0.5) / width
        y, x = (axis.flatten() for axis in torch.meshgrid(rows, columns, indexing="ij"))
        labels = points[..., 2].round()
        looked = _looked_at(points[..., :2], labels).clamp(0, 1 - 1e-6)
        keys = F.normalize(self.key(positions), dim=-1)
        index = (looked[..., 1] * height).long() * width + (looked[..., 0] * width).long()
        clicked = keys.gather(1, index[..., None].expand(-1, -1, keys.shape[-1]))
        alike = clicked @ keys.transpose(1, 2)
        apart = ((looked[..., 0, None] - x) * width) ** 2 + ((looked[..., 1, None] - y) * height) ** 2
        told = []
        for label in (POINT_ADD, POINT_REMOVE):
            meant = (labels == label)[..., None]
            told += [(torch.exp(-apart / (2 * reach**2)) * meant).amax(1) for reach in REACHES]
            told.append((alike * meant).amax(1))
        opens, closes = labels == BOX_TOP_LEFT, labels == BOX_BOTTOM_RIGHT
        after = points.roll(-1, dims=1)
        inside = (x >= points[..., 0, None]) & (x <= after[..., 0, None])
        inside = inside & (y >= points[..., 1, None]) & (y <= after[..., 1, None]) & opens[..., None]
        told += [inside.any(1).to(alike.dtype), (alike * (opens | closes)[..., None]).amax(1)]
        return torch.stack(told, dim=1).unflatten(2, grid).to(alike.dtype)


def _looked_at(points_xy: Tensor, labels: Tensor) -> Tensor:
    """Where a mark looks: a click at its point, the corners of a box at its middle; (B, N, 2)."""
    after, before = points_xy.roll(-1, dims=-2), points_xy.roll(1, dims=-2)
    opens, closes = (labels == BOX_TOP_LEFT)[..., None], (labels == BOX_BOTTOM_RIGHT)[..., None]
    return torch.where(opens, (points_xy + after) / 2, torch.where(closes, (points_xy + before) / 2, points_xy))
