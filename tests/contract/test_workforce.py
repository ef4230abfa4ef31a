"""The port `Workforce`, over every adapter: what is said of each employee, and which rows are not scored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.builders import employee

from churn.adapters.joblib_model.predictor import JoblibPredictor, load_predictor
from churn.adapters.workforce.cluster import DaskWorkforce
from churn.adapters.workforce.local import PolarsWorkforce
from churn.domain.employee import Employee
from churn.domain.errors import RowsRefused, UnsuitableFile
from churn.domain.explanation import explain
from churn.domain.language import Language
from churn.domain.prediction import RISK_MESSAGES
from churn.domain.workforce import FileFormat, ScoringJob
from churn.ports import ScoredBlock, Workforce
from churn.settings import Settings


@pytest.fixture(scope="module")
def predictor() -> JoblibPredictor:
    return load_predictor(Settings().models_dir)


@pytest.fixture(params=["polars", "dask"])
def workforce(request: pytest.FixtureRequest) -> Workforce:
    if request.param == "polars":
        return PolarsWorkforce(threads=2)
    return DaskWorkforce(request.getfixturevalue("dask_address"), Settings().models_dir)


type Run = Callable[..., list[ScoredBlock]]


@pytest.fixture
def run(workforce: Workforce, predictor: JoblibPredictor, tmp_path: Path) -> Run:
    """Does a job over the partitions in the folder `in`, into the folder or file `out`."""

    def run(**options: Any) -> list[ScoredBlock]:
        inputs = tuple(str(path) for path in sorted((tmp_path / "in").iterdir()))
        job = ScoringJob(inputs=inputs, output=str(tmp_path / "out"), format=FileFormat.PARQUET, **options)
        return list(workforce.score(job, predictor))

    return run


def write(folder: Path, employees: Sequence[Employee | dict[str, Any]], *, partitions: int = 1) -> None:
    """Write `employees` as Parquet partitions."""
    (folder / "in").mkdir()
    rows = [msgspec.to_builtins(one) for one in employees]
    for n in range(partitions):
        part = rows[n * len(rows) // partitions : (n + 1) * len(rows) // partitions]
        pl.DataFrame(part).with_columns(service=pl.lit("=1+1")).write_parquet(folder / "in" / f"{n:03}.parquet")


def answers(folder: Path) -> pl.DataFrame:
    out = folder / "out"
    return pl.read_parquet(sorted(out.glob("*.parquet")) if out.is_dir() else out)


def staff(count: int) -> list[Employee]:
    return [
        employee(age=18 + n % 53, monthly_income=900.0 + 137 * n, years_in_role=n % 20, employee_ref=f"E-{n}")
        for n in range(count)
    ]


@pytest.mark.parametrize("language", Language)
def test_each_employee_is_answered_as_by_the_service(
    run: Run, predictor: JoblibPredictor, tmp_path: Path, language: Language
) -> None:
    """Probability, class, message, reasons and version are those of a single prediction, row for row, in order."""
    employees = staff(60)
    write(tmp_path, employees, partitions=3)
    blocks = run(language=language, reasons=4)
    assert sum(block.scored for block in blocks) == len(employees)
    assert [block.progress for block in blocks][-1] == 1.0
    rows = answers(tmp_path).to_dicts()
    for one, row in zip(employees, rows, strict=True):
        score = predictor.predict(one)
        assert row["employee_ref"] == one.employee_ref
        assert row["service"] == "=1+1"
        assert row["probability"] == pytest.approx(score.probability, abs=1e-12)
        assert row["prediction"] == int(score.probability >= predictor.info.threshold)
        assert row["message"] == RISK_MESSAGES[language][predictor.info.risk(score.probability)]
        factors = explain(score, predictor.info, language).factors[:4]
        assert [row[f"reason_{n}"] for n in range(1, 5)] == [factor.sentence for factor in factors]
        assert row["model_version"] == predictor.info.version
        assert "reason_5" not in row


def test_what_lies_outside_the_training_range_is_named(run: Run, tmp_path: Path) -> None:
    """A warning names every such feature, and there is none where all is within."""
    write(tmp_path, [employee(age=70, commute_distance=500.0), employee()])
    run()
    first, second = answers(tmp_path)["warnings"].to_list()
    assert first == "Hors de la plage d'apprentissage, évalué à son bord : Âge, Distance domicile-travail"
    assert second is None


def test_the_most_at_risk_are_ranked(run: Run, tmp_path: Path) -> None:
    """The N highest probabilities come in falling order; of equals, the first ones of the files."""
    employees = [*staff(40), *staff(40)]
    write(tmp_path, employees, partitions=2)
    run()
    everyone = answers(tmp_path).sort("probability", descending=True, maintain_order=True)
    assert "rank" not in everyone.columns
    (tmp_path / "out").rename(tmp_path / "before")
    run(top=7)
    best = answers(tmp_path)
    assert best["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert best.drop("rank").equals(everyone.head(7))


def bad(**changes: Any) -> dict[str, Any]:
    return msgspec.to_builtins(employee(employee_ref="E-0")) | changes


def test_rows_that_cannot_be_scored_are_set_aside(run: Run, tmp_path: Path) -> None:
    """The others are scored; a file has those, each with its number and every reason."""
    write(tmp_path, [bad(), bad(age=17), bad(revenu_mensuel=None, pee=101), bad(), bad(employee_ref="x y")])
    blocks = run()
    assert (sum(block.scored for block in blocks), sum(block.rejected for block in blocks)) == (2, 3)
    (file,) = {block.rejected_file for block in blocks if block.rejected_file}
    rejected = pl.read_csv(file)
    assert rejected["line"].to_list() == [2, 3, 5]
    reasons = rejected["reason"].to_list()
    assert reasons[:2] == [
        "age : Doit être un entier compris entre 18 et 70.",
        "revenu_mensuel : Champ obligatoire. ; pee : Doit être un entier compris entre 0 et 100.",
    ]
    assert reasons[2].startswith("employee_ref : ")
    assert rejected["service"].to_list() == ["'=1+1"] * 3
    assert answers(tmp_path).height == 2


def test_a_strict_job_writes_nothing(run: Run, tmp_path: Path) -> None:
    """One row that cannot be scored refuses the whole job, and is told of by its number and reason."""
    write(tmp_path, [*staff(20), bad(age=17)], partitions=2)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(RowsRefused, match="line 11: age : Doit être un entier"):
        run(strict=True)
    assert set(tmp_path.rglob("*")) == before


def test_files_must_have_the_same_columns(run: Run, tmp_path: Path) -> None:
    """A file with other columns refuses the job before anything is written; another order is fine."""
    write(tmp_path, staff(10), partitions=2)
    second = tmp_path / "in" / "001.parquet"
    frame = pl.read_parquet(second)
    frame.select(reversed(frame.columns)).write_parquet(second)
    run()
    assert answers(tmp_path)["employee_ref"].to_list() == [one.employee_ref for one in staff(10)]
    (tmp_path / "out").rename(tmp_path / "before")
    frame.rename({"service": "department"}).write_parquet(second)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UnsuitableFile, match="they differ in department, service"):
        run()
    assert set(tmp_path.rglob("*")) == before


def test_a_job_given_up_leaves_nothing(workforce: Workforce, predictor: JoblibPredictor, tmp_path: Path) -> None:
    """Whoever stops half-way, or does not begin, finds neither an output nor a temporary file."""
    write(tmp_path, staff(40), partitions=4)
    inputs = tuple(str(path) for path in sorted((tmp_path / "in").iterdir()))
    job = ScoringJob(inputs=inputs, output=str(tmp_path / "out"), format=FileFormat.PARQUET)
    before = set(tmp_path.rglob("*"))
    steps = workforce.score(job, predictor)
    next(steps)
    steps.close()
    assert set(tmp_path.rglob("*")) == before
