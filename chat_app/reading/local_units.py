"""Units of land that are at home in one part of the world, put into square metres before a message is read."""

from __future__ import annotations

import re

import cn2an

from chat_app.reading.vocabulary import NUMBER_PATTERN, read_number

_SQUARE_METRES = {
    ("亩", "畝"): 2000 / 3,
    ("dunam", "dunams", "dunum", "dunums", "donum", "donums", "dönüm"): 1000.0,
    ("rai",): 1600.0,
    ("feddan", "feddans"): 4200.83,
    ("stremma", "stremmata"): 1000.0,
}
"""Only units that are the same wherever they are used today; a Morgen, a bigha or a manzana is not."""
_NAMES = {name: m2 for names, m2 in _SQUARE_METRES.items() for name in names}
_CHINESE = re.compile(r"[零一二两三四五六七八九十百千万]{2,}(?=\s*[亩畝])")
_AMOUNT = re.compile(
    rf"(?<![a-zà-ÿ\d.,百千万]){NUMBER_PATTERN}\s*(?P<unit>{'|'.join(_NAMES)})(?![a-zà-ÿ])", re.IGNORECASE
)


def in_square_metres(message: str) -> str:
    """The message with such amounts in m2: "drop anything under 5 dunams" becomes "drop anything under 5000 m2"."""

    def put(match: re.Match[str]) -> str:
        area_m2 = read_number(match["number"].lower()) * _NAMES[match["unit"].lower()]
        return f"{area_m2:.0f}{'平方米' if match['unit'] in '亩畝' else ' m2'}"

    return _AMOUNT.sub(put, _CHINESE.sub(_in_digits, message))


def _in_digits(number: re.Match[str]) -> str:
    try:
        return str(cn2an.cn2an(number[0], "smart"))
    except ValueError:
        return number[0]
