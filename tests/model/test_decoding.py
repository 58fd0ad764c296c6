"""The decoder for serving gives what the trained decoder gives, one by one and in batches."""

import pytest
import torch

from spex_model.model.config import SpexConfig
from spex_model.model.decoding import TileMaps, decode_tiles, lay_out
from spex_model.model.modeling_spex import SpexVision, VisionFeatures
from tests.serving.test_mask_service import TINY


@pytest.fixture(scope="module", params=["tiny", "as shipped"])
def vision(request) -> SpexVision:
    torch.manual_seed(0)
    vision = SpexVision(TINY if request.param == "tiny" else SpexConfig()).eval()
    for parameter in vision.mask_decoder.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # so that no bias is zero and no norm is the identity
    return vision


def encode(vision: SpexVision, seed: int, size: tuple[int, int] = (64, 96)) -> VisionFeatures:
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        return vision.encode(torch.randn(1, vision.config.num_channels, *size, generator=generator))


def prompts(vision: SpexVision, count: int, length: int = 6) -> torch.Tensor:
    return torch.randn(count, length, vision.config.decoder_width, generator=torch.Generator().manual_seed(count))


def test_logits_are_those_of_the_trained_decoder(vision):
    features, asked = encode(vision, 1), prompts(vision, 3)
    with torch.inference_mode():
        expected = vision.decode_prompts(features, asked[None])[0][0]
    maps = lay_out(vision.mask_decoder, features, torch.float32)
    torch.testing.assert_close(decode_tiles(vision.mask_decoder, [maps] * 3, asked), expected, atol=1e-4, rtol=1e-4)


def test_a_batch_gives_what_each_gives_alone(vision):
    tiles = [lay_out(vision.mask_decoder, encode(vision, seed)) for seed in (1, 2)]
    tiles, asked = [*tiles, tiles[0]], prompts(vision, 3)
    together = decode_tiles(vision.mask_decoder, tiles, asked)
    for tile, one, logits in zip(tiles, asked, together, strict=True):
        torch.testing.assert_close(
            decode_tiles(vision.mask_decoder, [tile], one[None])[0], logits, atol=1e-4, rtol=1e-4
        )


def test_a_pass_leaves_the_kept_maps_as_they_are(vision):
    maps = lay_out(vision.mask_decoder, encode(vision, 1), torch.float32)
    before = TileMaps(*(tensor.clone() for tensor in maps.tensors), maps.grid)
    decode_tiles(vision.mask_decoder, [maps], prompts(vision, 1))
    for one, other in zip(maps.tensors, before.tensors, strict=True):
        assert torch.equal(one, other)


def test_tiles_of_two_sizes_are_refused(vision):
    tiles = [lay_out(vision.mask_decoder, encode(vision, 1, size)) for size in ((64, 64), (64, 96))]
    with pytest.raises(ValueError, match="one grid"):
        decode_tiles(vision.mask_decoder, tiles, prompts(vision, 2))
