"""What words mean: amounts, lengths, places, land covers, indices and colours in a message become tagged values.

`tag` turns "drop lakes under half a hectare" into "drop «C0» under «A0»" with C0 = water and A0 = (0.5, "ha"),
so that `commands` can match short patterns in place of endless wordings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from spex_model.imaging.indices import INDEX_NAMES
from spex_model.imaging.landcover import SYNONYMS

NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "twenty": 20,
    "fifty": 50, "hundred": 100, "a hundred": 100, "one hundred": 100, "a thousand": 1000, "half": 0.5, "half a": 0.5, "half an": 0.5, "a half": 0.5, "a quarter": 0.25,
    "a quarter of a": 0.25, "a dozen": 12, "dozen": 12, "thirty": 30, "forty": 40, "quarter": 0.25, "one and a half": 1.5, "two and a half": 2.5, "a couple of": 2, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "zehn": 10, "einen halben": 0.5,
    "ein halber": 0.5, "einem halben": 0.5, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "dix": 10, "un demi": 0.5, "demi": 0.5, "dos": 2, "tres": 3, "cuatro": 4,
    "cinco": 5, "diez": 10, "medio": 0.5, "media": 0.5, "anderthalb": 1.5, "eineinhalb": 1.5, "dreiviertel": 0.75, "ein dreiviertel": 0.75, "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "十": 10, "半": 0.5, "an": 1, "a": 1, "ein": 1, "einem": 1, "einen": 1, "un": 1, "une": 1, "una": 1,
}  # fmt: skip
UNITS = {
    "ha": "ha", "hectare": "ha", "hectares": "ha", "hectar": "ha", "hectars": "ha", "hektar": "ha", "hectárea": "ha", "hectáreas": "ha", "公顷": "ha", "hectarea": "ha", "hectareas": "ha", "hektare": "ha",
    "m2": "m2", "sqm": "m2", "sq m": "m2", "square metre": "m2", "square metres": "m2", "square meter": "m2", "square meters": "m2", "quadratmeter": "m2",
    "mètres carrés": "m2", "metros cuadrados": "m2", "平方米": "m2", "平米": "m2", "metres carres": "m2", "km2": "km2", "sq km": "km2", "square kilometre": "km2", "square kilometres": "km2",
    "square kilometer": "km2", "square kilometers": "km2", "quadratkilometer": "km2", "平方公里": "km2", "平方千米": "km2", "英亩": "acres", "acre": "acres", "acres": "acres", "ac": "acres",
    "pixeles": "px", "px": "px", "pixel": "px", "pixels": "px", "píxeles": "px", "像素": "px", "%": "percent", "percent": "percent", "per cent": "percent", "prozent": "percent",
    "percent of the image": "percent", "% of the image": "percent", "percent of the picture": "percent", "% of the picture": "percent",
    "m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m", "metern": "m", "mètre": "m", "mètres": "m", "metro": "m", "metros": "m", "米": "m", "公尺": "m",
    "cm": "cm", "centimetre": "cm", "centimetres": "cm", "centimeter": "cm", "centimeters": "cm", "zentimeter": "cm", "centimètres": "cm", "centímetros": "cm", "厘米": "cm",
    "km": "km", "kilometre": "km", "kilometres": "km", "kilometer": "km", "kilometers": "km", "kilomètre": "km", "kilomètres": "km", "kilómetro": "km",
    "kilómetros": "km", "kilometro": "km", "kilometros": "km", "公里": "km", "千米": "km",
}  # fmt: skip
_METRES = {"m": 1, "km": 1000, "cm": 0.01}
_SIDES = {
    "north": ("north", "northern", "norden", "nördlichen", "nord", "norte", "北"), "south": ("south", "southern", "süden", "südlichen", "sud", "sur", "南"),
    "east": ("east", "eastern", "osten", "östlichen", "est", "este", "东"), "west": ("west", "western", "westen", "westlichen", "ouest", "oeste", "西"),
    "north-east": ("north-east", "northeast", "north east", "north-eastern", "northeastern", "nordosten", "nord-est", "noreste", "top right", "upper right", "东北"),
    "north-west": ("north-west", "northwest", "north west", "north-western", "northwestern", "nordwesten", "nord-ouest", "noroeste", "top left", "upper left", "西北"),
    "south-east": ("south-east", "southeast", "south east", "south-eastern", "southeastern", "südosten", "sud-est", "sureste", "bottom right", "lower right", "东南"),
    "south-west": ("south-west", "southwest", "south west", "south-western", "southwestern", "südwesten", "sud-ouest", "suroeste", "bottom left", "lower left", "西南"),
    "center": ("center", "centre", "middle", "mitte", "milieu", "centro", "中间", "中心"), "top": ("top", "upper", "oben", "oberen", "haut", "arriba", "上"),
    "bottom": ("bottom", "lower", "unten", "unteren", "bas", "abajo", "下"), "left": ("left", "left-hand", "linken", "links", "gauche", "izquierda", "左"),
    "right": ("right", "right-hand", "rechten", "rechts", "droite", "derecha", "右"),
}  # fmt: skip
_COLOURS = {
    "red": ("red", "rot", "rouge", "rojo", "红色"), "orange": ("orange", "naranja", "anaranjado", "橙色"), "yellow": ("yellow", "gelb", "jaune", "amarillo", "黄色"),
    "green": ("green", "grün", "vert", "verde", "绿色"), "cyan": ("cyan", "turquoise", "türkis", "cian"), "blue": ("blue", "blau", "bleu", "azul", "蓝色"),
    "purple": ("purple", "violet", "lila", "morado", "紫色"), "pink": ("pink", "magenta", "rosa", "rose", "粉色"), "brown": ("brown", "braun", "marron", "marrón"),
    "grey": ("grey", "gray", "grau", "gris"), "white": ("white", "weiß", "blanc", "blanco", "白色"), "black": ("black", "schwarz", "noir", "negro", "黑色"),
}  # fmt: skip
_RANKS = {
    1: ("first", "1st"), 2: ("second", "2nd", "zweit", "zweite", "deuxième", "segundo", "第二"), 3: ("third", "3rd", "dritt", "dritte", "troisième", "tercer", "第三"),
    4: ("fourth", "4th"), 5: ("fifth", "5th"),
}  # fmt: skip


_SAID_OTHERWISE = frozenset(("est", "este", "sur"))
"""Words of places that more often mean something else: French for "is" and "on", Spanish for "this"."""
_TO_THE = re.compile(r"(?:l'|\b(?:al|del|el|zona|parte|lado|mitad|côté|partie|moitié))\s*$")
_COMPASS = ("north", "south", "east", "west")


@dataclass
class Tagged:
    """A message with its values replaced by tags; `values` maps each tag ("A0") to what it stands for.

    Tags: A area (value, unit), P pixels, L length in m, W place (place, part), C land cover, Y layer name,
    I index, K colour, R rank, N number.
    """

    text: str
    values: dict[str, Any] = field(default_factory=dict)

    def replace(self, pattern: re.Pattern[str], make: Callable[[re.Match[str]], tuple[str, Any] | None]) -> None:
        """Replace every match outside earlier tags for which `make` gives (kind, value)."""

        def put(match: re.Match[str]) -> str:
            made = make(match)
            if made is None:
                return match[0]
            tag = f"{made[0]}{len(self.values)}"
            self.values[tag] = made[1]
            return f" «{tag}» "

        pieces = re.split(r"(«\w+»)", self.text)
        self.text = "".join(piece if piece.startswith("«") else pattern.sub(put, piece) for piece in pieces)


def _words(words: Iterable[str]) -> str:
    """One alternation of words, longest first; whole words only, except where a script has no spaces."""
    ordered = sorted(set(words), key=len, reverse=True)
    spaced = "|".join(re.escape(word) for word in ordered if not _unspaced(word))
    dense = "|".join(re.escape(word) for word in ordered if _unspaced(word))
    whole = rf"(?<![\w-])(?:{spaced})(?![\w-])" if spaced else ""
    return f"(?:{'|'.join(filter(None, (whole, dense)))})"


def _unspaced(word: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in word)


def _reversed(table: dict[Any, tuple[str, ...]]) -> dict[str, Any]:
    return {word: key for key, words in table.items() for word in words}


_DIGITS = r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+"
NUMBER_PATTERN = rf"(?P<number>{_DIGITS}|{'|'.join(re.escape(w) for w in sorted(NUMBER_WORDS, key=len, reverse=True))})"
_UNIT_END = r"(?![a-z0-9äöüéèñ²-])"
_AMOUNT = re.compile(
    rf"(?<![a-z0-9äöüßéèñ.-]){NUMBER_PATTERN}\s*-?\s*(?P<unit>{'|'.join(re.escape(u) for u in sorted(UNITS, key=len, reverse=True))}){_UNIT_END}"
)
_PLACES, _COLOUR_WORDS, _RANK_WORDS = _reversed(_SIDES), _reversed(_COLOURS), _reversed(_RANKS)
_PLACE = re.compile(
    rf"(?:(?:in|within|on|from|at|to|towards|im|in der|im|dans|au|à|en el|en la|en)\s+)?(?:the\s+|le\s+|la\s+|el\s+)?(?P<side>{_words(_PLACES)})(?! of (?:it|that|this)\b)"
    r"(?:\s*(?P<part>third|half|part|side|corner|quarter|hand side|edge|drittel|hälfte|tiers|moitié|tercio|mitad|部|边|半部))?(?:\s+of (?:the )?(?:image|picture|scene|map|photo))?"
)
_PLAIN_PLACE = re.compile(_words(word for word in _PLACES if word not in _SAID_OTHERWISE))
_COVER_WORDS = _reversed(SYNONYMS)
_COVER = re.compile(_words(_COVER_WORDS))
_NO_COVER = re.compile(r"(?:(?<=\bo )|(?<=\bque ))sea\b|水(?=[稻土泥])|(?<=[防泼缩])水")
"""What looks like a land cover and is none: Spanish "o sea" (that is), rice, soil, cement, "waterproof" in Chinese."""
_INDEX = re.compile(_words(name.lower() for name in INDEX_NAMES if name != "BI"))
_COLOUR = re.compile(_words(_COLOUR_WORDS))
_RANK = re.compile(_words(_RANK_WORDS))
_BARE_NUMBER = re.compile(
    rf"(?<![\w.-])(?P<number>-?(?:{_DIGITS})|{_words(word for word in NUMBER_WORDS if len(word) > 2 and ' ' not in word and word not in ('one', 'half', 'demi', 'media', 'medio', 'una', 'une', 'ein'))})(?![\w-])"
)


def normalise(message: str) -> str:
    """Lower case, plain quotes, one space between words; "m²" becomes "m2"."""
    text = unicodedata.normalize("NFKC", message).lower().replace("’", "'").replace("–", "-")
    return re.sub(r"\s+", " ", text).strip()


def read_number(text: str) -> float:
    """The value of a number in digits or words: "1,000" is a thousand, "0,5" a half.

    "1.500" is one and a half thousand, as in German, French and Spanish: nobody writes zeros behind a decimal point to
    say how large a pond is. "1.194" may be the size of a pixel.
    """
    if text in NUMBER_WORDS:
        return float(NUMBER_WORDS[text])
    text = text.replace("'", "").replace(" ", "")
    if re.fullmatch(r"-?[1-9]\d{0,2}(\.\d{3})*\.(\d00|\d{3}\.\d{3})", text):
        return float(text.replace(".", ""))
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def tag(message: str, layer_names: Iterable[str] = ()) -> Tagged:
    """Tag the values in a message; `layer_names` are the names in use, so that a layer called "my fields" is seen."""
    tagged = Tagged(normalise(message))
    names = {name.casefold(): name for name in layer_names}
    own = {key: name for key, name in names.items() if _COVER_WORDS.get(key) != key}
    if own:
        tagged.replace(_own_names(tuple(own)), lambda match: ("Y", own[match[0]]))
    tagged.replace(_INDEX, lambda match: ("I", match[0].upper()))
    tagged.replace(_AMOUNT, _amount)
    tagged.text = _NO_COVER.sub("·", tagged.text)
    tagged.replace(_COVER, lambda match: ("C", _COVER_WORDS[match[0]]))
    tagged.replace(_PLACE, _place)
    tagged.replace(_RANK, lambda match: ("R", _RANK_WORDS[match[0]]))
    tagged.replace(_COLOUR, lambda match: ("K", _COLOUR_WORDS[match[0]]))
    tagged.replace(_BARE_NUMBER, lambda match: ("N", read_number(match["number"])))
    tagged.text = re.sub(r"\s+", " ", tagged.text).strip()
    return tagged


def compass_said(message: str) -> str | None:
    """The part of the image that a message names by the compass or a corner, where it names no other; else None."""
    found = {_PLACES[match[0]] for match in _PLAIN_PLACE.finditer(normalise(message))}
    return found.pop() if len(found) == 1 and next(iter(found)).startswith(_COMPASS) else None


def read_colour(word: str) -> str | None:
    """The colour that a word in any of the languages names, or None."""
    return _COLOUR_WORDS.get(normalise(word))


@lru_cache(maxsize=64)
def _own_names(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_words(names))


def _amount(match: re.Match[str]) -> tuple[str, Any]:
    value, unit = read_number(match["number"]), UNITS[match["unit"]]
    if unit in _METRES:
        return "L", (round(value * _METRES[unit], 6), "m")
    return ("P" if unit == "px" else "A"), (value, unit)


def _place(match: re.Match[str]) -> tuple[str, Any] | None:
    if match["side"] in _SAID_OTHERWISE and not _TO_THE.search(match.string[: match.start("side")]):
        return None
    part = "third" if match["part"] in ("third", "drittel", "tiers", "tercio") else "half"
    return "W", (_PLACES[match["side"]], part)
