"""Files of employees as people have them: every dialect of CSV, NDJSON and Parquet, and what is wrong with them."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import employee

from churn.adapters.joblib_model.predictor import load_predictor
from churn.adapters.workforce import sources
from churn.adapters.workforce.frames import inert_frame
from churn.adapters.workforce.local import PolarsWorkforce, expand
from churn.domain.columns import IBM_COLUMNS
from churn.domain.csv_cell import inert
from churn.domain.errors import RowsRefused, UnsuitableFile
from churn.domain.language import Language
from churn.domain.workforce import FileFormat, ScoringJob
from churn.settings import Settings

PREDICTOR = load_predictor(Settings().models_dir)
ROW: dict[str, Any] = msgspec.to_builtins(employee())
PROBABILITY = PREDICTOR.predict(employee()).probability


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of a few rows, so that a short file has many."""
    monkeypatch.setattr(sources, "BLOCK", 700)
    monkeypatch.setattr(sources, "LARGEST_RECORD", 400)
    return


def score(*inputs: Path | str, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """The answers in CSV as dictionaries of text, the rejected rows likewise, and how many were scored."""
    first = Path(inputs[0])
    output = first.with_suffix(".out")
    job = ScoringJob(inputs=tuple(str(path) for path in inputs), output=str(output), **options)
    scored = sum(block.scored for block in PolarsWorkforce(threads=2).score(job, PREDICTOR))
    rejected = Path(f"{first}.rejected.csv")
    return read(output), read(rejected) if rejected.exists() else [], scored


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    separator = next(mark for mark in "\t;," if mark in text.partition("\n")[0])
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))


def line(row: dict[str, Any] | None = None, separator: str = ",", **changes: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, lineterminator="").writerow(((row or ROW) | changes).values())
    return buffer.getvalue()


