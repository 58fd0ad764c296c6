"""SPEX's vision side as one module: encode once, then decode as many prompts as are asked."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spex_model.model.aggregation import ImageTokens, MultiscaleAggregation
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
        self.aggregation = MultiscaleAggregation(config.stage_widths, config.aggregation_width, config.decoder_width)
        self.image_tokens = ImageTokens(config.aggregation_width, config.num_image_tokens, config.vision_hidden_size)
        self.condensation = TokenContextCondensation(
            config.language_hidden_size, config.decoder_width, config.condensed_tokens
        )
        self.mask_decoder = MaskDecoder(
            config.decoder_width, config.decoder_heads, config.decoder_layers, config.decoder_mlp_width
        )
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

    def embed_points(self, features: VisionFeatures, points_xy: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens (B, N, decoder_width) of points (B, N, 2) in 0-1 of the tile, with labels (B, N) int."""
        positions = features.embedding.flatten(2).transpose(1, 2)
        return self.mask_decoder.embed_points(
            points_xy, labels, positions, (features.embedding.shape[-2], features.embedding.shape[-1])
        )

    def decode(self, features: VisionFeatures, hidden_states: list[Tensor], points: Tensor | None = None) -> Tensor:
        """Decode one reply a tile: B tensors (T_i, language_hidden_size) -> logits (B, H, W).

        points: optional (N, 3), one row (x, y, label) in 0-1 of the tile, given to every tile of the batch.
        """
        prompts = self.condensation(hidden_states)
        if points is not None and len(points):
            given = points.expand(len(prompts), -1, -1)
            prompts = torch.cat([prompts, self.embed_points(features, given[..., :2], given[..., 2].long())], dim=1)
        logits, _ = self.decode_prompts(features, prompts[:, None])
        return logits[:, 0]
