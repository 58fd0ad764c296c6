"""The picture of a session: a composite, filled masks, outlines along pixel edges, and what the legend states.

Everything is a value that a page can show without another request: images are `data:` addresses, outlines are SVG
paths in scene pixels, so that they stay crisp at any zoom.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from PIL import Image

from chat_app.answering.explain import area_words, regions_words, share_words
from chat_app.memory.arrays import BoolArray
from chat_app.memory.layers import Layer
from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.session import Session
from spex_model.imaging.composites import available_composites, rgb_composite
from spex_model.imaging.scene import Scene

ASSETS = Path(__file__).parents[2] / "assets"
DISPLAY_SIDE = 1024
"""Longest side of what is sent to the page, in pixels; larger scenes are thinned."""
MAX_OUTLINE_RUNS = 30_000
"""Beyond this many straight pieces an outline would slow a browser down; then the fill alone shows the layer."""
_METHODS = {
    "model": "outlined by the model", "index": "by the spectral index alone", "change": "by comparing two images",
}  # fmt: skip
_composites: WeakKeyDictionary[Scene, dict[str, str]] = WeakKeyDictionary()
_composites_lock = threading.Lock()


@dataclass(frozen=True)
class Frame:
    """How a scene of `shape` (H, W) is laid on the display: `thin` x `thin` scene pixels make one display pixel."""

    shape: tuple[int, int]
    thin: int

    @classmethod
    def of(cls, scene: Scene, side: int = DISPLAY_SIDE) -> Frame:
        """The frame that shows a whole scene within `side` x `side` pixels."""
        return cls(scene.shape, max(1, -(-max(scene.shape) // side)))

    @property
    def display_shape(self) -> tuple[int, int]:
        """(h, w) of the picture in display pixels."""
        return -(-self.shape[0] // self.thin), -(-self.shape[1] // self.thin)

    @property
    def covered(self) -> tuple[int, int]:
        """(rows, columns) in scene pixels that the picture covers; up to `thin` - 1 more than the scene has."""
        return self.display_shape[0] * self.thin, self.display_shape[1] * self.thin

    def scene_pixel(self, x: float, y: float) -> tuple[int, int] | None:
        """(row, column) of the scene under a place on the picture, x and y 0-1 from its top left; None outside."""
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return None
        row, column = int(y * self.covered[0]), int(x * self.covered[1])
        return min(row, self.shape[0] - 1), min(column, self.shape[1] - 1)

    def scene_polygon(self, corners: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        """The (row, column) corners, in pixels of the scene, of places on the picture (x, y 0-1), put inside it."""
        rows, columns = self.shape
        return tuple(
            (float(np.clip(y * self.covered[0], 0, rows)), float(np.clip(x * self.covered[1], 0, columns)))
            for x, y in corners
        )

    def thin_mask(self, mask: BoolArray) -> BoolArray:
        """A mask (H, W) in display pixels; a display pixel is set if any pixel under it is, so that nothing vanishes."""
        if self.thin == 1:
            return mask
        rows, columns = self.display_shape
        padded = np.zeros(self.covered, dtype=np.bool_)
        padded[: self.shape[0], : self.shape[1]] = mask
        return np.asarray(padded.reshape(rows, self.thin, columns, self.thin).any(axis=(1, 3)))


@dataclass(frozen=True)
class Outline:
    """The edge of one layer: an SVG path in scene pixels, x to the right and y down."""

    colour: str
    path: str


@dataclass(frozen=True)
class Picture:
    """What the page draws over the composite: `overlay` is a `data:` address, `points` are clicked (row, column) pixels,
    `area` the (row, column) corners of what was drawn.

    `layer` names the active layer, "" without one. `image` changes with the image, `covered` is the (rows, columns) of the scene that the composite and the overlay
    stand for, `gsd_m` the ground size of a scene pixel or None.
    """

    image: str
    overlay: str
    outlines: tuple[Outline, ...]
    covered: tuple[int, int]
    gsd_m: float | None
    points: tuple[tuple[int, int], ...]
    area: tuple[tuple[float, float], ...]
    layer: str
    description: str


@dataclass(frozen=True)
class LegendEntry:
    """One line of the legend, in words; `colour` is "#rrggbb"."""

    layer_id: str
    name: str
    colour: str
    visible: bool
    active: bool
    size: str
    share: str
    regions: str
    method: str


@lru_cache(maxsize=1)
def palette() -> dict[str, str]:
    """Colour words of the conversation and their "#rrggbb"."""
    return dict(json.loads((ASSETS / "palette.json").read_text(encoding="utf-8")))


def _data_url(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def composite_url(scene: Scene, kind: str, *, side: int = DISPLAY_SIDE) -> str:
    """The composite as a `data:` address; kept for as long as the scene is in use."""
    key = f"{kind} {side}"
    with _composites_lock:
        held = _composites.setdefault(scene, {})
    if key not in held:
        held[key] = _data_url(Image.fromarray(rgb_composite(scene, kind, max_side=side)), "jpeg", quality=90)
    return held[key]


def choose_composite(scene: Scene, wanted: str | None) -> str:
    """The wanted composite where the bands allow it, else the first that they allow."""
    allowed = available_composites(scene)
    return wanted if wanted in allowed else allowed[0]


def paint_fills(masks: Sequence[BoolArray]) -> npt.NDArray[np.uint8]:
    """Number of the mask that shows at each pixel (h, w) uint8, counted from 1, the last on top; 0 where none is."""
    painted = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        painted[mask] = number
    return painted


def overlay_url(masks: Sequence[BoolArray], colours: Sequence[str]) -> str:
    """Masks (h, w) in their colours as one image with a transparent background; "" without masks."""
    if not masks:
        return ""
    image = Image.fromarray(paint_fills(masks))
    channels = [0, 0, 0]
    for colour in colours:
        channels += [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    image.putpalette(channels)
    return _data_url(image, "png", transparency=0, compress_level=3)


def outline_path(mask: BoolArray, scale: int = 1) -> str:
    """The edges between a mask (h, w) and what is not it, as an SVG path of straight runs; "" when there are too many.

    Coordinates are multiplied by `scale`, the scene pixels in a pixel of the mask.
    """
    padded = np.pad(mask, 1)
    across = _runs(padded[1:] != padded[:-1])
    down = _runs((padded[:, 1:] != padded[:, :-1]).T)
    if len(across) + len(down) > MAX_OUTLINE_RUNS:
        return ""
    pieces = [f"M{(start - 1) * scale} {line * scale}h{length * scale}" for line, start, length in across.tolist()]
    pieces += [f"M{line * scale} {(start - 1) * scale}v{length * scale}" for line, start, length in down.tolist()]
    return "".join(pieces)


def _runs(edges: BoolArray) -> npt.NDArray[np.int64]:
    """(n, 3) line, start and length of the unbroken runs along the rows of `edges`."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return np.stack([lines, starts, ends - starts], axis=1)


