"""SPEX's vision side as one module: encode once, then decode as many prompts as are asked."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spex_model.model.aggregation import ImageTokens, MultiscaleAggregation
from spex_model.model.click_head import ClickHead
from spex_model.model.condensation import TokenContextCondensation
from spex_model.model.config import SpexConfig
from spex_model.model.encoder import SpectralEncoder, initialise
from spex_model.model.mask_decoder import MaskDecoder


@dataclass(frozen=True)
class VisionFeatures:
    """What is kept of B encoded tiles.

    embedding (B, decoder_width, H/4, W/4); high_res [(B, decoder_width/8, H, W), (B, decoder_width/4, H/2, W/2)];
    tokens (B, num_image_tokens, vision_hidden_size), the projector's input.
    """

    embedding: Tensor
    high_res: list[Tensor]
    tokens: Tensor

    def to(self, dtype: torch.dtype) -> "VisionFeatures":
        """The same features in another dtype (bfloat16 halves what a cache holds)."""
        return VisionFeatures(
            self.embedding.to(dtype), [map_.to(dtype) for map_ in self.high_res], self.tokens.to(dtype)
        )


class SpexVision(nn.Module):
    """Encoder, aggregation, image tokens, condensation and mask decoder (paper, figure 3, all but the language model)."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpectralEncoder(config.num_channels, config.stage_widths, config.stage_depths)
        self.aggregation = MultiscaleAggregation(
            config.stage_widths, config.aggregation_width, config.decoder_width, config.aggregated_levels
        )
        self.image_tokens = ImageTokens(config.aggregation_width, config.num_image_tokens, config.vision_hidden_size)
        self.condensation = TokenContextCondensation(
            config.language_hidden_size, config.decoder_width, config.condensed_tokens, config.reply_states
        )
        self.mask_decoder = MaskDecoder(
            config.decoder_width, config.decoder_heads, config.decoder_layers, config.decoder_mlp_width
        )
        self.click_head = ClickHead(config.decoder_width)
        initialise(self.encoder)

    def channels_last(self) -> "SpexVision":
        """Lay the convolutions out channels-last, which makes encoding nearly three times as fast on a CPU."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def encode(self, pixel_values: Tensor) -> VisionFeatures:
        """Encode tiles (B, num_channels, H, W) float32, prepared by `processor.prepare_pixels`."""
        embedding, coarsest, high_res = self.aggregation(self.encoder(pixel_values))
        return VisionFeatures(embedding, high_res, self.image_tokens(coarsest))

    def decode_prompts(self, features: VisionFeatures, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Decode prompt tokens (B, P, N, decoder_width) -> logits (B, P, H, W) and presence logits (B, P)."""
        return self.mask_decoder(features.embedding, features.high_res, prompts)

    def hear_marks(self, features: VisionFeatures, logits: Tensor, points: Tensor) -> Tensor:
        """Logits (B, P, H, W) corrected by marks (B, P, N, 3), rows (x, y, label) in 0-1 of the tile."""
        prompts = logits.shape[1]
        positions = features.embedding.flatten(2).transpose(1, 2).repeat_interleave(prompts, dim=0)
        grid = (features.embedding.shape[-2], features.embedding.shape[-1])
        heard = self.click_head(positions, grid, logits.flatten(0, 1), points.flatten(0, 1))
        return heard.unflatten(0, logits.shape[:2])

    def decode(self, features: VisionFeatures, hidden_states: list[Tensor], points: Tensor | None = None) -> Tensor:
        """Decode one reply a tile: B tensors (T_i, language_hidden_size) -> logits (B, H, W).

        points: optional (N, 3), one row (x, y, label) in 0-1 of the tile, given to every tile of the batch.
        """
        logits, _ = self.decode_prompts(features, self.condensation(hidden_states)[:, None])
        if points is not None and len(points):
            logits = self.hear_marks(features, logits, points.expand(len(logits), 1, -1, -1))
        return logits[:, 0]
