"""The mask decoder for serving: the same function as `MaskDecoder`, arranged for many prompts on encoded tiles.

A pass over a 512-tile moves maps of 16,384 to 262,144 positions, and on a CPU that movement is what it costs. Here
the few prompt tokens take over the projections of attention (queries times key weights is a small matrix, applied to
the map at once), each upsampling is one matrix product onto maps that lie in block order, and only the finished
logits are put back into rows and columns. Float32 throughout; differs from `MaskDecoder` by rounding alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spex_model.model.mask_decoder import MaskDecoder
from spex_model.model.modeling_spex import VisionFeatures


@dataclass(frozen=True)
class TileMaps:
    """What is kept of one encoded tile of (4h, 4w) pixels, in bfloat16: about 16 MB for a 512-tile.

    embedding (h*w, width); middle (h*w, 4*width/4): at each position its 2 x 2 block at stride 2;
    fine (4*h*w, 4*width/8): at each of those, its 2 x 2 block at stride 1. The biases of the upsampling
    convolutions are already in the fine maps. grid is (h, w).
    """

    embedding: Tensor
    middle: Tensor
    fine: Tensor
    grid: tuple[int, int]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The maps, as a cache stores them."""
        return self.embedding, self.middle, self.fine

    @property
    def nbytes(self) -> int:
        """Bytes that the maps take."""
        return sum(tensor.nbytes for tensor in self.tensors)