def table(*lines: str, separator: str = ",", columns: Sequence[str] = tuple(ROW)) -> str:
    return "\n".join([separator.join(columns), *lines, ""])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("latin-1", None),
        ("cp1252", None),
        ("latin-1", "latin-1"),
        ("mac-roman", "mac-roman"),
        ("utf-16", None),
        ("utf-8-sig", "utf-8"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_dialect_is_read(tmp_path: Path, separator: str, encoding: str, told: str | None, newline: str) -> None:
    """Separator, encoding and line ends are found out, and names come out as they went in."""
    file = tmp_path / "staff.csv"
    rows = [
        line({"nom": name, **ROW}, separator) for name in ("Zoé", 'dit "le Grand"', f"a{separator}b", "deux\nlignes")
    ]
    text = table(*rows, separator=separator, columns=("nom", *ROW))
    file.write_bytes(text.replace("\n", newline).encode(encoding))
    answers, rejected, _ = score(file, encoding=told)
    assert [row["nom"].replace("\r\n", "\n") for row in answers] == [
        "Zoé",
        'dit "le Grand"',
        f"a{separator}b",
        "deux\nlignes",
    ]
    assert {float(row["probability"]) for row in answers} == {PROBABILITY}
    assert not rejected
    head = file.with_suffix(".out").read_bytes()[:3]
    assert (head == b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    assert separator in file.with_suffix(".out").read_text(encoding="utf-8-sig").splitlines()[0]


def test_an_encoding_shows_late(tmp_path: Path, small_blocks: None) -> None:
    """A file that is ASCII for long and then Windows-1252 is read rightly; one that is UTF-8 before is refused."""
    file = tmp_path / "staff.csv"
    ascii_lines = [line({"nom": "Zoe", **ROW}) for _ in range(100)]
    text = table(*ascii_lines, line({"nom": "Zoé – œuvre", **ROW}), columns=("nom", *ROW))
    file.write_bytes(text.encode("cp1252"))
    assert score(file)[0][-1]["nom"] == "Zoé – œuvre"
    file.write_bytes(text.encode() + line({"nom": "Zoé", **ROW}).encode("cp1252"))
    with pytest.raises(UnsuitableFile, match="some of it is UTF-8 and some is not"):
        score(file)


def test_what_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    """An encoding that does not exist, or that the file is not in, is named."""
    file = tmp_path / "staff.csv"
    file.write_bytes(table(line({"nom": "é", **ROW}), columns=("nom", *ROW)).encode("latin-1"))
    with pytest.raises(UnsuitableFile, match="there is no encoding 'klingon'"):
        score(file, encoding="klingon")
    with pytest.raises(UnsuitableFile, match="it is not ascii"):
        score(file, encoding="ascii")


def test_numbers_as_the_french_write_them(tmp_path: Path) -> None:
    """Decimal commas and spaces between thousands are understood, and answered with decimal commas."""
    file = tmp_path / "staff.csv"
    rows = [
        line(separator=";", revenu_mensuel=text) for text in ("5993,0", "5 993", "5\u202f993,00", " 5993 ", "5993.0")
    ]
    file.write_text(table(*rows, separator=";"), encoding="utf-8")
    answers, rejected, _ = score(file)
    assert {row["probability"] for row in answers} == {str(PROBABILITY).replace(".", ",")}
    assert len(answers) == 5
    assert not rejected


def test_a_comma_that_may_be_thousands_is_not_guessed(tmp_path: Path) -> None:
    """Among commas, 1,500 may be 1500 or one and a half: the row is rejected; 1,5 is one and a half."""
    file = tmp_path / "staff.csv"
    file.write_text(table(line(revenu_mensuel="5,993"), line(distance_domicile_travail="1,5")))
    answers, rejected, _ = score(file)
    assert [row["line"] for row in rejected] == ["2"]
    assert float(answers[0]["probability"]) == PROBABILITY


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", ["17", "71", "41.5", "", " ", "abc", "nan", "inf", "-inf", "0x29", "4_1", "٤١", "1e400"]),
        ("revenu_mensuel", ["-1", "10000001", "NaN", "1 2 3 a"]),
        ("satisfaction_environnement", ["0", "5", "2.5", "Middling"]),
        ("heures_supp", ["", "peut-être", "1", "Oui!"]),
        ("exp_totale", ["60.5", "-0.1"]),
    ],
)
def test_values_that_no_employee_can_have_are_rejected(tmp_path: Path, column: str, values: list[str]) -> None:
    """Each for itself, with the column's name, whatever else is in the file."""
    file = tmp_path / "staff.csv"
    lines = [text for value in values for text in (line(), line(**{column: value}))]
    file.write_text(table(*lines))
    answers, rejected, scored = score(file)
    assert scored == len(answers) == len(values)
    assert [int(row["line"]) for row in rejected] == list(range(3, 2 * len(values) + 2, 2))
    assert all(row["reason"].startswith(f"{column} : ") for row in rejected)


def test_the_ibm_spelling_is_read(tmp_path: Path) -> None:
    """Column names, Yes and No, and the labels of the ordinal columns."""
    file = tmp_path / "staff.csv"
    words = ROW | {"heures_supp": "Yes", "satisfaction_environnement": "Medium", "satisfaction_equilibre": "Bad"}
    file.write_text(table(line(words), line(ROW | {"heures_supp": "YES"}), columns=IBM_COLUMNS))
    answers, rejected, _ = score(file, language=Language.EN)
    assert [float(row["probability"]) for row in answers] == [PROBABILITY] * 2
    assert answers[0]["message"] == "High risk of leaving"
    assert not rejected


def test_lines_are_those_of_the_file(tmp_path: Path, small_blocks: None) -> None:
    """Blank lines, rows of nothing but separators and cells of several lines are counted; only values are scored."""
    file = tmp_path / "staff.csv"
    lines, bad_lines = [], []
    number = 2
    for n in range(60):
        text = line({"nom": "a\nb\n\nc" if n % 3 == 0 else "a", **ROW}, age=17 if n % 7 == 0 else 41)
        if n % 7 == 0:
            bad_lines.append(number)
        lines.append(text)
        if n % 5 == 0:
            lines += ["", "," * len(ROW)]
            number += 2
        number += 1 + text.count("\n")
    file.write_text("\n\n" + table(*lines, columns=("nom", *ROW)))
    _answers, rejected, scored = score(file)
    assert [int(row["line"]) - 2 for row in rejected] == bad_lines
    assert scored + len(rejected) == 60
    assert [row["nom"] for row in rejected] == ["a\nb\n\nc" if n % 3 == 0 else "a" for n in range(0, 60, 7)]


