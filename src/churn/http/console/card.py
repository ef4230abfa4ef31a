"""What a manifest says in English sentences, in the reader's language."""

import re
from pathlib import Path
from typing import Final

import msgspec

from churn.domain.language import Language
from churn.domain.manifest import Fairness
from churn.http.console.words import Formats, spaced


class _French(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sentences: list[tuple[str, str]]
    words: dict[str, str]


_FRENCH: Final = msgspec.toml.decode(Path(__file__).with_name("card.toml").read_bytes(), type=_French)
_PLACE: Final = re.compile(r"\\{(\w+)\\}")
#: What an English sentence looks like, and the French one.
_SENTENCES: Final = [
    (re.compile(_PLACE.sub(r"(?P<\1>[^,;]+)", re.escape(english))), french) for english, french in _FRENCH.sentences
]


class Told(msgspec.Struct, frozen=True):
    """Words as the reader is told them."""

    text: str
    lang: str
    """Of the text, where it is not the page's: nobody has said it in French."""


def tell(formats: Formats, text: str) -> Told:
    """A sentence or a name of a manifest."""
    if formats.language is Language.EN:
        return Told(text, "")
    if (word := _FRENCH.words.get(text)) is not None:
        return Told(word, "")
    for english, french in _SENTENCES:
        if match := english.fullmatch(text):
            values = {name: _value(formats, value) for name, value in match.groupdict().items()}
            return Told(spaced(french.format(**values), Language.FR), "")
    return Told(text, "en")


def tell_fairness(formats: Formats, trait: Fairness) -> tuple[Told, list[Told]]:
    """The name of the trait, and what was found of each of its groups."""
    findings = []
    for group, finding in zip(trait.groups, trait.findings, strict=True):
        said = tell(formats, finding.removeprefix(f"{trait.trait} {group.group}: "))
        name = tell(formats, group.group)
        translated = formats.language is Language.FR and not said.lang
        findings.append(Told(f"{formats.label(name.text)} {said.text}", "") if translated else Told(finding, said.lang))
    return tell(formats, trait.trait), findings


def _value(formats: Formats, text: str) -> str:
    if word := _FRENCH.words.get(text):
        return word
    try:
        digits = len(text.partition(".")[2])
        return formats.number(float(text), digits)
    except ValueError:
        return text
