"""Numbers, moments and texts as the reader's language writes them."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from churn.domain.employee import Overtime
from churn.domain.language import Language

#: A text in French, and the same in English.
type Pair = tuple[str, str]


_NARROW: Final = "\u202f"
_WIDE: Final = "\u00a0"


def _read_texts() -> dict[Language, dict[str, dict[str, str]]]:
    pairs = msgspec.toml.decode(
        Path(__file__).with_name("texts.toml").read_bytes(), type=dict[str, dict[str, tuple[str, str]]]
    )
    return {
        language: {
            part: {name: spaced(pair[position], language) for name, pair in texts.items()}
            for part, texts in pairs.items()
        }
        for position, language in enumerate((Language.FR, Language.EN))
    }


def spaced(text: str, language: Language) -> str:
    """`text` with the spaces of French typography, at which no line may break."""
    if language is Language.EN:
        return text
    text = re.sub(" (?=[;!?])", _NARROW, text)
    return re.sub("(?<=«) | (?=[:»])", _WIDE, text)


#: What the console says, by language, part and name.
TEXTS: Final = _read_texts()

_MINUS: Final = "\u2212"
_MONTHS: Final[dict[Language, tuple[str, ...]]] = {
    Language.FR: (
        "janv.",
        "févr.",
        "mars",
        "avr.",
        "mai",
        "juin",
        "juil.",
        "août",
        "sept.",
        "oct.",
        "nov.",
        "déc.",
    ),
    Language.EN: ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec"),
}
_LEVELS: Final[tuple[Pair, ...]] = (
    ("faible", "low"),
    ("moyenne", "medium"),
    ("élevée", "high"),
    ("très élevée", "very high"),
)
#: The same of what is masculine in French.
_MASCULINE: Final = {"satisfaction_equilibre": ("faible", "moyen", "élevé", "très élevé")}
#: What the values of a feature are counted in, one and many of it, where that is not plain.
_UNITS: Final[Mapping[str, tuple[Pair, Pair]]] = {
    "age": (("an", "year"), ("ans", "years")),
    "revenu_mensuel": (("par mois", "a month"), ("par mois", "a month")),
    "distance_domicile_travail": (("km", "km"), ("km", "km")),
    "annees_promo": (("an", "year"), ("ans", "years")),
    "poste_actuel": (("an", "year"), ("ans", "years")),
    "anciennete": (("an", "year"), ("ans", "years")),
    "exp_totale": (("an", "year"), ("ans", "years")),
}
#: Features whose values are levels from 1 to 4.
LEVELLED: Final = frozenset({"satisfaction_environnement", "satisfaction_equilibre"})


def choose(language: Language, pair: Pair) -> str:
    """The text of `pair` in `language`."""
    return pair[0] if language is Language.FR else pair[1]


def interval(low: str, high: str) -> str:
    """From `low` to `high`, on one line."""
    return f"{low}{_WIDE}–{_WIDE}{high}"


class Formats:
    """Writes values as `language` does."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._french = language is Language.FR
        self.decimal_comma = self._french
        """Whether a spreadsheet in this language expects one, and semicolons between cells."""

    def number(self, value: float, digits: int = 0, *, signed: bool = False) -> str:
        """`value` rounded to `digits` after the point, in groups of three."""
        text = f"{abs(value):,.{digits}f}"
        sign = _MINUS if value < 0 and float(text.replace(",", "")) else "+" if signed else ""
        if self._french:
            text = text.replace(",", _NARROW).replace(".", ",")
        return sign + text

    def count(self, text: str, n: float, **values: object) -> str:
        """`text`, which has a form for one and a form for many with a bar between, of `n` rounded to a whole number.

        The plural begins at 2 in French, and is all but 1 in English (Unicode CLDR).
        """
        n = round(n)
        one, many = text.split(" | ")
        singular = abs(n) < 2 if self._french else n == 1  # noqa: PLR2004
        return (one if singular else many).format(n=self.number(n), **values)

    def label(self, text: str) -> str:
        """`text` and a colon, before what it names."""
        return f"{text}{_WIDE}:" if self._french else f"{text}:"

    def exact(self, value: float) -> str:
        """`value` with as many digits after the point as it has, at most two."""
        text = self.number(value, 2)
        point = "," if self._french else "."
        return text.rstrip("0").rstrip(point) if point in text else text

    def percent(self, share: float, digits: int = 0) -> str:
        """`share`, of 1, in percent; what is neither none nor all is never rounded to it."""
        least = 10.0**-digits
        percent = 100 * share
        space = _NARROW if self._french else ""
        if 0 < percent < least / 2:
            return f"< {self.number(least, digits)}{space}%"
        if 100 - least / 2 <= percent < 100:  # noqa: PLR2004 - percent
            return f"> {self.number(100 - least, digits)}{space}%"
        return f"{self.number(percent, digits)}{space}%"

    def points(self, points: int) -> str:
        """A difference of two percentages."""
        if points == 0:
            return choose(self.language, ("inchangé", "unchanged"))
        plural = "" if abs(points) == 1 else "s"
        return self.number(points, signed=True) + choose(self.language, (f"{_WIDE}point{plural}", f" point{plural}"))

    def moment(self, moment: datetime) -> str:
        """To the minute; the moments of the service are in UTC."""
        return f"{self.day(moment)}, {moment:%H:%M}{_WIDE}UTC"

    def month(self, day: date) -> str:
        """The month of `day`."""
        return f"{_MONTHS[self.language][day.month - 1]} {day.year}"

    def day(self, moment: date) -> str:
        """Its date."""
        return f"{moment.day}{_WIDE}{_MONTHS[self.language][moment.month - 1]}{_WIDE}{moment.year}"

    def value(self, feature: str, value: float | str) -> str:
        """A value of the feature of that name on the wire, with its unit or in words."""
        if isinstance(value, str):
            return choose(self.language, ("oui", "yes") if value == Overtime.YES else ("non", "no"))
        if feature in LEVELLED:
            return f"{self.level(feature, int(value))} ({value:.0f}/{len(_LEVELS)})"
        unit = self.unit(feature, value)
        return f"{self.exact(value)}{_WIDE}{unit}" if unit else self.exact(value)

    def level(self, feature: str, level: int) -> str:
        """A level from 1 to 4 of the feature in words."""
        if self._french and feature in _MASCULINE:
            return _MASCULINE[feature][level - 1]
        return choose(self.language, _LEVELS[level - 1])

    def unit(self, feature: str, value: float = 2) -> str:
        """What `value` of the feature is counted in; empty when that is plain."""
        if feature not in _UNITS:
            return ""
        one, many = _UNITS[feature]
        singular = value < 2 if self._french else value == 1  # noqa: PLR2004 - where the French plural begins
        return choose(self.language, one if singular else many)
