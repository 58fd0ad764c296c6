"""Patterns of plain commands and questions, matched by `commands` against messages that `vocabulary` has tagged."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_FILLER_TEXT = """
that's thats it's its the a an it them those these that this of please just only me my i i'd i'll we us want
like would could can you to now ok okay so then and also well hey hi hmm uh um say all some any is are was be
do does did in on here there there's have which what's really maybe perhaps kindly thanks thank
let's lets let go need see look one ones anything everything things thing stuff pieces piece bits bit areas
area patches patch regions region parts part fields field plots plot blobs blob spots spot polygons specks
fragments shapes objects features image picture scene map photo layer mask tiny little small whole
for by from keep leave retain at as into der die
das den dem des ein eine nur bitte mir mal und dann jetzt alles stücke flächen behalte le la les un une de du
seulement uniquement moi s'il te plaît vous plait et puis maintenant garde ce qui est tout el los las solo
sólo por favor y ahora quédate con lo que
"""
FILLERS = frozenset(_FILLER_TEXT.split())
"""Words that carry no command: articles, politeness, and names of things in general."""
POLITE = re.compile(
    r"^(?:(?:ok(?:ay)?|hey|hi|hello|please|great|good|alright|well|now|so|and|then|thanks|thank you|cool|perfect|uh|um|hmm|next|just|perhaps|i would like|i'd like"
    r"|(?:can|could|would|will) you(?: please)?|(?:can|could) (?:we|i)(?: have)?|i want(?: to)?|let's|bitte|por favor)[,.!:]*\s+)+"
)
TRAILING = re.compile(
    r"(?:[\s,.!?;:…]+(?:please|thanks|thank you|if you can|now|bitte|danke|merci|por favor|gracias)?)+$"
)
CORRECTION = re.compile(
    r"^(?:no|nope|nein|non|oops|sorry|wrong|not that|not this|actually)?[,.!\s]*(?:sorry[,.\s]*)?(?:i (?:actually )?mean(?:t)?|i said|i wanted|ich meinte|je voulais dire|quise decir|我是说)\s+(?P<rest>.+)$"
    r"|^(?:no|not that|wrong|nein|non|不对)[,.!]+\s*(?P<rest2>.+)$"
)
CONNECTOR = re.compile(r"\s*(?:;|\.\s|, then |,? and then |,? then |, and |, but |,| and | und | et | y |，)\s*")
CHINESE_FILLERS = re.compile("只要|只|请|保留|的|那个|那些|一下|把|个|是")
ASKS_OR_AMENDS = re.compile(
    r"^(?:is|are|was|does|did|how|why|what if)\b.*\?|\binstead\b|^right, "
    r"|^(?:(?:that's|that is|what's|what is|all|quite|yes|yeah|just)\s+)?(?:right|left|top)\W*$|\b(?:anything|something|what) else\b"
)
"""A question is no command, "instead" speaks of the step before, "that's right" of no side: all are left to the model."""
KEEP = re.compile(
    r"\b(?:only|just|keep|leave|retain|show|nur|behalte|seulement|garde|uniquement|solo|sólo|quédate)\b|只|保留"
)
"""Without such a word nobody knows whether "specks under 6 m2" are to stay or to go."""
LEANS = re.compile(r"^(?:and|or|und|oder|et|ou|y|o|¿y)\b|^(?:那|还有)|\?$")
"""How a message begins or ends that goes on with the question before it."""
DROP = r"(?:drop|remove|delete|get rid|discard|ignore|exclude|filter|throw away|throw|erase|eliminate|omit|take away|take|kill|clear|skip|lose|without|no|not|forget|nothing|weg|entferne|ohne|lösche|enlève|supprime|sans|quita|elimina|sin|去掉|删除|去除)"
LESS = r"(?:under|below|smaller than|smaller|less than|less|lower than|<|unter|kleiner als|kleiner|weniger als|moins|menos|menor(?:es)?|小于|不到|少于)"
_MORE = r"(?:over|above|larger than|larger|bigger than|bigger|greater than|more than|>|exceeding|exceeds|über|größer als|größer|mehr als|plus|dépasse|más|mayor(?:es)?|大于|超过)"
_LEAST = (
    r"(?:at least|least|minimum size|minimum|min|no smaller than|not less than|mindestens|au moins|moins|al menos|至少)"
)
_MOST = (
    r"(?:most|maximum size|maximum|max|no more than|not more than|no larger than|höchstens|au plus|como máximo|最多)"
)
_BIG = r"(?:biggest|largest|big|main|greatest|größten|größte|größter|größtes|plus grands?|plus grandes?|más grandes?|mayor|最大)"
_SMALL = r"(?:smallest|tiniest|littlest|kleinsten|kleinste|kleinster|kleinstes|plus petits?|plus petites?|más pequeñ[oa]s?|menor|最小)"
_THING = r"(?: «C\d+»| «Y\d+»)?"
LAYER = r"«(?:C|Y)\d+»"


def _step(op: str, **fields: Any) -> dict[str, Any]:
    return {"op": op, **fields}


def _sized(op: str) -> Callable[..., dict[str, Any]]:
    return lambda area: _step(op, value=area[0], unit=area[1])


def _length(op: str) -> Callable[..., dict[str, Any]]:
    return lambda length: _step(op, value=length[0], unit=length[1])


def _to_layer(op: str) -> Callable[..., dict[str, Any]]:
    return lambda other, length=None: _step(
        op, layer=other, **({"value": length[0], "unit": length[1]} if length else {})
    )


# Each pattern is matched whole against a clause without fillers. {A} area or pixels, {L} length or pixels, {W} place,
# {N} number, {R} rank, {I} index, {V} a value, {O} the other layer.
STEP_PATTERNS: tuple[tuple[str, Callable[..., dict[str, Any]]], ...] = (
    (rf"{DROP} (?:but|except){_THING} (?:for )?{_BIG}{_THING}", lambda: _step("keep_largest", count=1)),
    (rf"(?:others|anderen|autres|demás){_THING}|{DROP}{_THING} {_BIG}{_THING}|(?:but|except|others not){_THING} {_BIG}{_THING}", lambda: _step("drop_largest", count=1)),
    (rf"{_BIG}{_THING}|{_BIG} part|最大", lambda: _step("keep_largest", count=1)),
    (rf"(?:top )?{{N}}{_THING} {_BIG}{_THING}|top {{N}}{_THING}(?: size)?|{_BIG} {{N}}{_THING}", lambda number: _step("keep_largest", count=int(number))),
    (rf"{_SMALL}{_THING}", lambda: _step("keep_smallest", count=1)),
    (rf"{{N}}{_THING} {_SMALL}{_THING}", lambda number: _step("keep_smallest", count=int(number))),
    (rf"{{R}} ?{_BIG}{_THING}", lambda rank: _step("keep_rank", rank=rank)),
    (rf"{DROP}{_THING}(?: off| rid)? (?:{LESS}|{_MOST}) {{A}}|(?:{_MORE}|{_LEAST}) {{A}}|«C\d+» (?:{_MORE}|{_LEAST}) {{A}}|{{A}}{_THING} (?:or )?(?:more|larger|bigger)|alles {LESS} {{A}} weg|{LESS} {{A}} weg|去掉{LESS} ?{{A}}", _sized("drop_smaller")),
    (rf"{DROP}{_THING} (?:{_MORE}|{_LEAST}) {{A}}|(?:{LESS}|{_MOST}) {{A}}|«C\d+» (?:{LESS}|{_MOST}) {{A}}|{{A}}{_THING} (?:or )?(?:less|smaller)|{_MORE} {{A}} weg", _sized("drop_larger")),
    (rf"{DROP}{_THING} (?:lies |lying |located )?{{W}}", lambda place: _step("drop_place", place=place[0], **({"part": place[1]} if place[1] != "half" else {}))),
    (rf"(?:«C\d+» )?(?:lies |lying |located |limit |restrict |crop )?{{W}}{_THING}", lambda place: _step("keep_place", place=place[0], **({"part": place[1]} if place[1] != "half" else {}))),
    (r"(?:grow|expand|enlarge|extend|widen|dilate|buffer|add|puffer|agrandis|amplía|make)(?: edges?| buffer)? {L}(?: buffer| wider| bigger| larger| margin| around)?|{L} (?:buffer|wider|margin)|扩大 ?{L}", _length("grow")),
    (r"(?:shrink|erode|reduce|trim|narrow|contract|schrumpfe|réduis|make)(?: edges?)? {L}(?: narrower| smaller| edges?| border| off)?|{L} narrower|缩小 ?{L}", _length("shrink")),
    (rf"(?:merge|join|connect|combine|bridge|link)(?: gaps?)?{_THING} (?:closer than|closer|within|less than|nearer than|apart|smaller than|next|touching)? ?{{L}}(?: apart| each other| other)?", _length("merge_close")),
    (r"(?:smooth|smoothe|smoothen|tidy|clean)(?: edges?| outlines?| borders?| boundary| boundaries| contours?)?|smoother|less jagged|glätte?(?: ränder)?|lisse(?: bords)?|suaviza(?: bordes)?|平滑(?:边缘)?", lambda: _step("smooth")),
    (r"(?:fill|close|plug)(?: in)?(?: holes?| gaps?)(?: inside)?|no holes?|löcher füllen|remplis trous|rellena huecos|填补空洞", lambda: _step("fill_holes")),
    (r"invert|invers(?:e|ion)|opposite|flip|swap|else|umkehren|inverse masque|invierte|反转", lambda: _step("invert")),
    (r"(?:be )?(?:a )?(?:bit )?stricter|more (?:careful|conservative|strict)|too much(?: marked)?|marked too much|raise threshold|strenger|plus strict|más estricto|太多了|严格一点", lambda: _step("stricter")),
    (r"(?:be )?(?:bit )?(?:looser|less strict|more generous)|missed|too little|include more|lower threshold|missing|menos estricto|moins strict|宽松一点|漏了", lambda: _step("looser")),
    (rf"(?:elongated|long|long thin|thin|narrow|long narrow){_THING}", lambda: _step("keep_shape", shape="elongated")),
    (rf"(?:round|circular|compact round){_THING}", lambda: _step("keep_shape", shape="round")),
    (rf"(?:pixels |where )?{{I}} (?:values? )?(?:{_MORE}|{_LEAST}|higher than|higher|=>|>=) ?{{V}}", lambda index, value: _step("index_above", index=index, value=value)),
    (rf"(?:pixels |where )?{{I}} (?:values? )?(?:{LESS}|{_MOST}|=<|<=) ?{{V}}", lambda index, value: _step("index_below", index=index, value=value)),
    (rf"(?:minus|subtract|{DROP} overlaps?|{DROP} overlapping|cut|{DROP} inside|except|but not|excluding) {{O}}(?: overlap)?", _to_layer("subtract")),
    (r"(?:add|plus|merge|combine|unite|union|join|together|include) {O}(?: too| well)?", _to_layer("union")),
    (r"(?:overlaps?|overlapping|intersect|intersection|inside|within|covered|common) {O}(?: too)?", _to_layer("intersect")),
    (r"(?:«C\d+» )?(?:within|closer than|less than|nearer than|not farther than|no more than|up) {L}(?: away| to| or less)? {O}", _to_layer("near")),
    (rf"(?:«C\d+» )?(?:farther than|further than|more than|least|beyond|not within|no closer than) {{L}}(?: away| off)? {{O}}|{DROP} (?:within|closer than|less than) {{L}} {{O}}", _to_layer("far")),
)  # fmt: skip

_SPOT = r"(?: spot| bit| part| place| point| corner)"
_BOX = r"(?:the|this|that|my) (?:box|rectangle|frame|polygon|outline|shape|drawing|marked area|area (?:that )?i (?:drew|marked))"
IN_BOX = rf"(?:only |just )*(?:what(?:'s| is) |those |everything |all )?(?:inside|in|within)(?: of)? {_BOX}(?: only)?"
_WHAT = r"(?: (?:everything|all|anything|what(?:'s| is)|whatever(?: is)?|those|the (?:ones|pixels|pieces)|what lies))?(?: that (?:is|are|lies))?"
# Matched on the clause as it stands, before fillers go.
CLICK_PATTERNS: tuple[tuple[str, str], ...] = (
    (rf"(?:please )?{DROP}{_WHAT} (?:inside|in|within)(?: of)? {_BOX}|(?:please )?(?:clear|empty) {_BOX}", "drop_inside"),
    (rf"(?:please )?(?:keep )?{IN_BOX}|(?:crop|clip|limit|restrict|cut)(?: it| this| that| them)? (?:to|at) {_BOX}|(?:please )?{DROP}{_WHAT} (?:outside|out|beyond|not in)(?: of)? {_BOX}", "keep_inside"),
    (rf"(?:please )?(?:add|include|mark){_WHAT} (?:inside|in|within)(?: of)? {_BOX}", "add_inside"),
    (rf"(?:please )?{DROP}(?: of)? (?:this|that)(?: one| piece| region| area)(?: please| here)?|not (?:this|that) one", "drop_clicked"),
    (rf"(?:please )?{DROP}(?: of)? (?:this|that|what is)(?:{_SPOT}| here)*(?: please)?|not (?:this|that|here|there){_SPOT}?|(?:this|that|here){_SPOT}?(?: is|'s) (?:not|no|wrong|wrongly marked)(?: right| part of it| one| «C\d+»)?(?: here)?", "remove_here"),
    (rf"(?:please )?(?:add|include|mark) (?:this|that|here)(?:{_SPOT}| one| piece| region| area| here| too| as well)*(?: please)?|(?:and |also )*(?:this|that|here)(?:{_SPOT}| one| piece| region)?(?: too| as well| also)|also (?:this|that|here)(?:{_SPOT}| one| piece| region)?|(?:this|that)(?:{_SPOT}| one| piece| region)? (?:was|is) (?:missed|missing|left out|«C\d+» too)|you (?:have )?missed (?:this|that|a)(?:{_SPOT}| one| piece| region)?(?: here)?", "add_here"),
    (r"(?:only |just |keep )*(?:this|that) (?:one|piece|region|area|patch)(?: only| please)?|(?:only|just|keep) this|(?:keep |only )*the (?:one|region) i clicked(?: on)?", "keep_clicked"),
)  # fmt: skip

SHOW = r"(?<![a-zà-ÿ])(?:show|find|map|highlight|mark|extract|detect|outline|segment|pick|locate|identify|display|draw|trace|get|give|search|looking|locating|what about|how about|next|zeig|zeige|finde|markiere|suche|such|montrez?-moi|montre|trouve|cherche|où|donde|dónde|muestra|muéstrame|encuentra|busca|显示|找出|标出|现在看)(?![a-zà-ÿ])"
PLAIN: tuple[tuple[str, str], ...] = (
    ("undo", r"undo(?: (?:that|it|this|the last (?:step|change|thing)))?|go back|take (?:that|it) back|revert(?: (?:that|it))?|(?:one )?step back|rückgängig(?: machen)?|mach das rückgängig|zurück|annuler?|deshacer|deshaz eso|撤销"),
    ("redo", r"redo(?: (?:that|it))?|wiederholen|rétablir|refais|rehacer|重做"),
    ("reset", r"reset(?: (?:everything|all|it))?|start (?:over|again|afresh)|clear (?:everything|all|all layers)|begin again|(?:delete|remove) (?:all|all layers|everything|all the layers)|重新开始"),
    ("list", r"(?:list|show)(?: me)?(?: all)?(?: the| my)? layers|(?:what|which) layers (?:are there|do i have|do we have|exist)|what do we have(?: so far)?|what have we got(?: so far)?|layers"),
    ("help", r"help(?: me)?|what can you do|how does (?:this|it) work|what can i (?:ask|say|do)|hilfe|aide|ayuda|帮助"),
    ("small_talk", r"(?:hello|hi|hey|hallo|bonjour|hola|good (?:morning|evening|afternoon)|你好)(?: there)?|(?:thanks|thank you|thx|danke|merci|gracias|谢谢)(?: (?:very much|a lot|so much))?|(?:great|nice|perfect|awesome|cool|ok|okay|super|wonderful|excellent|good job|well done|bye|goodbye)(?: thanks| job)?"),
)  # fmt: skip
TARGET = rf"(?P<target>it|that|this|them|this layer|that layer|the layer|the mask|the result|everything|all|all layers|(?:the |my )?{LAYER}(?: layer| mask| areas?| regions?| patch(?:es)?| pieces?)?)"
_IMAGE = r"(?:image|picture|photo|scene|one|date)"
CHANGE = (
    rf"(?:what|how much)(?: has| have|'s|'ve)? changed(?: (?:in|of|for|with) {TARGET})?(?: since(?: then)?| between (?:the )?(?:«N\d+» |both )?(?:images|pictures|dates))?"
    rf"|(?:show|find|map|list)(?: me)?(?: the)? (?:changes?|differences?)(?: (?:in|of|for) {TARGET})?|(?:the )?(?:changes?|differences?)(?: (?:in|of|for) {TARGET})?"
    rf"|(?:how|has|have|did)(?: has| have| did)? {TARGET} changed?(?: since(?: then)?)?"
    rf"|compare(?: {TARGET})?(?: it)? (?:with|to|against) (?:the )?(?:other|second|earlier|later|older|newer|old|new|first|previous) {_IMAGE}"
    rf"|how much(?: of)? {TARGET}? ?(?:has been |was |were |is |did we )?(?:lost|gained|lose|gain|gone|new)(?: since(?: then)?)?"
    rf"|(?:what|where)(?: has| was| did we)?(?: been)? (?:lost|gained|lose|gain)(?: (?:of|in) {TARGET})?|compare (?:the )?(?:«N\d+» |both )(?:images|pictures|dates)"
)
QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("measure", rf"how (?:healthy|dry|stressed|dense) (?:is|are) {TARGET}|(?:is|are) {TARGET} (?:healthy|dry|sparse|stressed|dense)(?: or .+)?|(?:what is the )?(?:condition|health)(?: (?:of )?{TARGET})?", {"quantity": "condition"}),
    ("measure", rf"(?:what is the |the )?(?:perimeter|shoreline|edge length|length of the (?:outline|edge|border|shore|shoreline))(?: of {TARGET})?|how long is the (?:outline|edge|border|perimeter|shore|shoreline)(?: of {TARGET})?", {"quantity": "perimeter"}),
    ("measure", rf"(?:what is the )?(?:average|mean) (?:size|area)(?: of (?:the )?(?:pieces|regions|patches|{TARGET}))?|how (?:big|large) are (?:they|{TARGET}) on average", {"quantity": "mean_area"}),
    ("measure", rf"(?:what|which) (?:share|percentage|fraction|percent|proportion)(?: of (?:the )?(?:image|picture|scene|area|map))? (?:is|are) {TARGET}|how (?:many percent|much of (?:the )?(?:image|picture|scene)) is {TARGET}|(?:as |in )?(?:percent|percentage|share|%)|what (?:share|percentage|fraction)(?: is (?:it|that))?", {"quantity": "share"}),
    ("measure", rf"(?:(?:and )?how (?:big|large|much)(?: land| area)?|what(?:'s| is) the (?:total )?(?:area|size|extent)|(?:total )?(?:area|size)|measure)(?: (?:is|are|of|does))? ?(?:the (?:area of )?)?(?:{TARGET})?(?: (?:is there|there|in total|altogether|cover))?|(?:give me|tell me) (?:the |its )?(?:size|area)|wie groß ist (?:das|es|der|die)|quelle (?:est la )?surface|¿?qué superficie tiene|面积(?:是)?多少|有多大", {}),
    ("count", rf"how many(?: (?:of them|pieces|regions|patches|areas|(?P<target>{LAYER})))?(?: (?:are there|is it|are they|do you see|did you find))?|count(?: (?:them|it|the pieces|{TARGET}))?|(?:what is the )?number of (?:pieces|regions|patches|{TARGET})|wie viele(?: sind es)?|combien(?: y en a-t-il)?|¿?cuántos hay|有几个|多少个", {}),
    ("locate", rf"where (?:is|are|exactly is) (?:it|they|that|the (?:biggest|largest)(?: one| {LAYER}| part)?)|(?:what are the )?(?:coordinates|location|position)(?: of {TARGET})?|wo (?:ist|liegt) (?:das|es|der größte|die größte)|où (?:est-ce|est le plus grand)|¿?dónde está|在哪里", {}),
    ("describe", rf"describe(?: {TARGET})?(?: to me)?|tell me (?:more|more about {TARGET}|about {TARGET})|what do you see|summari[sz]e(?: {TARGET})?|beschreibe? es|décris|描述一下", {}),
    ("explain", rf"why|why do you (?:think|say) (?:so|that|this)|why(?: is| are)? (?:that|this|it|{TARGET})(?: {LAYER})?|how do you know(?: (?:that|it))?|are you (?:really )?sure(?: about {TARGET})?|explain(?: {TARGET})?|how (?:sure|confident|certain) are you|what makes you (?:say|think) (?:that|so)|warum|pourquoi|¿?por qué|为什么|你确定吗", {}),
)  # fmt: skip
UNIT_QUESTION = re.compile(
    rf"(?:and )?(?:how many|in|what is (?:it|that) in|{TARGET} in|what's that in|wie viele|combien d'?|¿?cuántas?|多少) ?(?P<unit>hectares?|ha|hektar|hectáreas|公顷|acres?|km2|square kilomet(?:re|er)s?|m2|square met(?:re|er)s?|sqm|pixels?|px)(?: (?:is (?:it|that)|are (?:they|there)|of (?P<of>(?:the )?{LAYER})(?: .*)?))?".replace(
        "(?P<target>", "(?P<target2>"
    )
)
UNIT_NAMES = {"hectare": "ha", "hectares": "ha", "ha": "ha", "hektar": "ha", "hectáreas": "ha", "公顷": "ha", "acre": "acres", "acres": "acres", "pixel": "px", "pixels": "px", "px": "px", "sqm": "m2", "m2": "m2", "km2": "km2"}  # fmt: skip


def marked(clause: str) -> str | None:
    """The step of a clause that speaks of what is marked in the picture."""
    return next((op for pattern, op in CLICK_PATTERNS if re.fullmatch(pattern, clause)), None)


@lru_cache(maxsize=64)
def numbered(pattern: str) -> re.Pattern[str]:
    """Give repeated target groups of one pattern names of their own."""
    count = iter(range(1, 99))
    return re.compile(re.sub(r"\(\?P<target>", lambda _: f"(?P<target{next(count)}>", pattern))
