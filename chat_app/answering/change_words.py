"""What changed between two images, in words; every number is measured."""

from __future__ import annotations

from typing import Any

from chat_app.answering.explain import PIXEL_SIZE_HINT, area_words


def found_change_words(facts: dict[str, Any], *, on_page: bool = True) -> str:
    """The reply to "what changed?": before and after, gained, lost and kept, and what limits the comparison.

    `on_page` tells where the change can be seen.
    """
    name, before, after = facts["layer"].capitalize(), facts["before"], facts["after"]
    images = f"between {_image(facts['before_image'])} and {_image(facts['after_image'])}"
    if not before["pixels"] and not after["pixels"]:
        return _with_remarks(f"{name} was found on neither image {images}, so nothing changed.", facts)
    text = f"{name} went from {_size(before)} to {_size(after)} {images}"
    net = after["pixels"] - before["pixels"]
    if before["pixels"]:
        text += f" ({100 * net / before['pixels']:+.1f} %)"
    text += f". Gained: {_part(facts['gained'])}; lost: {_part(facts['lost'])}; kept: {_part(facts['kept'])}."
    if before["area_m2"] is None:
        text += f" For hectares, {PIXEL_SIZE_HINT}."
    colours = [
        f"what was {part} {colour}" for part, colour in (("gained", "green"), ("lost", "red")) if facts[part]["pixels"]
    ]
    if on_page and colours:
        text += f" The layer list has {' and '.join(colours)}."
    return _with_remarks(text, facts)


def _with_remarks(text: str, facts: dict[str, Any]) -> str:
    misfit = facts["one_pixel_misfit_m2"]
    changed = max(facts["gained"]["area_m2"] or 0.0, facts["lost"]["area_m2"] or 0.0)
    if misfit and 0 < changed < 3 * misfit:
        text += (
            f" Mind the edges: images that lie one pixel apart would seem to gain and lose {area_words(misfit, 0)} each "
            "without any change."
        )
    return " ".join([text, *facts["remarks"]])


def _image(facts: dict[str, Any]) -> str:
    return str(facts["acquired"] or facts["source"])


def _size(part: dict[str, Any]) -> str:
    return area_words(part["area_m2"], part["pixels"])


def _part(part: dict[str, Any]) -> str:
    percent = part["percent_of_before"]
    return _size(part) + ("" if percent is None else f" ({percent:.1f} % of what was there)")
