"""Phrases that give a bad pair away, in English, German, Spanish and French; a blank in a phrase is any white space."""

import re

_PART = "(?:passage|excerpt|extract|snippet|chunk)"
_SECTION = "(?:section|paragraph|chapter|part|article|text|page)"
_WRITING = "(?:context|document|guide|report|story|interview|manual|leaflet|minutes|notes?|information|material)"
_SAYS = (
    "(?:says?|states?|mentions?|describes?|suggests?|gives?|lists?|explains?|refers?|tells?|provides?|discuss(?:es)?)"
)
_GERMAN_PART = r"(?:text\w*|abschnitt\w*|auszug\w*|absatz\w*|passage\w*|textstelle)"

# "the passage of the strait" and "the chunk size" are subjects; "the passage" alone points at what the reader lacks
_REFERENCES = (
    rf"(?:this|the|that|given|provided|above|following|preceding) {_PART}\b"
    r"(?! (?:code|size|number|length|\w+ing))(?! (?:of|through|between|across|into|over|to)\b)",
    rf"(?:above|given|provided|preceding|aforementioned) (?:{_SECTION}s?|{_WRITING})\b",
    rf"{_WRITING} (?:above|below|provided|given)\b",
    r"(?:first|second|third|fourth|fifth|last|next|final) paragraph\b",
    r"(?:the author|the writer) (?:\w+ ){0,3}(?:in|of) (?:this|the) (?:text|paragraph|section|passage|excerpt)\b",
    rf"this {_SECTION}\b",
    r"(?:in|from|to|by|on) the text(?:\s*[,.?;:]|\s*$| above| below| and\b)",
    rf"(?:does|do|did|what|how|as) the text {_SAYS}\b",
    rf"the text {_SAYS}\b",
    rf"the (?:text|{_SECTION}) (?:above|below)\b",
    r"(?:mentioned|described|listed|given|shown|quoted|stated|discussed|provided) (?:above|below|here)\b",
    rf"(?:in|laut|nach) (?:diesem|dem (?:obigen|gegebenen|vorliegenden)) {_GERMAN_PART}",
    r"(?:laut|im|nach) (?:dem )?(?:(?:obigen|vorliegenden|gegebenen) )?(?:auszug|text(?:ausschnitt|abschnitt|auszug))",
    rf"(?:diese[rmns]?|obige[rmn]?|vorliegende[rmn]?|gegebene[rmn]?) {_GERMAN_PART}",
    r"(?:laut|im) (?:dem )?text\b",
    rf"(?:oben|unten) (?:stehende|genannte|zitierte)[rmns]? {_GERMAN_PART}",
    r"de[mr] text zufolge",
    r"(?:este|esta|el|la|del|al) (?:pasaje|fragmento|extracto)",
    r"(?:este|esta) (?:texto|p[áa]rrafo|secci[óo]n)",
    r"(?:en|seg[úu]n) el texto",
    r"(?:texto|p[áa]rrafo|fragmento) (?:anterior|dado|proporcionado)",
    r"(?:ce|cet|cette) (?:passage|extrait|texte|paragraphe|section)",
    r"(?:le |l['’]|du |dans l['’])extrait",
    r"(?:selon|d['’]apr[èe]s|dans) le (?:passage|texte)",
    r"(?:texte|passage|paragraphe) (?:ci-dessus|fourni|donn[ée])",
)
_NO_ANSWER = (
    r"not (?:answerable|mentioned|stated|specified|given|provided|available|known)\b",
    r"(?:does|do|did)(?: not|n['’]t) (?:\w+ ){0,2}?"
    r"(?:say|mention|state|specify|provide|indicate|contain|tell|give|explain|include|reveal)\b",
    r"(?:cannot|can['’]t|can not|could not) be (?:determined|answered|inferred|found|established)",
    r"no (?:information|mention|answer|details?) (?:is|are|was|on|about|in|of|given|provided|available)",
    r"i (?:do not|don['’]t|cannot|can['’]t) (?:know|answer|find|tell)",
    r"(?:i(?:['’]m| am) )?sorry\b",
    r"(?:could not|couldn['’]t|cannot|can['’]t|do not|don['’]t) (?:find|have) (?:\w+ ){0,3}"
    r"(?:information|answer|mention)",
    r"as an ai\b",
    r"unknown\s*\.?$",
    r"n/a$",
    r"nicht (?:erw[äa]hnt|genannt|angegeben|beantwortbar|bekannt)",
    r"geht (?:\w+ ){0,5}nicht hervor",
    r"keine (?:angabe|information)",
    r"no (?:se |lo )?(?:menciona|indica|especifica|dice|sabe)\b",
    r"(?:n['’]est|ne sont) pas (?:mentionn|indiqu|pr[ée]cis|donn)",
    r"ne (?:mentionne|pr[ée]cise|dit|indique) pas",
)
_DANGLING_WORDS = (
    "the a of and or to in with for by at from that which because when if as is are was were "
    "der die das und oder mit von zu weil ein eine el la los las de del y con por que le les des du et avec pour"
)
_DANGLING_IN_PROSE = (  # a short answer may end so: "as before"
    "can could will would may might must should before after about into than whose while although but its their not be"
)


def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(phrase.replace(" ", r"\s+") for phrase in phrases) + ")", re.I)


REFERENCE = _any_of(_REFERENCES)  # to a passage that the reader of the record does not have
NO_ANSWER = _any_of(_NO_ANSWER)
SOURCE = _any_of((r"(?:text|passage|document|excerpt|source|section|article|texto|texte|documento|dokument|auszug)\b",))
YES_NO = re.compile(r"\W*(?:yes|no|ja|nein|sí|si|oui|non)\b", re.I)
CHOICE = _any_of((r"(?:or|oder|o|u|ou|either|whether|between)\b",))
DANGLING = re.compile(rf"(?:[,;(\[{{–—-]|(?<![\w-])(?:{_DANGLING_WORDS.replace(' ', '|')})\s*)$", re.I)
DANGLING_IN_PROSE = re.compile(rf"(?<![\w-])(?:{_DANGLING_IN_PROSE.replace(' ', '|')})\s*$", re.I)
ENDING = re.compile(r"[.!?:…。！？)\]}>\"'”’»`*|%°]\s*$")
LIST_OR_CODE = re.compile(r"(?:^|\n)(?:\s*(?:[-*•+]|\d+[.)])\s+\S.*|[ \t]{2,}\S.*)\s*$")
