"""Refinement steps: what can be done to a mask, as typed values with their JSON form."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

AreaUnit = Literal["m2", "ha", "km2", "acres", "px", "percent"]
M2_PER_UNIT = {"m2": 1.0, "ha": 1e4, "km2": 1e6, "acres": 4046.8564224}
"""Square metres in one unit of area."""
LengthUnit = Literal["m", "px"]
Place = Literal[
    "north", "south", "east", "west", "north-east", "north-west", "south-east", "south-west",
    "center", "top", "bottom", "left", "right",
]  # fmt: skip
Part = Literal["half", "third"]
Shape = Literal["elongated", "round"]
PLACES: tuple[str, ...] = get_args(Place)

LayerName = Annotated[str, Field(min_length=1, max_length=40)]
Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class Compact(BaseModel):
    """Immutable values that refuse unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KeepLargest(Compact):
    """Keep the `count` largest regions."""

    op: Literal["keep_largest"] = "keep_largest"
    count: Count


class KeepSmallest(Compact):
    """Keep the `count` smallest regions."""

    op: Literal["keep_smallest"] = "keep_smallest"
    count: Count


class KeepRank(Compact):
    """Keep the region of this rank by area, 1 = largest."""

    op: Literal["keep_rank"] = "keep_rank"
    rank: Count


class DropLargest(Compact):
    """Remove the `count` largest regions."""

    op: Literal["drop_largest"] = "drop_largest"
    count: Count


class DropSmaller(Compact):
    """Remove regions smaller than the value; percent is of the valid pixels."""

    op: Literal["drop_smaller"] = "drop_smaller"
    value: Positive
    unit: AreaUnit


class DropLarger(Compact):
    """Remove regions larger than the value; percent is of the valid pixels."""

    op: Literal["drop_larger"] = "drop_larger"
    value: Positive
    unit: AreaUnit


class KeepPlace(Compact):
    """Keep regions whose centroid lies in that half or third of the image; with `cut`, keep the pixels in it."""

    op: Literal["keep_place"] = "keep_place"
    place: Place
    part: Part = "half"
    cut: bool = False


class DropPlace(Compact):
    """Remove regions whose centroid lies in that half or third of the image; with `cut`, the pixels in it."""

    op: Literal["drop_place"] = "drop_place"
    place: Place
    part: Part = "half"
    cut: bool = False


class Grow(Compact):
    """Grow the mask outwards by a distance."""

    op: Literal["grow"] = "grow"
    value: Positive
    unit: LengthUnit


class Shrink(Compact):
    """Take a border of this width off the mask."""

    op: Literal["shrink"] = "shrink"
    value: Positive
    unit: LengthUnit


class MergeClose(Compact):
    """Join pieces that are closer than a distance."""

    op: Literal["merge_close"] = "merge_close"
    value: Positive
    unit: LengthUnit


class Smooth(Compact):
    """Smooth the outline and drop specks."""

    op: Literal["smooth"] = "smooth"


class FillHoles(Compact):
    """Fill holes that the mask surrounds."""

    op: Literal["fill_holes"] = "fill_holes"


class Invert(Compact):
    """Take everything valid that the mask leaves out."""

    op: Literal["invert"] = "invert"


class Stricter(Compact):
    """Raise the threshold of the layer and apply its later steps again."""

    op: Literal["stricter"] = "stricter"


class Looser(Compact):
    """Lower the threshold of the layer and apply its later steps again."""

    op: Literal["looser"] = "looser"


class KeepShape(Compact):
    """Keep elongated or round regions."""

    op: Literal["keep_shape"] = "keep_shape"
    shape: Shape


class IndexAbove(Compact):
    """Keep pixels where a spectral index is above a value."""

    op: Literal["index_above"] = "index_above"
    index: Annotated[str, Field(min_length=2, max_length=12)]
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class IndexBelow(Compact):
    """Keep pixels where a spectral index is below a value."""

    op: Literal["index_below"] = "index_below"
    index: Annotated[str, Field(min_length=2, max_length=12)]
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Union(Compact):
    """Add the pixels of another layer."""

    op: Literal["union"] = "union"
    layer: LayerName


class Intersect(Compact):
    """Keep only pixels that another layer has too."""

    op: Literal["intersect"] = "intersect"
    layer: LayerName


class Subtract(Compact):
    """Remove the pixels of another layer."""

    op: Literal["subtract"] = "subtract"
    layer: LayerName


class Near(Compact):
    """Keep whole regions that come within a distance of another layer."""

    op: Literal["near"] = "near"
    layer: LayerName
    value: Positive
    unit: LengthUnit


class Far(Compact):
    """Keep whole regions that stay farther than a distance from another layer."""

    op: Literal["far"] = "far"
    layer: LayerName
    value: Positive
    unit: LengthUnit


PixelPoint = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class KeepClicked(Compact):
    """Keep the regions under clicked points (row, column); the chat fills in the points, never the reader."""

    op: Literal["keep_clicked"] = "keep_clicked"
    points: tuple[PixelPoint, ...] = ()


class DropClicked(Compact):
    """Remove the regions under clicked points (row, column); the chat fills in the points, never the reader."""

    op: Literal["drop_clicked"] = "drop_clicked"
    points: tuple[PixelPoint, ...] = ()


class AddHere(Compact):
    """Add what lies at clicked points (row, column): the decoder is asked again with them; the chat fills them in."""

    op: Literal["add_here"] = "add_here"
    points: tuple[PixelPoint, ...] = ()


class RemoveHere(Compact):
    """Remove what lies at clicked points (row, column): the decoder is asked again with them; the chat fills them in."""

    op: Literal["remove_here"] = "remove_here"
    points: tuple[PixelPoint, ...] = ()


Coordinate = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Polygon = Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(max_length=1_000)]


class KeepInside(Compact):
    """Keep the pixels inside a drawn polygon, (row, column) corners in pixels; the chat fills it in."""

    op: Literal["keep_inside"] = "keep_inside"
    polygon: Polygon = ()


class DropInside(Compact):
    """Remove the pixels inside a drawn polygon, (row, column) corners in pixels; the chat fills it in."""

    op: Literal["drop_inside"] = "drop_inside"
    polygon: Polygon = ()


class AddInside(Compact):
    """Add the likelier pixels inside a drawn polygon, (row, column) corners in pixels; the chat fills it in."""

    op: Literal["add_inside"] = "add_inside"
    polygon: Polygon = ()


class SameSteps(Compact):
    """All steps that made the active layer ("same for the trees"); the chat puts those in its place."""

    op: Literal["same_steps"] = "same_steps"


RefinementStep = Annotated[
    KeepLargest | KeepSmallest | KeepRank | DropLargest | DropSmaller | DropLarger | KeepPlace | DropPlace
    | Grow | Shrink | MergeClose | Smooth | FillHoles | Invert | Stricter | Looser | KeepShape
    | IndexAbove | IndexBelow | Union | Intersect | Subtract | Near | Far | KeepClicked | DropClicked
    | AddHere | RemoveHere | KeepInside | DropInside | AddInside | SameSteps,
    Field(discriminator="op"),
]  # fmt: skip


def plain_value(value: Any) -> Any:
    """A field as JSON has it: tuples as lists, whole floats as integers."""
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def step_to_dict(step: RefinementStep) -> dict[str, Any]:
    """One step as plain values, defaults left out: `{"op": "grow", "value": 20, "unit": "m"}`."""
    fields = type(step).model_fields
    return {
        name: plain_value(getattr(step, name))
        for name in fields
        if name == "op" or fields[name].is_required() or getattr(step, name) != fields[name].default
    }