@pytest.mark.parametrize("at", [0, 1, 7, 19])
def test_a_quotation_mark_that_is_never_closed_costs_its_line_alone(
    tmp_path: Path, small_blocks: None, at: int
) -> None:
    """The other lines are scored, whether they come before or after it."""
    file = tmp_path / "staff.csv"
    lines = [f"écran {n}," + line() for n in range(20)]
    lines[at] = 'écran 21",' + line()
    file.write_text(table(*lines, columns=("nom", *ROW)), encoding="utf-8")
    answers, rejected, scored = score(file)
    assert [(row["line"], row["reason"]) for row in rejected] == [(str(at + 2), "Guillemet jamais refermé.")]
    assert scored == 19
    assert [row["nom"] for row in answers] == [f"écran {n}" for n in range(20) if n != at]


def test_quotation_marks_inside_a_cell_are_part_of_it(tmp_path: Path) -> None:
    """Two of them in unquoted cells are no start of anything."""
    file = tmp_path / "staff.csv"
    file.write_text(table('5" x 7",' + line(), 'a"b,' + line(), "", 'c"d,' + line(), columns=("nom", *ROW)))
    answers, rejected, _ = score(file)
    assert [row["nom"] for row in answers] == ['5" x 7"', 'a"b', 'c"d']
    assert not rejected


def test_rows_of_another_length(tmp_path: Path) -> None:
    """A row with too many cells is rejected, and one with too few says which values are missing."""
    file = tmp_path / "staff.csv"
    cells = line().split(",")
    file.write_text(table(line() + ",x", line() + ",,", ",".join(cells[:-2]), line()))
    answers, rejected, _ = score(file)
    assert len(answers) == 2
    assert [(row["line"], row["reason"]) for row in rejected] == [
        ("2", "Plus de cellules que de colonnes."),
        ("4", "anciennete : Champ obligatoire. ; exp_totale : Champ obligatoire."),
    ]


def test_what_was_rejected_can_be_put_right_and_scored(tmp_path: Path) -> None:
    """The file of rejected rows is itself one that can be scored, and an answer can be scored again."""
    file = tmp_path / "staff.csv"
    file.write_text(table(line(), line(age=17)))
    score(file)
    rejected = Path(f"{file}.rejected.csv")
    rejected.write_text(rejected.read_text().replace(",17,", ",41,").replace("17,", "41,"))
    answers, again, _ = score(rejected)
    assert float(answers[0]["probability"]) == PROBABILITY
    assert not again
    once_more, _, _ = score(rejected.with_suffix(".out"))
    assert once_more[0].keys() == answers[0].keys()


def test_ndjson_keeps_kinds(tmp_path: Path, small_blocks: None) -> None:
    """Numbers stay numbers, and every line that cannot be scored is told of; blank lines are none."""
    file = tmp_path / "staff.ndjson"
    good = json.dumps(ROW | {"site": {"id": 7}, "actif": True, "heures_supp": "Oui"})
    text = json.dumps(ROW | {"age": "41", "site": None, "actif": None})
    lines = [good, "", text, "{", "[1]", json.dumps(ROW | {"nouveau": 1}), json.dumps(ROW | {"age": None}), good * 1]
    file.write_text("\n".join(lines))
    output = tmp_path / "out.ndjson"
    job = ScoringJob(inputs=(str(file),), output=str(output), format=FileFormat.NDJSON)
    blocks = list(PolarsWorkforce(threads=1).score(job, PREDICTOR))
    rows = [json.loads(row) for row in output.read_text().splitlines()]
    assert [row["probability"] for row in rows] == [PROBABILITY] * 3
    assert rows[0]["revenu_mensuel"] == 5993.0
    assert sum(block.rejected for block in blocks) == 4
    assert [(row["line"], row["reason"]) for row in read(Path(f"{file}.rejected.csv"))] == [
        ("4", "N'est pas un objet JSON."),
        ("5", "N'est pas un objet JSON."),
        ("6", "Clé absente des premières lignes du fichier."),
        ("7", "age : Champ obligatoire."),
    ]


