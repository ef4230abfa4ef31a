"""Lines of CSV that are safe to open."""

import csv
import io

from churn.http.csv_answer import write_csv


def read(content: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter, strict=True))


def test_no_text_is_a_formula() -> None:
    """A text that a spreadsheet would run begins with an apostrophe; numbers, also negative ones, stay numbers."""
    cells = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", -0.5, 1e-300, None, "E-1", "a=b"]
    assert read(write_csv([cells])) == [
        ["'=1+1", "'+cmd", "'-cmd", "'@SUM(A1)", "'\t=1", "-0.5", "1e-300", "", "E-1", "a=b"]
    ]


def test_any_text_comes_back() -> None:
    """Separators, quotes and line breaks in a cell are quoted, for either separator."""
    cells = ["a,b", "a;b", 'a "quoted" word', "two\r\nlines", "é"]
    for delimiter in (",", ";"):
        assert read(write_csv([cells], delimiter), delimiter) == [cells]
