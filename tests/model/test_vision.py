"""The vision side on tiny inputs: shapes, stitching, what prompts and strictness do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spex_model.imaging.scene import Scene
from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD, REACHES, ClickHead
from spex_model.model.condensation import TokenContextCondensation
from spex_model.model.config import SpexConfig
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import SceneFeatures, decode_scene, encode_scene, pixel_channels
from spex_model.model.weights import load_vision, save_vision

SMALL = SpexConfig(
    tile_size=64,
    tile_overlap=16,
    stage_widths=(8, 8, 16, 16, 16, 16),
    stage_depths=(1, 1, 1, 1, 1, 1),
    aggregation_width=16,
    decoder_width=32,
    decoder_heads=4,
    decoder_mlp_width=32,
    num_image_tokens=4,
    vision_hidden_size=24,
    language_hidden_size=20,
)


@pytest.fixture(scope="module")
def vision() -> SpexVision:
    torch.manual_seed(0)
    return SpexVision(SMALL).eval()


def make_scene(
    height: int, width: int, bands: tuple[str, ...] = ("red", "green", "blue", "nir"), seed: int = 0
) -> Scene:
    values = np.random.default_rng(seed).uniform(0, 0.5, (len(bands), height, width)).astype(np.float32)
    return Scene(values, np.ones((height, width), bool), bands, gsd_m=10.0)


def test_config_survives_a_round_trip_and_refuses_unknown_settings(tmp_path):
    SMALL.save(tmp_path / "spex.json")
    assert SpexConfig.load(tmp_path / "spex.json") == SMALL
    (tmp_path / "spex.json").write_text('{"depth": 3}')
    with pytest.raises(ValueError, match="depth"):
        SpexConfig.load(tmp_path / "spex.json")


def test_logits_lie_on_the_pixel_grid(vision):
    features = vision.encode(torch.randn(2, SMALL.num_channels, 64, 96))
    assert features.embedding.shape == (2, 32, 16, 24)
    assert features.tokens.shape == (2, 4, 24)
    assert vision.decode(features, [torch.randn(5, 20), torch.randn(1, 20)]).shape == (2, 64, 96)


def test_the_encoder_names_sides_that_do_not_fit(vision):
    with pytest.raises(ValueError, match="multiples of 32"):
        vision.encode(torch.randn(1, SMALL.num_channels, 40, 64))


def test_what_is_said_changes_the_mask(vision):
    features = vision.encode(torch.randn(1, SMALL.num_channels, 64, 64))
    one, other = (
        vision.decode(features, [torch.randn(6, 20, generator=torch.Generator().manual_seed(seed))]) for seed in (1, 2)
    )
    assert not torch.allclose(one, other)


@torch.no_grad()
def test_marks_change_the_mask_and_an_untrained_head_changes_nothing(vision):
    features, said = vision.encode(torch.randn(1, SMALL.num_channels, 64, 64)), [torch.randn(6, 20)]
    plain = vision.decode(features, said)
    marks = (torch.tensor([[0.5, 0.5, 1.0]]), torch.tensor([[0.2, 0.2, 2.0], [0.6, 0.7, 3.0]]))
    assert all(torch.equal(vision.decode(features, said, points), plain) for points in marks)
    try:
        torch.nn.init.normal_(vision.click_head.out.weight)
        assert not any(torch.allclose(vision.decode(features, said, points), plain) for points in marks)
    finally:
        torch.nn.init.zeros_(vision.click_head.out.weight)


@torch.no_grad()
def test_a_click_tells_where_and_what_it_is_about():
    head = ClickHead(16, key_width=8)
    positions = torch.randn(1, 64, 16)
    maps = head._maps(positions, (8, 8), torch.tensor([[[0.3125, 0.4375, POINT_ADD]]]))[0]
    near, alike, away = maps[0], maps[len(REACHES)], maps[len(REACHES) + 1 :]
    assert near.argmax() == 3 * 8 + 2 and alike[3, 2] == pytest.approx(1.0, abs=1e-5) and not away.any()


@torch.no_grad()
def test_a_box_covers_its_inside():
    corners = torch.tensor([[[0.25, 0.5, BOX_TOP_LEFT], [0.75, 1.0, BOX_BOTTOM_RIGHT]]])
    inside = ClickHead(16)._maps(torch.randn(1, 64, 16), (8, 8), corners)[0, -2]
    assert inside.sum() == 16 and inside[4:, 2:6].all()


def test_condensation_gives_four_tokens_for_any_length():
    condensation = TokenContextCondensation(20, 32, 4)
    assert condensation([torch.randn(1, 20), torch.randn(37, 20)]).shape == (2, 4, 32)
    with pytest.raises(ValueError, match="at least one"):
        condensation([torch.randn(0, 20)])


def test_the_last_tokens_can_stand_for_the_reply():
    states = torch.randn(9, 20)
    last = TokenContextCondensation(20, 32, 1, "last")
    pooled = TokenContextCondensation(20, 32, 1)
    pooled.load_state_dict(last.state_dict())
    assert torch.equal(last([states]), pooled([states[-1:]])) and not torch.allclose(last([states]), pooled([states]))
    several = TokenContextCondensation(20, 32, 4, "last")
    assert torch.equal(several([states])[0, 1:], several([states[-3:]])[0, 1:])
    with pytest.raises(ValueError, match="pooled or last, not first"):
        TokenContextCondensation(20, 32, 4, "first")


@torch.no_grad()
def test_the_finest_level_alone_hears_nothing_of_the_coarser_ones():
    with pytest.raises(ValueError, match="4 levels to aggregate; 5"):
        SpexVision(replace(SMALL, aggregated_levels=5))
    for levels, hears in ((1, False), (2, True), (None, True)):
        vision = SpexVision(replace(SMALL, aggregated_levels=levels)).eval()
        maps = vision.encoder(torch.randn(1, SMALL.num_channels, 64, 64))
        embedding = vision.aggregation(maps)[0]
        changed = vision.aggregation([*maps[:3], maps[3] + 1, *maps[4:]])[0]
        assert embedding.shape == (1, 32, 16, 16) and torch.allclose(embedding, changed) != hears
        assert vision.encode(torch.randn(1, SMALL.num_channels, 64, 64)).tokens.shape == (1, 4, 24)


def test_channels_say_which_bands_are_there():
    scene = make_scene(4, 4, ("red", "green", "blue"))
    channels = pixel_channels(scene.reflectance, scene.bands, scene.valid, gsd_m=10, calibrated=True)
    assert channels[7:14, 0, 0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert not channels[14:18].any()  # no near-infrared, so no index
    assert channels[-3].all() and channels[-2, 0, 0] == 0


def test_nodata_reaches_no_channel():
    scene = make_scene(4, 4)
    values, valid = scene.reflectance.copy(), scene.valid.copy()
    values[:, 0, 0], valid[0, 0] = np.nan, False
    channels = pixel_channels(values, scene.bands, valid, gsd_m=None, calibrated=False)
    assert np.isfinite(channels).all() and not channels[:-2, 0, 0].any()


@pytest.mark.parametrize("shape", [(64, 64), (50, 37), (7, 90), (150, 130)])
def test_scenes_of_any_size_decode_on_their_own_grid(vision, shape):
    features = encode_scene(vision, make_scene(*shape))
    logits = decode_scene(features, torch.randn(5, 20))
    assert logits.shape == shape and np.isfinite(logits).all()
    assert features.tokens.shape == (4, 24)


def test_a_scene_with_more_tiles_than_are_kept_gives_the_same_logits(vision):
    scene, said = make_scene(150, 130), torch.randn(5, 20)
    few, many = (decode_scene(SceneFeatures(vision, scene, max_tiles=limit), said) for limit in (1, 99))
    np.testing.assert_allclose(few, many, atol=1e-5)


def test_weights_survive_a_round_trip_and_load_strictly(vision, tmp_path):
    save_vision(vision, tmp_path)
    again = load_vision(tmp_path)
    assert again.config == SMALL
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, vision.state_dict()[name].to(torch.bfloat16).float())
    replace(SMALL, aggregation_width=24).save(tmp_path / "spex.json")
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_vision(tmp_path)
