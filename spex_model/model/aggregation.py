"""Multiscale feature aggregation (paper, section III-B) and the image tokens of the language model."""

from torch import Tensor, nn
from torch.nn import functional as F


class MultiscaleAggregation(nn.Module):
    """Fuses the pyramid from stride 32 up to stride 4 into the mask decoder's image embedding.

    Each level passes a 1 x 1 and a 3 x 3 convolution; the coarser level's result, resampled, is added
    (residual fusion from level to level); a last 1 x 1 convolution widens the sum for the decoder.
    The two finest stages stay apart: they join the decoder where it upsamples. `levels` fuses only so many levels from
    stride 4 on (None: all).
    """

    def __init__(
        self, stage_widths: tuple[int, ...], width: int, decoder_width: int, levels: int | None = None
    ) -> None:
        super().__init__()
        most = len(stage_widths) - 2
        if levels is not None and not 1 <= levels <= most:
            raise ValueError(f"The pyramid has {most} levels to aggregate; {levels} cannot be taken.")
        fused = stage_widths[2:][:levels]
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in fused)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in fused)
        self.norm = nn.ModuleList(nn.GroupNorm(8, width) for _ in fused)
        self.widen = nn.Conv2d(width, decoder_width, 1)
        self.high_res_stride1 = nn.Conv2d(stage_widths[0], decoder_width // 8, 1)
        self.high_res_stride2 = nn.Conv2d(stage_widths[1], decoder_width // 4, 1)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Aggregate one map a stage.

        Returns the embedding (B, decoder_width, H/4, W/4), the coarsest fused map (B, width, H/32, W/32 of all levels),
        and the fine maps [(B, decoder_width/8, H, W), (B, decoder_width/4, H/2, W/2)].
        """
        fused: Tensor | None = None
        coarsest: Tensor | None = None
        levels = list(zip(features[2:][: len(self.lateral)], self.lateral, self.smooth, self.norm, strict=True))
        for feature, lateral, smooth, norm in reversed(levels):
            hidden = lateral(feature)
            if fused is not None:
                hidden = hidden + F.interpolate(fused, size=hidden.shape[-2:], mode="bilinear", align_corners=False)
            fused = hidden + F.relu(norm(smooth(hidden)))
            coarsest = fused if coarsest is None else coarsest
        assert fused is not None and coarsest is not None  # there is at least one level
        return (
            self.widen(fused),
            coarsest,
            [self.high_res_stride1(features[0]), self.high_res_stride2(features[1])],
        )


class ImageTokens(nn.Module):
    """Pools the coarsest fused map to a grid of tokens: (B, width, h, w) -> (B, N, vision_hidden_size)."""

    def __init__(self, width: int, num_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.grid = round(num_tokens**0.5)
        if self.grid**2 != num_tokens:
            raise ValueError(f"num_image_tokens must be a square number, got {num_tokens}.")
        self.project = nn.Linear(width, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(features, self.grid).flatten(2).transpose(1, 2)
        return self.norm(self.project(pooled))