def test_ndjson_that_changes_its_mind_is_no_parquet(tmp_path: Path, small_blocks: None) -> None:
    """A column whose values change kind far into the file is named when it must have one kind."""
    file = tmp_path / "staff.ndjson"
    rows = [json.dumps(ROW | {"site": 1}) for _ in range(50)] + [json.dumps(ROW | {"site": "x"}) for _ in range(50)]
    file.write_text("\n".join(rows))
    before = set(tmp_path.iterdir())
    job = ScoringJob(inputs=(str(file),), output=str(tmp_path / "out"), format=FileFormat.PARQUET)
    with pytest.raises(UnsuitableFile, match="column site does not hold the same kind of value everywhere"):
        list(PolarsWorkforce(threads=1).score(job, PREDICTOR))
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "change",
    [
        pl.col(pl.Int64).cast(pl.UInt8),
        pl.col(pl.Int64).cast(pl.Float32),
        pl.col(pl.Int64).cast(pl.String),
        pl.col("heures_supp").cast(pl.Categorical),
        pl.col("heures_supp") == "Oui",
    ],
    ids=str,
)
def test_parquet_of_any_number_type(tmp_path: Path, change: pl.Expr) -> None:
    """Integers, floats, texts, categories and booleans mean what they say."""
    file = tmp_path / "staff.parquet"
    pl.DataFrame([ROW]).with_columns(change).write_parquet(file)
    answers, rejected, _ = score(file)
    assert [float(row["probability"]) for row in answers] == [PROBABILITY]
    assert not rejected


