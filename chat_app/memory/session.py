"""One conversation about one image: its layers, turns, and exact undo and redo."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from chat_app.errors import LayerNotFound, SessionNotFound, StepError
from chat_app.memory.arrays import ArrayStore, BoolArray
from chat_app.memory.layers import DEFAULT_COLOURS, Extraction, Layer, OtherImage, Snapshot
from chat_app.memory.turns import Turn
from chat_app.plan import ALL_LAYERS
from spex_model.imaging.areas import mask_area_m2
from spex_model.imaging.coregister import Aligned, align
from spex_model.imaging.indices import prior_for
from spex_model.imaging.regions import Region, find_regions

if TYPE_CHECKING:
    import numpy.typing as npt

    from spex_model.imaging.scene import Scene


class Session:
    """The state of one conversation. Change it inside `with session.change(label):`, which makes one undo step.

    `scene` is the image with what the user said about it (pixel size, bands), `other` a second one of the same place. Not safe for two writers: hold
    `session.lock` while a turn runs; readers get immutable values. Once it is `deleted`, nothing is written for it any more.
    """

    def __init__(self, session_id: str, scene: Scene, arrays: ArrayStore, *, title: str, max_undo: int = 50) -> None:
        self.id = session_id
        self.title = title
        self.arrays = arrays
        self.lock = threading.RLock()
        self.deleted = False
        self.turns: list[Turn] = []
        self.after_turn: list[Snapshot] = []
        self.extractions: dict[str, Extraction] = {}
        self.other: OtherImage | None = None
        self._opened = scene
        self._scene = scene
        self._current = Snapshot()
        self._past: list[Snapshot] = []
        self._future: list[Snapshot] = []
        self._max_undo = max_undo
        self._regions: dict[tuple[object, ...], tuple[Region, ...]] = {}

    @property
    def scene(self) -> Scene:
        """The image, with the pixel size and bands that the user gave."""
        return self._scene

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer list, oldest first."""
        return self._current.layers

    @property
    def active_layer(self) -> Layer | None:
        """The layer that "it" means; None without layers."""
        return next((layer for layer in self.layers if layer.id == self._current.active), None)

    @property
    def snapshot(self) -> Snapshot:
        """The current state as an immutable value."""
        return self._current

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._future)

    @property
    def can_correct(self) -> bool:
        """Whether the newest step is what the last turn did, so that a correction may take it back.

        Which layer is active does not count: picking one on the page makes no step.
        """
        if not self._past or self._future or not self.turns or self.turns[-1].error is not None:
            return False
        before = self.after_turn[-2] if len(self.after_turn) > 1 else Snapshot()
        earlier, after, now = (replace(state, active=None) for state in (before, self.after_turn[-1], self._current))
        return earlier != after == now

    def check_kept(self) -> None:
        """Raise `SessionNotFound` once the session is deleted."""
        if self.deleted:
            raise SessionNotFound(f"The session {self.id} was deleted. Upload the image again.")

    def find_layer(self, name: str | None) -> Layer:
        """The layer of that id or name (any case; a land cover finds its newest layer), None = the active one.

        Raises `LayerNotFound` with the names there are.
        """
        if name is None:
            if self.active_layer is None:
                raise LayerNotFound('There is no layer yet. Ask for one first, for example "show me the water".')
            return self.active_layer
        wanted = name.strip().casefold()
        for key in ("id", "name", "land_cover"):
            for layer in reversed(self.layers):
                shows_change = self.extractions[layer.extraction_id].method == "change"
                if getattr(layer, key).casefold() == wanted and not (shows_change and key == "land_cover"):
                    return layer
        names = ", ".join(f'"{layer.name}"' for layer in self.layers)
        there = f"The layers are {names}." if names else "There is no layer yet."
        raise LayerNotFound(f'There is no layer "{name}". {there}')

    def find_layers(self, name: str | None) -> tuple[Layer, ...]:
        """Like `find_layer`, but "all" gives every layer."""
        if name is not None and name.strip().casefold() == ALL_LAYERS and self.layers:
            return self.layers
        return (self.find_layer(name),)

    def extraction(self, layer: Layer | str) -> Extraction:
        """The extraction that a layer (or the layer of this id or name) shows."""
        found = self.find_layer(layer) if isinstance(layer, str) else layer
        return self.extractions[found.extraction_id]

    def regions(self, layer: Layer | str) -> tuple[Region, ...]:
        """The 8-connected regions of a layer, largest first, measured with the current pixel size."""
        extraction = self.extraction(layer)
        key = (extraction.mask_key, extraction.land_cover, self._current.gsd_m, self._current.bands)
        if key not in self._regions:
            values = prior_for(self.scene, extraction.land_cover).values
            self._regions[key] = tuple(find_regions(extraction.mask, self.scene, index_values=values))
            while len(self._regions) > 64:
                self._regions.pop(next(iter(self._regions)))
        return self._regions[key]

    def area_m2(self, layer: Layer | str) -> float | None:
        """The area of a layer in square metres; None without a pixel size."""
        return mask_area_m2(self.extraction(layer).mask, self.scene)

    def align_other(self, other: OtherImage) -> Aligned:
        """A second image on the grid of this one; the user's word for the bands counts for both where they fit.

        Raises AlignmentError with what keeps them apart.
        """
        scene, bands = other.scene, self._current.bands
        if bands is not None and len(bands) == len(scene.bands):
            scene = scene.with_bands(bands)
        return align(self.scene, scene)

    @contextmanager
    def change(self, label: str) -> Iterator[None]:
        """Make what happens inside one undo step; an exception puts everything back as it was."""
        before, scene = self._current, self._scene
        try:
            yield
        except BaseException:
            self._current, self._scene = before, scene
            raise
        if self._current != before:
            self._past = [*self._past, before][-self._max_undo :]
            self._future = []
            self._current = replace(self._current, label=label, turns=(*self._current.turns, 0))

    @contextmanager
    def correction(self) -> Iterator[str]:
        """Take the last step back, give its label, and do what happens inside in its stead.

        An exception brings the step back, with all that could be undone and done again.
        """
        current, past, future = self.history
        try:
            yield self.undo()
        except BaseException:
            self.restore_history(current, past=list(past), future=list(future))
            raise

    def make_extraction(
        self,
        mask: BoolArray,
        *,
        logits: npt.NDArray[np.floating] | None = None,
        states: npt.NDArray[np.floating] | None = None,
        **values: Any,
    ) -> Extraction:
        """Store the arrays and return an extraction that is not shown yet; `values` are fields of `Extraction`.

        The mask is cut to the valid pixels. Raises `StepError` when a shape isn't that of the scene.
        """
        for array in (mask, logits):
            if array is not None and array.shape != self.scene.valid.shape:
                raise StepError(f"A mask of {array.shape} pixels can't lie on an image of {self.scene.valid.shape}.")
        key = uuid4().hex[:12]
        self.arrays.put_mask(f"mask-{key}", np.asarray(mask, dtype=np.bool_) & self.scene.valid)
        if logits is not None:
            values["logits_key"] = f"logits-{key}"
            self.arrays.put_logits(values["logits_key"], logits)
        if states is not None:
            values["states_key"] = f"states-{key}"
            self.arrays.put_states(values["states_key"], states)
        values.setdefault("logits_key", None)
        return Extraction(id=key, mask_key=f"mask-{key}", arrays=self.arrays, **values)

    def add_layer(self, extraction: Extraction, name: str | None = None) -> Layer:
        """Show an extraction as a new, active layer under a name of its own."""
        self.extractions[extraction.id] = extraction
        slug = re.sub(r"[^a-z0-9]+", "-", extraction.land_cover.lower()).strip("-")
        layer = Layer(
            id=f"{slug}-{extraction.id[:6]}",
            name=self._free_name(name or extraction.land_cover),
            land_cover=extraction.land_cover,
            extraction_id=extraction.id,
            colour=DEFAULT_COLOURS.get(extraction.land_cover, "yellow"),
        )
        self._current = replace(self._current, layers=(*self.layers, layer), active=layer.id)
        return layer

    def replace_extraction(self, layer: Layer, extraction: Extraction) -> Layer:
        """Let a layer show another extraction, and make it the active one."""
        self.extractions[extraction.id] = extraction
        return self.update_layer(layer, extraction_id=extraction.id, activate=True)

    def update_layer(self, layer: Layer, *, activate: bool = False, **values: Any) -> Layer:
        """Alter the name, colour, visibility or extraction of a layer; a taken name raises `StepError`."""
        if "name" in values and values["name"] != layer.name:
            values["name"] = values["name"].strip()
            self._check_name(values["name"], layer)
        altered = replace(layer, **values)
        layers = tuple(altered if other.id == layer.id else other for other in self.layers)
        active = layer.id if activate else self._current.active
        self._current = replace(self._current, layers=layers, active=active)
        return altered

    def activate(self, layer: Layer) -> None:
        """Let "it" mean this layer; on its own this is no undo step."""
        self._current = replace(self._current, active=layer.id)

    def delete_layer(self, layer: Layer) -> None:
        """Take a layer off the list; the newest of the others becomes active."""
        layers = tuple(other for other in self.layers if other.id != layer.id)
        active = self._current.active
        if active == layer.id:
            active = layers[-1].id if layers else None
        self._current = replace(self._current, layers=layers, active=active)

    def clear_layers(self) -> None:
        """Take all layers off the list."""
        self._current = replace(self._current, layers=(), active=None)

    def set_pixel_size(self, gsd_m: float) -> None:
        """Take the user's word for the ground size of a pixel, in metres."""
        self._restore(replace(self._current, gsd_m=gsd_m))

    def set_bands(self, names: tuple[str, ...]) -> None:
        """Take the user's word for the bands, in file order; raises `ImagingError` when they can't be."""
        self._restore(replace(self._current, bands=names))

    def undo(self) -> str:
        """Go back one step and return the label of what was taken back; raises `StepError` when there is none."""
        if not self._past:
            raise StepError("There is nothing to undo.")
        label = self._current.label
        self._future.append(self._current)
        self._restore(self._past.pop())
        return label

    def redo(self) -> str:
        """Do again what was undone last and return its label; raises `StepError` when there is nothing."""
        if not self._future:
            raise StepError("There is nothing to redo.")
        self._past.append(self._current)
        self._restore(self._future.pop())
        return self._current.label

    def close_turn(self, turn: Turn) -> None:
        """Put a finished turn on record, with the state after it, which from now on tells the turn that made it."""
        self.turns.append(turn)
        if self._current.turns[-1:] == (0,):
            self._current = replace(self._current, turns=(*self._current.turns[:-1], len(self.turns)))
        self.after_turn.append(self._current)

    def back_to_turn(self, number: int) -> None:
        """Make things as they were after a turn (0: before the first); raises `StepError` when there was none such."""
        if number > len(self.after_turn):
            raise StepError(f"There is no turn {number} yet; the last one was number {len(self.after_turn)}.")
        snapshot = self.after_turn[number - 1] if number else Snapshot()
        self._restore(replace(snapshot, label=self._current.label))

    @property
    def history(self) -> tuple[Snapshot, tuple[Snapshot, ...], tuple[Snapshot, ...]]:
        """The current state, those before it and those that were undone, for the store."""
        return self._current, tuple(self._past), tuple(self._future)

    def restore_history(self, current: Snapshot, *, past: list[Snapshot], future: list[Snapshot]) -> None:
        """Take over stored states, as `history` gave them."""
        self._past, self._future = past, future
        self._restore(current)

    def _restore(self, snapshot: Snapshot) -> None:
        scene = self._opened
        if snapshot.bands is not None:
            scene = scene.with_bands(snapshot.bands)
        if snapshot.gsd_m is not None:
            scene = scene.with_gsd(snapshot.gsd_m)
        if (snapshot.bands, snapshot.gsd_m) != (self._current.bands, self._current.gsd_m):
            self._scene = scene
        self._current = snapshot

    def _free_name(self, name: str) -> str:
        taken = {layer.name.casefold() for layer in self.layers}
        number, free = 2, name
        while free.casefold() in taken:
            free, number = f"{name} {number}", number + 1
        return free

    def _check_name(self, name: str, layer: Layer) -> None:
        if not name or len(name) > 40 or not name.isprintable():
            raise StepError("A layer name needs 1 to 40 printable characters.")
        if name.casefold() == ALL_LAYERS or name.casefold() in {
            o.name.casefold() for o in self.layers if o is not layer
        }:
            raise StepError(f'The name "{name}" is taken; choose another.')
