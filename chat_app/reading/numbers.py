"""The numbers that a message says, in digits or in words, in any of the chat's languages."""

from __future__ import annotations

import re
import unicodedata

import cn2an
from text_to_num import alpha2digit

_LANGUAGES = ("en", "de", "fr", "es")
_NUMBER = re.compile(r"\d{1,3}(?:[,.' ]\d{3})+(?!\d)|\d+(?:[.,]\d+)?|(?<!\.)\.\d+")


def numbers_said(message: str) -> set[float]:
    """All numbers of a message: "the ten largest over 1,000 m²" says 10, 1000 and 1; "1.000" may be 1 or 1000."""
    text = unicodedata.normalize("NFKC", message)
    readings = {text, cn2an.transform(text, "cn2an"), *(alpha2digit(text, language) for language in _LANGUAGES)}
    said: set[float] = set()
    for reading in readings:
        for number in _NUMBER.findall(reading):
            plain = re.sub(r"[' ]", "", number)
            said |= _values(plain) | {-value for value in _values(plain)}
    return said


def _values(number: str) -> set[float]:
    values = set()
    if re.fullmatch(r"\d{1,3}([,.]\d{3})+", number):
        values.add(float(re.sub(r"[,.]", "", number)))
    if number.count(".") + number.count(",") <= 1:
        values.add(float(number.replace(",", ".")))
    return values