def test_columns_of_no_number_are_rejected_by_row(tmp_path: Path) -> None:
    """A date for an age is no age, and a list for overtime no word."""
    file = tmp_path / "staff.parquet"
    frame = pl.DataFrame([ROW])
    frame.with_columns(age=pl.date(2000, 1, 1), heures_supp=pl.lit(1)).write_parquet(file)
    answers, rejected, _ = score(file)
    assert not answers
    assert "age : Doit être un entier" in rejected[0]["reason"]
    assert "heures_supp : " in rejected[0]["reason"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"PAR1 but no Parquet", b"{\n", b'"', b"\xff\xfe"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """A message names it, and nothing is written."""
    file = tmp_path / "staff.csv"
    file.write_bytes(content)
    with pytest.raises(UnsuitableFile):
        score(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_header_alone_is_answered_with_a_header(tmp_path: Path) -> None:
    """No employee is no mistake."""
    file = tmp_path / "staff.csv"
    file.write_text(",".join(ROW))
    assert score(file) == ([], [], 0)
    assert "probability" in file.with_suffix(".out").read_text()
    for kind in FileFormat:
        output = tmp_path / f"out.{kind}"
        job = ScoringJob(inputs=(str(file),), output=str(output), format=kind, top=3)
        list(PolarsWorkforce(threads=1).score(job, PREDICTOR))
        assert output.exists()


def test_several_files_are_answered_in_order(tmp_path: Path) -> None:
    """Whatever their formats and dialects; each has its own file of rejected rows."""
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.ndjson")]
    paths[0].write_text(table(line(), line(age=17)))
    paths[1].write_text(table(line(separator=";", revenu_mensuel="5993,0"), separator=";"))
    paths[2].write_text(json.dumps(ROW | {"age": 16}) + "\n" + json.dumps(ROW))
    answers, rejected, scored = score(*paths)
    assert scored == 3
    assert {float(row["probability"]) for row in answers} == {PROBABILITY}
    assert [row["line"] for row in rejected] == ["3"]
    assert [row["line"] for row in read(tmp_path / "c.ndjson.rejected.csv")] == ["1"]
    with pytest.raises(UnsuitableFile, match="read alone"):
        score(paths[0], "-")


def test_names_are_expanded(tmp_path: Path) -> None:
    """Globs and folders of Parquet files, in order, without what an earlier run has left beside them."""
    for name in ("b.csv", "a.csv", "a.csv.rejected.csv", "x/2.parquet", "x/y/1.parquet", "x/_z.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert expand([f"{tmp_path}/*.csv", "-"]) == (f"{tmp_path}/a.csv", f"{tmp_path}/b.csv", "-")
    assert expand([f"{tmp_path}/x"]) == (f"{tmp_path}/x/2.parquet", f"{tmp_path}/x/y/1.parquet")
    with pytest.raises(UnsuitableFile, match="there is no such file"):
        expand([f"{tmp_path}/*.tsv"])


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is not there is named before anything is scored."""
    file = tmp_path / "staff.csv"
    file.write_text(table(line()))
    job = ScoringJob(inputs=(str(file),), output=str(tmp_path / "none" / "out.csv"))
    with pytest.raises(UnsuitableFile, match="it cannot be written"):
        list(PolarsWorkforce().score(job, PREDICTOR))


def test_a_strict_job_tells_the_first_lines(tmp_path: Path) -> None:
    """At most five of them, never with a value."""
    file = tmp_path / "staff.csv"
    file.write_text(table(*[line(age=17)] * 9))
    with pytest.raises(RowsRefused) as refused:
        score(file, strict=True)
    assert str(refused.value).count("\n") == 5
    assert f"{file}, line 2: age : Doit être un entier compris entre 18 et 70." in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]


def test_formulas_are_made_text_in_csv_alone(tmp_path: Path) -> None:
    """Cells and column names; numbers stay, and Parquet and NDJSON hold what was given."""
    file = tmp_path / "staff.csv"
    row = {"=nom": "@SUM(1)", "solde": "-1.5", **ROW}
    file.write_text(table(line(row), columns=tuple(row)))
    answers, _, _ = score(file)
    assert (answers[0]["'=nom"], answers[0]["solde"]) == ("'@SUM(1)", "-1.5")
    output = tmp_path / "out.ndjson"
    list(
        PolarsWorkforce().score(
            ScoringJob(inputs=(str(file),), output=str(output), format=FileFormat.NDJSON), PREDICTOR
        )
    )
    assert json.loads(output.read_text())["=nom"] == "@SUM(1)"


@given(st.lists(st.text(alphabet=st.sampled_from("=+-@\t\r\n\0＝＋－＠'0123456789.,eEa é"), max_size=6) | st.text()))
def test_frames_are_made_inert_as_cells_are(cells: list[str]) -> None:
    """The expression over a whole column says of each cell what the function says of it."""
    assert inert_frame(pl.DataFrame({"=x": cells}, schema={"=x": pl.String}))["'=x"].to_list() == [
        inert(c) for c in cells
    ]


names = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@given(st.lists(names, min_size=1, max_size=30), st.sampled_from(",;\t"), st.integers(300, 2000))
def test_any_text_comes_out_as_it_went_in(cells: list[str], separator: str, block: int) -> None:
    """Whatever a cell of another column holds, and wherever blocks are cut, each row keeps its text and its line."""
    rows = [{"texte": cell, **ROW, "age": 17 if n % 4 == 1 else 41} for n, cell in enumerate(cells)]
    lines = [line(row, separator) for row in rows]
    data = table(*lines, separator=separator, columns=tuple(rows[0])).encode()
    text = sources._Text("x", data[:block], io.BytesIO(data[block:]), len(data), "utf-8")
    source = sources.CsvSource(text, Language.FR)
    found, numbers = [], []
    for part in source.blocks():
        parsed = part.parse()
        found += parsed.frame["texte"].to_list()
        numbers += list(parsed.lines)
    assert found == cells
    expected = [2]
    for written in lines[:-1]:
        expected.append(expected[-1] + 1 + written.count("\n"))
    assert numbers == expected
