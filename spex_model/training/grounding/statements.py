"""Every checkable statement of a text about a land cover, each held to the pixels that it speaks of.

A text is read sentence by sentence with patterns; what a pattern has read is taken out, so that no figure is judged
twice, and figures that no pattern reads are reported as unread. Tolerances: a printed figure may differ from the
measured one by half a unit of its last digit, areas of georeferenced scenes by 0.1 % more, means of an index by 0.001 more;
counts are exact. Words have the limits of `grounding_measures`; regions of equal size may swap ranks.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from spex_model.training.grounding import measures
from spex_model.training.grounding.measures import IndexMask, Piece
from spex_model.training.grounding.subject import Ground, Sentence, Statement, near, show

NAMES = {
    "water": "water", "other vegetation": "other vegetation", "vegetation": "vegetation", "trees": "trees", "tree cover": "trees",
    "buildings": "buildings", "built-up land": "buildings", "bare soil": "bare soil",
}  # fmt: skip
_BAND_OF = {"short-wave infrared": "swir1", "near-infrared": "nir", "green": "green", "red": "red", "blue": "blue"}
_PLACE = r"(?:top|middle|bottom)[- ](?:left|center|right)|center"
_SIZE = "huge|somewhat large|large|medium|small|very tiny"
_SHAPE = "elongated|round|rectangular|irregular|compact"
_INDEX = r"\b(?:MNDWI|NDWI|NDVI|VARI|NDBI|BI)"
_NUMBER = r"-?\d+(?:\.\d+)?"
_COUNT = r"\d{1,3}(?:,\d{3})+|\d+"
_COVER = "|".join(NAMES)
_BANDS = "|".join(_BAND_OF)
_UNITS_M2 = {"ha": 1e4, "hectares": 1e4, "m2": 1.0, "m²": 1.0, "square metres": 1.0, "km²": 1e6, "km2": 1e6}
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z“])")
_TAKEN_OUT = r"; (?:plants|water) \(.* taken out"
"""What the index leaves out by the limits of other indices: a rule, no statement about this image."""
_UNCERTAIN = re.compile(r"are expected, nine times in ten|pixels that the model is unsure of")
FIGURE = re.compile(rf"(?<![\w.])(?:{_COUNT})(?:\.\d+)?|(?<![\w.])-\d+(?:\.\d+)?")


def _place(word: str) -> str:
    return word.lower().replace(" ", "-")


def _objects(sentence: Sentence) -> Iterator[Statement]:
    ground = sentence.ground
    pattern = rf"(a row of )?\b({_COUNT}|one) ({_SIZE})(?: ({_SHAPE}))? (?:[a-z-]+ ){{1,4}}?in the ({_PLACE})"
    named: set[tuple[str, str]] = set()
    for match in sentence.take(pattern):
        number = 1 if match[2].lower() == "one" else int(match[2].replace(",", ""))
        sized = [piece for piece in ground.pieces if measures.size_fits(piece.pixels, ground.valid, match[3].lower())]
        cells = [(piece, measures.place_of(piece, ground.mask.shape)) for piece in sized]
        there = [piece for piece, places in cells if _place(match[5]) in places]
        surely = [piece for piece, places in cells if places == {_place(match[5])}]
        key = match[3].lower(), _place(match[5])
        true = len(surely) <= number <= len(there) and key not in named  # naming regions twice would count them twice
        named.add(key)
        if match[4]:
            true = true and all(piece.has_shape(match[4].lower()) for piece in there)
        if match[1]:
            true = true and measures.in_row(there)
        yield Statement("objects", match[0], true, f"{len(there)} of that size there")


def _index(sentence: Sentence) -> Iterator[Statement]:
    ground = sentence.ground
    marked = ground.index
    for match in sentence.take(rf"({_INDEX}) is nowhere above ({_NUMBER})"):
        yield _threshold(match[1], match[2], marked)
        yield Statement("absence", match[0], not marked.mask.any(), f"{int(marked.mask.sum())} pixels above")
    for match in sentence.take(
        rf"({_INDEX}) averages ({_NUMBER}) inside(?: it| the mask)(?: and ({_NUMBER}) outside)?"
    ):
        for figure, where in ((match[2], ground.mask), (match[3], ground.absent)):
            if figure:
                mean = ground.mean(match[1].upper(), where)
                yield Statement("mean", f"{match[1]} {figure}", near(figure, mean, 0.001), show(mean))
        for share in sentence.take(rf"({_NUMBER}) % of its pixels lie above ({_NUMBER})"):
            yield from _agreement(match[1].upper(), share, ground)
    for match in sentence.take(rf"({_INDEX})(?: is|:)? above ({_NUMBER})(?:, (?:with a )?mean(?: of)? ({_NUMBER}))?"):
        yield _threshold(match[1], match[2], marked)
        if match[3]:
            mean = ground.mean(match[1].upper(), marked.mask)
            yield Statement("mean", match[0], near(match[3], mean, 0.001), show(mean))
    for match in sentence.take(rf"({_INDEX}) marks ({_NUMBER}) % of the image"):
        part = 100 * float(marked.mask.sum()) / max(ground.valid, 1)
        yield Statement("share", match[0], match[1].upper() == marked.index and near(match[2], part), show(part))


def _threshold(index: str, figure: str, marked: IndexMask) -> Statement:
    true = index.upper() == marked.index and near(figure, marked.threshold, 0.001)
    return Statement("threshold", f"{index} above {figure}", true, f"{marked.index} above {marked.threshold:.3f}")


def _agreement(index: str, match: re.Match[str], ground: Ground) -> Iterator[Statement]:
    values = measures.index_values(ground.scene, index)
    if values is None or not ground.mask.any():
        yield Statement("share", match[0], False, "no such pixels")
        return
    with np.errstate(invalid="ignore"):
        share = 100 * float((values[ground.mask] > float(match[2])).mean())
    yield Statement("share", match[0], near(match[1], share, 0.1 * (match[1] == "99.9")), show(share))
    yield _threshold(index, match[2], ground.index)


def _meaning(sentence: Sentence) -> Iterator[Statement]:
    scene, ground = sentence.ground.scene, sentence.ground
    where = ground.mask if "averages" in sentence.text else ground.index.mask
    more = "is above that of|comes back (?:far )?more than|is reflected (?:far )?more than|exceeds?"
    sides = rf"((?:{_BANDS})(?: (?:plus|and) (?:{_BANDS}))?)"
    for match in sentence.take(rf"{sides}(?: light)? (?:{more}) {sides}"):
        sums = []
        for side in match[1], match[2]:
            names = [_BAND_OF[word] for word in re.findall(_BANDS, side.lower())]
            there = set(names) <= set(scene.bands) and bool(where.any())
            sums.append(sum(float(np.nanmean(scene.reflectance[scene.bands.index(name)][where], dtype=np.float64)) for name in names) if there else np.nan)  # fmt: skip
        yield Statement("meaning", match[0], bool(sums[0] > sums[1]), f"means {sums[0]:.3f} and {sums[1]:.3f}")


def _plants(sentence: Sentence) -> Iterator[Statement]:
    ground = sentence.ground
    for match in sentence.take(
        rf"(NDVI|NDMI)(?:, whose mean is | is [a-z ]+: the mean is |[^.\d]{{0,12}}mean (?:of |is )?)({_NUMBER})"
    ):
        mean = ground.mean(match[1].upper(), ground.mask)
        yield Statement("mean", match[0], near(match[2], mean, 0.001), show(mean))
        yield from _verdict(sentence.text, match[1].upper(), mean)
    beyond = rf"({_NUMBER}) %(?: of it is)? (dense|sparse or dry) \((?:NDVI )?(above|below) ({_NUMBER})\)"
    for match in sentence.take(beyond):
        values = measures.index_values(ground.scene, "NDVI")
        inside = np.array([np.nan]) if values is None else values[ground.mask]
        inside, limit = inside[np.isfinite(inside)], float(match[4])
        share = 100 * float((inside > limit if match[3] == "above" else inside < limit).mean()) if inside.size else None
        named = (match[2] == "dense") == (match[3] == "above") and limit == (0.6 if match[3] == "above" else 0.4)
        yield Statement("condition", match[0], named and near(match[1], share, 0.1 * (match[1] == "99.9")), show(share))  # fmt: skip
    for match in sentence.take(rf"\(moist above ({_NUMBER}), dry below ({_NUMBER})\)"):
        yield Statement("condition", match[0], (float(match[1]), float(match[2])) == (0.2, 0.0), "0.2 and 0.0")


def _verdict(text: str, index: str, mean: float | None) -> Iterator[Statement]:
    high, low = {"NDVI": (0.6, 0.4), "NDMI": (0.2, 0.0)}[index]
    words = {"NDVI": ("dense and vigorous", "neither dense nor dry", "sparse or dry"), "NDMI": ("moist", "between the two", "dry")}[index]  # fmt: skip
    said = re.search(rf"\bis ({'|'.join(words)}):", text)
    if said and mean is not None:
        right = words[0] if mean > high else words[2] if mean < low else words[1]
        yield Statement("condition", said[0], said[1] == right, right)


def _neighbours(sentence: Sentence) -> Iterator[Statement]:
    ground = sentence.ground
    if "border" not in sentence.text.lower() or not ground.planes:
        return
    own = {"vegetation": "trees", "trees": "vegetation"}.get(ground.land_cover)
    rims = [measures.rim_shares(mask, ground.scene.valid, ground.planes) for mask in sentence.subjects]
    for match in sentence.take(rf"no other labelled land cover along ({_NUMBER}) % or more"):
        others = [max((s for c, s in rim.items() if c not in (ground.land_cover, own, "other vegetation")), default=0.0) for rim in rims]  # fmt: skip
        true = any(other < float(match[1]) / 100 for other in others)
        yield Statement("neighbours", match[0], true, ", ".join(f"{100 * other:.1f} %" for other in others))
    for match in sentence.take(rf"\b({_COVER}) \(({_NUMBER}) % of its rim\)"):
        cover = NAMES[match[1].lower()]
        shares = [100 * rim.get(cover, 0.0) for rim in rims]
        true = cover not in (ground.land_cover, own) and any(near(match[2], share, 0.05 * (match[2] == "99.9")) for share in shares)  # fmt: skip
        yield Statement("neighbours", match[0], true, ", ".join(f"{share:.1f} %" for share in shares))


def _bands(sentence: Sentence) -> Iterator[Statement]:
    ground, scene = sentence.ground, sentence.ground.scene
    for match in sentence.take(r"\bbands (?:are )?((?:[a-z]+\d?, )*[a-z]+\d?)(?= allow no index|\.|$)"):
        bands = tuple(match[1].split(", "))
        true = bands == scene.bands or (len(bands) == 7 and bands == scene.bands[:7])
        yield Statement("bands", match[0], true, ", ".join(scene.bands))
    for match in sentence.take("allow no index for it"):
        yield Statement("bands", match[0], ground.index.index is None, f"{ground.index.index} can be computed")
    for match in sentence.take("is not calibrated"):
        yield Statement("bands", match[0], not scene.calibrated, f"calibrated: {scene.calibrated}")
    for match in sentence.take("carries no pixel size"):
        yield Statement("bands", match[0], ground.areas_m2 is None, "a pixel size" if ground.areas_m2 is not None else "none")  # fmt: skip


def _absence(sentence: Sentence) -> Iterator[Statement]:
    ground = sentence.ground
    for match in sentence.take(rf"index shows no ({_COVER})"):
        yield Statement("absence", match[0], not ground.index.mask.any(), f"{int(ground.index.mask.sum())} pixels")
    for match in sentence.take(rf"\bno ({_COVER})\b"):
        if NAMES[match[1].lower()] != ground.land_cover:
            continue
        true = not ground.mask.any() and not ground.unknown.any()
        yield Statement("absence", match[0], true, f"{int(ground.mask.sum())} pixels, {int(ground.unknown.sum())} unknown")  # fmt: skip
    for match in sentence.take("the count is zero|layer [a-z ]+ is empty"):
        yield Statement("absence", match[0], not ground.mask.any(), f"{int(ground.mask.sum())} pixels")


def _counts(sentence: Sentence) -> Iterator[Statement]:
    count = len(sentence.ground.pieces)
    for match in sentence.take(rf"(?<![\d.,])({_COUNT}) (?:separate )?regions?\b"):
        yield Statement("count", match[0], int(match[1].replace(",", "")) == count, f"{count} regions")
    for match in sentence.take(r"\bthe only region\b"):
        yield Statement("count", match[0], count == 1, f"{count} regions")


def _density(sentence: Sentence) -> Iterator[Statement]:
    share = _share(sentence.ground)
    limits = rf"\(dense from ({_NUMBER}) % on, sparse below ({_NUMBER}) %\)"
    for match in sentence.take(limits):
        yield Statement("density", match[0], (float(match[1]), float(match[2])) == (25, 10), "25 % and 10 %")
    for match in sentence.take(r"here (?:is|are) (dense|sparse|of middling density)"):
        right = "dense" if share >= 0.25 else "sparse" if share < 0.1 else "of middling density"
        yield Statement("density", match[0], match[1] == right, f"{100 * share:.2f} %")


def _share(ground: Ground) -> float:
    return float(ground.mask.sum()) / max(ground.valid - int(ground.unknown.sum()), 1)


def _sizes(sentence: Sentence) -> Iterator[Statement]:
    """Shares and areas, of the region of the sentence's rank or of the whole mask."""
    ground = sentence.ground
    for match in sentence.take(rf"({_NUMBER}) ?(?:%|percent) of the (image|labelled pixels)"):
        whole = ground.valid if match[2].lower() == "image" else ground.valid - int(ground.unknown.sum())
        shares = [100 * float(mask.sum()) / max(whole, 1) for mask in sentence.subjects]
        known = match[2].lower() != "image" or not ground.unknown.any()
        true = known and any(near(match[1], share, 0.05 * (match[1] == "99.9")) for share in shares)
        yield Statement("share", match[0], true, ", ".join(f"{share:.3f} %" for share in shares))
    for match in sentence.take(rf"((?:{_COUNT})(?:\.\d+)?) ({'|'.join(_UNITS_M2)}|pixels?)(?!\w)"):
        if match[2].startswith("pixel"):
            sizes: list[float | None] = [float(mask.sum()) for mask in sentence.subjects]
            true = any(near(match[1], size) for size in sizes)
        else:
            unit, slack = _UNITS_M2[match[2]], 1e-3 if ground.scene.crs else 1e-6
            sizes = [None if (size := ground.area_m2(mask)) is None else size / unit for mask in sentence.subjects]
            true = any(near(match[1], size, slack * (size or 0.0)) for size in sizes)
        yield Statement("area", match[0], true, ", ".join(show(size) for size in sizes))


