"""A CSV file of employees as HR systems write them: read leniently, each row then judged as strictly as a form.

Columns may be called as on the wire, as on the form in either language, or as in the IBM data; cells may be
separated by commas, semicolons or tabs; numbers may have a decimal comma; the file may be UTF-8 or Windows-1252.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from churn.domain.columns import IBM_COLUMNS, IDENTIFIERS
from churn.domain.columns import LABELS as IBM_WORDS
from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.http.console.words import LEVELLED, Formats
from churn.http.json_body import FieldError, field_errors

_REF: Final = "employee_ref"
_OVERTIME: Final = "heures_supp"
_DELIMITERS: Final = ";,\t"
_NUMBER: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_SPACES: Final = re.compile(r"[\s\u00a0\u202f]")
#: Characters of one cell: more than any of ours takes.
_LONGEST_CELL: Final = 1000


def _folded(text: str) -> str:
    """`text` without case, accents, and what is neither letter nor digit."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if character.isalnum())


def _names() -> dict[str, str]:
    """Every name that a column may have, folded, and what it is on the wire."""
    names = {_folded(name): feature for name, feature in zip(IBM_COLUMNS, FEATURES, strict=True)}
    names |= {_folded(LABELS[language][feature]): feature for language in Language for feature in FEATURES}
    names |= {_folded(feature): feature for feature in FEATURES}
    return names | {_folded(name): _REF for name in (*IDENTIFIERS, "référence", "reference", "matricule")}


def _words() -> dict[str, dict[str, object]]:
    """By wire name, what a word in a cell means, folded."""
    words: dict[str, dict[str, object]] = {
        feature: {_folded(str(word)): value for word, value in meanings.items()}
        for feature, meanings in IBM_WORDS.items()
    }
    words[_OVERTIME] |= dict.fromkeys(("oui", "yes", "true", "vrai", "1", "y", "o"), Overtime.YES)
    words[_OVERTIME] |= dict.fromkeys(("non", "no", "false", "faux", "0", "n"), Overtime.NO)
    for feature in LEVELLED:
        for language in Language:
            # In either gender.
            for like in LEVELLED:
                words[feature] |= {_folded(Formats(language).level(like, level)): level for level in (1, 2, 3, 4)}
    return words


_NAMES: Final = _names()
_WORDS: Final[Mapping[str, Mapping[str, object]]] = _words()


class Line(msgspec.Struct, frozen=True):
    """One employee of the file, or what is wrong with the row."""

    number: int
    """Of the line in the file, from 1 on; of its last one if a cell has several."""
    employee: Employee | None
    errors: Sequence[FieldError]


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has."""

    recognised: Sequence[tuple[str, str]]
    """Title of each column that is used, and its name on the wire."""
    ignored: Sequence[str]
    """Titles of the others."""
    missing: Sequence[str]
    """Wire names of the inputs that no column has."""
    rows: Sequence[tuple[int, Mapping[str, str]]]
    """Line number, and cells by wire name."""


class NoSheet(Exception):
    """The file is empty, or not a table of text."""


def read_sheet(content: bytes) -> Sheet:
    """The table in `content`.

    Raises:
        NoSheet: there is none.
    """
    text = _decoded(content)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        titles = next((row for row in reader if any(cell.strip() for cell in row)), None)
        if titles is None:
            raise NoSheet
        positions = _positions(titles)
        rows = [
            (
                reader.line_num,
                {name: row[position] for name, position in positions.items() if position < len(row)},
            )
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error:
        raise NoSheet from None
    used = set(positions.values())
    return Sheet(
        recognised=[(titles[position].strip(), name) for name, position in positions.items()],
        ignored=[title.strip() for position, title in enumerate(titles) if position not in used and title.strip()],
        missing=[name for name in FEATURES if name not in positions],
        rows=rows,
    )


def _decoded(content: bytes) -> str:
    if b"\x00" in content[:1000]:
        # A spreadsheet's own format, or text in UTF-16.
        raise NoSheet
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _positions(titles: Sequence[str]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for position, title in enumerate(titles):
        name = _NAMES.get(_folded(title[:_LONGEST_CELL]))
        if name is not None:
            positions.setdefault(name, position)
    return positions


def lines(sheet: Sheet) -> Iterator[Line]:
    """Each row of `sheet` as an employee, or with everything that is wrong with it."""
    for number, cells in sheet.rows:
        values = {name: _value(name, cell.strip()) for name, cell in cells.items() if cell.strip()}
        try:
            yield Line(number, msgspec.convert(values, Employee), ())
        except msgspec.ValidationError:
            yield Line(number, None, field_errors(values, Employee))


def _value(name: str, cell: str) -> object:
    """What `cell` means in the column `name`; itself if that is nothing we know, for the row to be refused."""
    if name == _REF or len(cell) > _LONGEST_CELL:
        return cell
    word = _WORDS.get(name, {}).get(_folded(cell))
    if word is not None:
        return word
    text = _SPACES.sub("", cell)
    if name == _OVERTIME or not _NUMBER.fullmatch(text):
        return cell
    number = float(text.replace(",", "."))
    return int(number) if number.is_integer() else number
