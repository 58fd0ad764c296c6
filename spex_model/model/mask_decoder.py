"""The mask generator: SAM 2's two-way mask decoder, prompted by the condensed reply."""

import torch
from torch import Tensor, nn
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder


class MaskDecoder(nn.Module):
    """Image embedding + prompt tokens -> mask logits at full resolution.

    The embedding lies at stride 4 and the decoder's two upsampling steps take in the encoder's maps at
    stride 2 and 1, so logits come out at the pixel grid and are made binary only after that.
    """

    def __init__(self, width: int, heads: int, layers: int, mlp_width: int) -> None:
        super().__init__()
        self.decoder = Sam2MaskDecoder(
            Sam2MaskDecoderConfig(
                hidden_size=width,
                num_attention_heads=heads,
                num_hidden_layers=layers,
                mlp_dim=mlp_width,
                num_multimask_outputs=0,
                iou_head_hidden_dim=width,
                dynamic_multimask_via_stability=False,
                attn_implementation="sdpa",
            )
        )
        # The fine maps arrive projected (see aggregation.py); SAM 2's own projections stay unused.
        del self.decoder.conv_s0, self.decoder.conv_s1
        self.frequencies = nn.Buffer(torch.randn(2, width // 2, generator=torch.Generator().manual_seed(0)))

    def _encode_positions(self, xy: Tensor) -> Tensor:
        """Fourier features (…, width) of (x, y) in 0-1 of the tile, as in SAM."""
        angles = 2 * torch.pi * ((2 * xy - 1) @ self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def dense_positions(self, height: int, width: int) -> Tensor:
        """Fourier features (1, width, h, w) of every position of an embedding."""
        rows = (torch.arange(height, device=self.frequencies.device) + 0.5) / height
        columns = (torch.arange(width, device=self.frequencies.device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        return self._encode_positions(grid).permute(2, 0, 1)[None]

    def forward(self, embedding: Tensor, high_res: list[Tensor], prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Decode P prompts an image.

        embedding (B, width, h, w); high_res [(B, width/8, 4h, 4w), (B, width/4, 2h, 2w)];
        prompts (B, P, N, width). Returns logits (B, P, 4h, 4w) and presence logits (B, P): whether the
        tile holds anything of what was asked for.
        """
        positions = self.dense_positions(*embedding.shape[-2:]).expand(embedding.shape[0], -1, -1, -1)
        masks, _, _, presence = self.decoder(
            image_embeddings=embedding,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=prompts,
            dense_prompt_embeddings=torch.zeros_like(embedding[:, :, :1, :1]),
            multimask_output=False,
            high_resolution_features=high_res,
        )
        return masks[:, :, 0], presence[..., 0]