def _ranked_words(sentence: Sentence) -> Iterator[Statement]:
    """Size, shape and place of the region that the sentence is about."""
    if sentence.rank is None:
        return
    ground, pieces = sentence.ground, sentence.ground.ranked(sentence.rank)
    tests: dict[str, tuple[str, Callable[[Piece, str], bool]]] = {
        "size": (rf"\b({_SIZE})\b", lambda piece, word: measures.size_fits(piece.pixels, ground.valid, word)),
        "shape": (rf"\b({_SHAPE})\b", lambda piece, word: piece.has_shape(word)),
        "place": (rf"\b({_PLACE})\b", lambda piece, word: _place(word) in measures.place_of(piece, ground.mask.shape)),
    }
    for kind, (pattern, holds) in tests.items():
        for match in sentence.take(pattern):
            true = any(holds(piece, match[1].lower()) for piece in pieces)
            where = "; ".join(
                f"{100 * piece.pixels / max(ground.valid, 1):.2f} % at {'/'.join(sorted(measures.place_of(piece, ground.mask.shape)))}, "
                f"sides {piece.length:.2f}, round {piece.roundness:.2f}" for piece in pieces[:3]
            )  # fmt: skip
            yield Statement(kind, match[0], true, where or "no such region")


_READERS = (
    _objects,
    _plants,
    _index,
    _meaning,
    _neighbours,
    _bands,
    _absence,
    _density,
    _counts,
    _sizes,
    _ranked_words,
)


def find_statements(text: str, ground: Ground) -> tuple[list[Statement], list[str]]:
    """The checkable statements of a text, and the figures in it that no pattern reads."""
    statements: list[Statement] = []
    unread: list[str] = []
    for part in _SENTENCE.split(text.strip()):
        if _UNCERTAIN.search(part):
            continue  # an estimate of what the mask may miss is no statement about the mask
        sentence = Sentence(part, ground)
        list(sentence.take(_TAKEN_OUT))
        for reader in _READERS:
            statements += reader(sentence)
        unread += FIGURE.findall(sentence.left)
    return statements, unread