def draw_picture(session: Session, marks: Marks = NO_MARKS) -> Picture:
    """The picture of a session as it is now: visible layers only, the active one on top."""
    scene = session.scene
    frame = Frame.of(scene)
    shown = [layer for layer in session.layers if layer.visible]
    shown = sorted(shown, key=lambda layer: layer == session.active_layer)[-255:]
    masks = [frame.thin_mask(session.extraction(layer).mask) for layer in shown]
    colours = [palette()[layer.colour] for layer in shown]
    paths = [outline_path(mask, frame.thin) for mask in masks]
    names = ", ".join(layer.name for layer in shown) or "no layer"
    return Picture(
        image=session.id[:8],
        overlay=overlay_url(masks, colours),
        outlines=tuple(Outline(colour, path) for colour, path in zip(colours, paths, strict=True) if path),
        covered=frame.covered,
        gsd_m=scene.gsd_m,
        points=marks.points,
        area=marks.area,
        layer=session.active_layer.name if session.active_layer else "",
        description=f"{session.title} with {names} drawn over it",
    )


def thumbnail_url(scene: Scene, side: int = 240) -> str:
    """A small picture of a scene as a `data:` address."""
    return composite_url(scene, available_composites(scene)[0], side=side)


def legend_entries(session: Session) -> tuple[LegendEntry, ...]:
    """The legend, newest layer first; all numbers are measured on the masks."""
    active = session.active_layer
    return tuple(_entry(session, layer, layer == active) for layer in reversed(session.layers))


def _entry(session: Session, layer: Layer, active: bool) -> LegendEntry:
    extraction = session.extraction(layer)
    pixels = int(extraction.mask.sum())
    valid = max(int(session.scene.valid.sum()), 1)
    return LegendEntry(
        layer_id=layer.id,
        name=layer.name,
        colour=palette()[layer.colour],
        visible=layer.visible,
        active=active,
        size=area_words(session.area_m2(layer), pixels) if pixels else "nothing found",
        share=share_words(pixels / valid) if pixels else "",
        regions=regions_words(len(session.regions(layer))) if pixels else "",
        method=_METHODS[extraction.method],
    )
