"""CSV files of employees, as HR systems write them."""

import pytest
from tests.builders import LEAVER

from churn.domain.columns import IBM_COLUMNS
from churn.domain.employee import DEMONSTRATION, FEATURES
from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.http.console.sheet import NoSheet, lines, read_sheet

VALUES = [str(LEAVER[name]) for name in FEATURES]


def sheet_of(titles, *rows, delimiter=",", encoding="utf-8"):
    return read_sheet("\n".join(delimiter.join(row) for row in (titles, *rows)).encode(encoding))


@pytest.mark.parametrize("titles", [FEATURES, IBM_COLUMNS, *(LABELS[language].values() for language in Language)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_columns_are_recognised_by_any_of_their_names(titles, delimiter, encoding):
    """Whatever separates the cells and encodes the file, in capitals or not."""
    for cased in ([title.upper() for title in titles], list(titles)):
        sheet = sheet_of(cased, VALUES, delimiter=delimiter, encoding=encoding)
        assert [name for _, name in sheet.recognised] == list(FEATURES)
        assert (sheet.ignored, sheet.missing) == ([], [])
        (line,) = lines(sheet)
        assert line.employee == DEMONSTRATION


def test_columns_may_come_in_any_order_with_others_between(tmp_path):
    """The first of two of one name counts; what is not known is named, and what is missing too."""
    titles = ["Nom", *FEATURES[:0:-1], "Matricule", "age du capitaine", "anciennete"]
    sheet = sheet_of(titles, ["Anne", *VALUES[:0:-1], "E-7", "50", "9"])
    assert sheet.ignored == ["Nom", "age du capitaine", "anciennete"]
    assert sheet.missing == ["age"]
    (line,) = lines(sheet)
    assert line.employee is None
    assert [(error.pointer, error.code) for error in line.errors] == [("/age", "missing")]


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("revenu_mensuel", "1 500,50", 1500.5),
        ("revenu_mensuel", "1\u202f500", 1500),
        ("exp_totale", "5.5", 5.5),
        ("age", "18.0", 18),
        ("satisfaction_equilibre", "Très élevée", 4),
        ("satisfaction_equilibre", "Bad", 1),
        ("satisfaction_environnement", "Very_High", 4),
        ("heures_supp", "Yes", "Oui"),
        ("heures_supp", "0", "Non"),
        ("heures_supp", "VRAI", "Oui"),
    ],
)
def test_cells_are_read_as_people_write_them(name, cell, value):
    """Numbers in either notation, levels and yes or no in words."""
    row = [cell if feature == name else text for feature, text in zip(FEATURES, VALUES, strict=True)]
    (line,) = lines(sheet_of(FEATURES, row, delimiter=";"))
    assert line.employee is not None
    assert dict(zip(FEATURES, line.employee.features(), strict=True))[name] == {"Oui": 1, "Non": 0}.get(value, value)


@pytest.mark.parametrize(
    ("name", "cell"),
    [("age", "17"), ("age", "dix-huit"), ("age", "٣٤"), ("heures_supp", "souvent"), ("pee", "1,5"), ("age", "9" * 400)],
)
def test_a_row_that_is_wrong_says_so_and_stops_no_other(name, cell):
    """With its line in the file and the field."""
    wrong = [cell if feature == name else text for feature, text in zip(FEATURES, VALUES, strict=True)]
    good, bad, last = lines(sheet_of(FEATURES, VALUES, wrong, [], VALUES, delimiter=";"))
    assert (good.employee, last.employee) == (DEMONSTRATION, DEMONSTRATION)
    assert (bad.number, bad.employee, [error.pointer for error in bad.errors]) == (3, None, [f"/{name}"])


def test_a_row_that_is_too_short_lacks_its_last_cells():
    """They are named."""
    (line,) = lines(sheet_of(FEATURES, VALUES[:-2]))
    assert {(error.pointer, error.code) for error in line.errors} == {
        ("/anciennete", "missing"),
        ("/exp_totale", "missing"),
    }


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"PK\x03\x04\x00\x00", "age;x".encode("utf-16"), b'age,"' + b"x" * 200_000]
)
def test_what_is_no_table_is_refused(content):
    """An empty file, a spreadsheet's own format, a cell without an end."""
    with pytest.raises(NoSheet):
        read_sheet(content)