def lay_out(decoder: MaskDecoder, features: VisionFeatures, dtype: torch.dtype = torch.bfloat16) -> TileMaps:
    """Arrange the features of one tile (B = 1) for `decode_tiles`: everything that doesn't depend on the prompt."""
    sam = decoder.decoder
    _, width, height_, width_ = features.embedding.shape
    fine, middle = features.high_res
    middle = middle + sam.upscale_conv1.bias.view(1, -1, 1, 1)
    fine = fine + sam.upscale_conv2.bias.view(1, -1, 1, 1)
    middle = middle.view(-1, height_, 2, width_, 2).permute(1, 3, 2, 4, 0)
    fine = fine.view(-1, height_, 2, 2, width_, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    positions = height_ * width_
    return TileMaps(
        features.embedding[0].flatten(1).T.to(dtype).contiguous(),
        middle.reshape(positions, width).to(dtype),
        fine.reshape(4 * positions, width // 2).to(dtype),
        (height_, width_),
    )


@torch.inference_mode()
def decode_tiles(decoder: MaskDecoder, tiles: Sequence[TileMaps], prompts: Tensor) -> Tensor:
    """Logits (B, 4h, 4w) float32 of B prompts (B, N, width) on B tiles of one grid, in one pass."""
    grids = {tile.grid for tile in tiles}
    if len(grids) != 1 or len(tiles) != len(prompts):
        raise ValueError(f"One pass takes tiles of one grid and a prompt for each; got {len(prompts)} for {grids}.")
    height, width = grids.pop()
    embedding, middle, fine = (_stack(maps, prompts.device) for maps in zip(*(t.tensors for t in tiles), strict=True))
    positions = decoder.dense_positions(height, width).flatten(2).transpose(1, 2)
    tokens, embedding = _attend(decoder, prompts, embedding, positions)
    return _upsample(decoder, tokens, embedding, middle, fine, (height, width))


def _stack(maps: Sequence[Tensor], device: torch.device) -> Tensor:
    """A float32 batch of maps; a fresh one, which may be written into."""
    return torch.stack([map_.to(device) for map_ in maps]).float()


def _attend(decoder: MaskDecoder, prompts: Tensor, image: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """SAM 2's two-way transformer: output tokens (B, N + 3, width) and the image's positions (B, h*w, width)."""
    sam = decoder.decoder
    outputs = torch.cat([sam.obj_score_token.weight, sam.iou_token.weight, sam.mask_tokens.weight])
    asked = torch.cat([outputs.expand(len(prompts), -1, -1), prompts], dim=1)
    tokens, placed = asked, image + positions
    for number, layer in enumerate(sam.transformer.layers):
        if number == 0:
            tokens = _attend_self(layer.self_attn, tokens, tokens)
        else:
            tokens = tokens + _attend_self(layer.self_attn, tokens + asked, tokens)
        tokens = layer.layer_norm1(tokens)
        tokens = tokens + _read_image(layer.cross_attn_token_to_image, tokens + asked, placed, image)
        tokens = layer.layer_norm2(tokens)
        tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
        image = layer.layer_norm4(_write_image(layer.cross_attn_image_to_token, placed, tokens + asked, tokens, image))
        placed = torch.add(image, positions, out=placed)
    tokens = tokens + _read_image(sam.transformer.final_attn_token_to_image, tokens + asked, placed, image)
    return sam.transformer.layer_norm_final_attn(tokens), image


def _attend_self(attention: Any, query: Tensor, value: Tensor) -> Tensor:
    attended: Tensor = attention(query[:, None], query[:, None], value[:, None])[0][:, 0]
    return attended


def _heads(weight: Tensor, heads: int) -> Tensor:
    """A projection's weight (inner, width) as (heads, inner/heads, width)."""
    return weight.view(heads, -1, weight.shape[-1])


def _read_image(attention: Any, query: Tensor, placed: Tensor, image: Tensor) -> Tensor:
    """Tokens (B, N, width) attend to the image. Keys and values are never made: weights meet the tokens instead.

    The bias of the keys shifts all scores of a query alike, so softmax drops it.
    """
    heads = attention.num_attention_heads
    asked = attention.q_proj(query).unflatten(-1, (heads, -1)) * attention.scaling
    reach = torch.einsum("bnhd,hdw->bhnw", asked, _heads(attention.k_proj.weight, heads)).flatten(1, 2)
    shares = torch.softmax(reach @ placed.transpose(1, 2), dim=-1)
    seen = (shares @ image).unflatten(1, (heads, -1))
    values = torch.einsum("bhnw,hdw->bnhd", seen, _heads(attention.v_proj.weight, heads)).flatten(2)
    told: Tensor = attention.o_proj(values + attention.v_proj.bias)
    return told


def _write_image(attention: Any, placed: Tensor, key: Tensor, value: Tensor, image: Tensor) -> Tensor:
    """The image attends to the tokens: `image` plus what it takes from them (B, h*w, width), before the norm."""
    heads = attention.num_attention_heads
    keys = attention.k_proj(key).unflatten(-1, (heads, -1)) * attention.scaling
    values = attention.v_proj(value).unflatten(-1, (heads, -1))
    reach = torch.einsum("bnhd,hdw->bwnh", keys, _heads(attention.q_proj.weight, heads)).flatten(2)
    shift = torch.einsum("bnhd,hd->bnh", keys, attention.q_proj.bias.view(heads, -1)).flatten(1)
    scores = torch.baddbmm(shift[:, None], placed, reach)
    shares = torch.softmax(scores.unflatten(-1, (-1, heads)), dim=2).flatten(2)
    given = torch.einsum("bnhd,whd->bnhw", values, attention.o_proj.weight.unflatten(-1, (heads, -1))).flatten(1, 2)
    # The shares of each head add up to one, so that a part of the bias in every row adds the whole.
    return torch.baddbmm(image, shares, given + attention.o_proj.bias / heads)


def _upsample(
    decoder: MaskDecoder, tokens: Tensor, image: Tensor, middle: Tensor, fine: Tensor, grid: tuple[int, int]
) -> Tensor:
    """From stride 4 to single pixels; `middle` and `fine` are used up."""
    sam, (height, width) = decoder.decoder, grid
    norm = sam.upscale_layer_norm
    first, second = (_as_matrix(layer.weight) for layer in (sam.upscale_conv1, sam.upscale_conv2))
    count = len(image)
    image = middle.baddbmm_(image, first.expand(count, -1, -1)).view(count, -1, norm.normalized_shape[0])
    image = F.gelu(F.layer_norm(image, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
    image = fine.baddbmm_(image, second.expand(count, -1, -1)).view(count, 16 * height * width, -1)
    mask_token = 2  # behind the tokens of presence and quality
    mixture = sam.output_hypernetworks_mlps[0](tokens[:, mask_token])
    logits = torch.bmm(F.gelu(image), mixture[:, :, None])
    blocks = logits.view(count, height, width, 2, 2, 2, 2)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).reshape(count, 4 * height, 4 * width)


def _as_matrix(weight: Tensor) -> Tensor:
    """A 2 x 2 transposed convolution of stride 2, (in, out, 2, 2), as the matrix (in, 4*out) from a position to its block."""
    return weight.permute(0, 2, 3, 1).flatten(1)
