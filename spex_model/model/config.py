"""Every size of the SPEX network in one place; nothing elsewhere hard-codes one."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from spex_model.imaging.bands import SLOTS

INDEX_CHANNELS = ("NDVI", "NDWI", "MNDWI", "NDBI")
"""Spectral indices that the encoder receives as channels of their own (0 where the bands lack)."""


@dataclass(frozen=True)
class SpexConfig:
    """Sizes of the vision side and of its joints with the language model.

    tile_size: side of a vision tile in pixels.
    stage_widths, stage_depths: channels and residual blocks of the pyramid at strides 1, 2, 4, 8, 16, 32.
    aggregation_width: channels of the multiscale feature aggregation (paper, section III-B).
    aggregated_levels: how many levels are fused, from stride 4 on; None: all. 1 takes the finest alone, to measure what
        the aggregation is worth.
    decoder_width: channels of the mask decoder's image embedding and prompts (paper: 256; at stride 4 half of that keeps a pass near 0.1 s on two cores).
    condensed_tokens: length of the condensed prompt (paper: 4).
    reply_states: what the condensed prompt is made of: "pooled", all states of the reply in as many segments, or
        "last", the states of its last tokens alone, to measure what the pooling is worth.
    num_image_tokens: a square number; tokens by which the language model sees the overview.
    vision_hidden_size: width of one image token before the projector.
    language_hidden_size: width of the language model's hidden states.
    calibration: {land cover: {"temperature": t, "bias": b}}, probability = sigmoid(logit / t + b); no part of the
        network, kept here beside the weights that it belongs to, for the chat to read.
    """

    tile_size: int = 512
    tile_overlap: int = 64
    stage_widths: tuple[int, ...] = (24, 48, 80, 112, 144, 176)
    stage_depths: tuple[int, ...] = (1, 1, 2, 2, 2, 2)
    aggregation_width: int = 80
    aggregated_levels: int | None = None
    decoder_width: int = 128
    decoder_heads: int = 8
    decoder_layers: int = 2
    decoder_mlp_width: int = 512
    condensed_tokens: int = 4
    reply_states: str = "pooled"
    num_image_tokens: int = 16
    vision_hidden_size: int = 256
    language_hidden_size: int = 576
    calibration: dict[str, dict[str, float]] = field(default_factory=dict, compare=False)

    @property
    def num_channels(self) -> int:
        """Channels of the encoder's input, see `processor.prepare_pixels`."""
        return 2 * len(SLOTS) + len(INDEX_CHANNELS) + 3

    def save(self, path: Path) -> None:
        """Write the config as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "SpexConfig":
        """Read a config written by `save`; an unknown key raises ValueError."""
        values: dict[str, Any] = json.loads(path.read_text())
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"{path.name} holds unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
            )
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**settings)
