"""What a cell of a CSV file must look like so that a spreadsheet shows it and does not run it.

Excel, LibreOffice and Google Sheets take a cell that begins with one of a few characters for a formula, which can
fetch an address or start a program: text that somebody else wrote must not begin so. The characters and the
remedy, an apostrophe before them, are those of OWASP: its page on CSV injection, and 1.2.10 of its ASVS.
"""

import re
from typing import Final

#: The first character of a formula; in East Asian locales also in full width. Control characters are
#: cut off by some spreadsheets before they look. A regular expression that Python and Rust read alike.
FORMULA_PATTERN: Final = r"^[=+\-@\t\r\n\x00＝＋－＠]"
#: A signed decimal number, with a point or a comma: it begins as a formula does, and is none.
NUMBER_PATTERN: Final = r"^[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?$"

_FORMULA: Final = re.compile(FORMULA_PATTERN)
# Python's `$` alone would let a trailing newline pass.
_NUMBER: Final = re.compile(NUMBER_PATTERN.removesuffix("$") + r"\Z")


def inert(cell: str) -> str:
    """`cell`, with an apostrophe before it if a spreadsheet would take it for a formula.

    Numbers stay numbers, and what is inert stays as it is, so that doing it twice changes nothing more. Column names
    are cells too. Quoting for CSV comes after this, and does not replace it.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.match(cell) else cell
