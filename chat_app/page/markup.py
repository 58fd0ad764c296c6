"""HTML fragments of the page. Every text from a file or a person is escaped here, and nowhere else made into HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from chat_app.page.render import LegendEntry
from chat_app.page.status import Status
from spex_model.imaging.scene import Scene

_EYE = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M2 12s3.6-6.5 10-6.5S22 12 22 12s-3.6 6.5-10 6.5S2 12 2 12z"/>'
    '<circle cx="12" cy="12" r="2.8"/>{slash}</svg>'
)
_OPEN_EYE, _SHUT_EYE = _EYE.format(slash=""), _EYE.format(slash='<path d="M4 20 20 4"/>')


@dataclass(frozen=True)
class Chip:
    """A button with something to say; `example` opens that example image instead."""

    text: str
    example: str = ""


@dataclass(frozen=True)
class ExampleCard:
    """One example image: its key, a title, what it shows, its size and bands, a `data:` address of a thumbnail."""

    key: str
    title: str
    shows: str
    detail: str
    thumbnail: str


@dataclass(frozen=True)
class SessionLine:
    """One line of the list of sessions."""

    id: str
    title: str
    detail: str
    current: bool


def chips_html(chips: Iterable[Chip]) -> str:
    """Buttons; a page script tells the text of the one that was pressed."""
    buttons = [
        f'<button type="button" class="chip" data-text="{escape(chip.text)}" data-example="{escape(chip.example)}">'
        f"{escape(chip.text)}</button>"
        for chip in chips
    ]
    return f'<div class="chips">{"".join(buttons)}</div>' if buttons else ""


def legend_html(entries: Sequence[LegendEntry]) -> str:
    """The list of layers: an eye, a colour, the name and its numbers."""
    if not entries:
        return '<p class="quiet">No layer yet. Ask for one, for example “show me the water”.</p>'
    return f'<ul class="legend">{"".join(_legend_row(entry) for entry in entries)}</ul>'


def _legend_row(entry: LegendEntry) -> str:
    name, layer = escape(entry.name), escape(entry.layer_id)
    numbers = " · ".join(f"<span>{escape(part)}</span>" for part in (entry.size, entry.share, entry.regions) if part)
    classes = " ".join(["layer", *(["active"] if entry.active else []), *([] if entry.visible else ["hidden-layer"])])
    eye = _OPEN_EYE if entry.visible else _SHUT_EYE
    action = "Hide" if entry.visible else "Show"
    return (
        f'<li class="{classes}">'
        f'<button type="button" class="pick" data-layer="{layer}" data-action="pick" '
        f'aria-pressed="{str(entry.active).lower()}" title="Mean this layer by “it”; {escape(entry.method)}">'
        f'<span class="swatch" style="background:{escape(entry.colour)}"></span>'
        f'<span class="layer-text"><span class="layer-name">{name}</span><span class="numbers">{numbers}</span></span>'
        f'</button><button type="button" class="eye" data-layer="{layer}" data-action="eye" '
        f'aria-label="{action} {name}" title="{action}">{eye}</button></li>'
    )


def status_html(status: Status) -> str:
    """The line that says which model serves and how it is."""
    return (
        f'<div class="status {status.state}" role="status" title="{escape(status.text)}">'
        f'<span class="lamp"></span><span class="status-text">{escape(status.text)}</span></div>'
    )


def notice_html(text: str, kind: str = "hint") -> str:
    """A line for hints and problems; empty when there is nothing to say."""
    return f'<p class="notice {escape(kind)}" role="alert">{escape(text)}</p>' if text else ""


def examples_html(cards: Iterable[ExampleCard]) -> str:
    """The example images as cards."""
    items = [
        f'<button type="button" class="example" data-example="{escape(card.key)}">'
        f'<img src="{escape(card.thumbnail)}" alt=""><span class="example-title">{escape(card.title)}</span>'
        f'<span class="example-shows">{escape(card.shows)}</span>'
        f'<span class="example-detail">{escape(card.detail)}</span></button>'
        for card in cards
    ]
    return f'<div class="examples">{"".join(items)}</div>' if items else ""


def sessions_html(lines: Sequence[SessionLine]) -> str:
    """The sessions that this browser knows."""
    if not lines:
        return '<p class="quiet">Images that you open are listed here.</p>'
    items = [
        f'<li><button type="button" class="session{" current" if line.current else ""}" data-session="{escape(line.id)}">'
        f"<span>{escape(line.title)}</span><small>{escape(line.detail)}</small></button></li>"
        for line in lines
    ]
    return f'<ul class="sessions">{"".join(items)}</ul>'


def about_html(scene: Scene) -> str:
    """What was opened, and plainly every assumption about it."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in scene_facts(scene))
    notes = "".join(f"<li>{escape(note)}</li>" for note in scene.assumptions)
    listed = f'<ul class="assumptions">{notes}</ul>' if notes else ""
    return f'<dl class="facts">{rows}</dl>{listed}'


def scene_facts(scene: Scene) -> list[tuple[str, str]]:
    """Size, bands, pixel size, coordinate system and date of a scene, as (name, words)."""
    rows, columns = scene.shape
    facts = [
        ("Size", f"{columns:,} × {rows:,} pixels"),
        ("Bands", ", ".join(scene.bands)),
        ("Pixel", f"{scene.gsd_m:.3g} m" if scene.gsd_m is not None else "size not known"),
        ("Position", _position(scene)),
    ]
    return [*facts, ("Taken", scene.acquired.isoformat())] if scene.acquired else facts


def _position(scene: Scene) -> str:
    if scene.crs is None:
        return "not georeferenced"
    epsg = scene.crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else "a coordinate system of its own"
