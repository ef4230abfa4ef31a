"""Which version scores a workforce, and how a run gets into the history: once, whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.builders import employee

from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.memory import MemoryClock, MemoryHistoryRepository
from churn.adapters.uuids import new_ids
from churn.adapters.workforce.local import PolarsWorkforce
from churn.domain.employee import Overtime, from_features
from churn.domain.errors import RowsRefused, StorageUnavailable, UnsuitableFile
from churn.domain.prediction import HistoryFilter, Prediction
from churn.domain.workforce import ScoringJob, ScoringSummary
from churn.settings import Settings
from churn.use_cases.score_workforce import ScoreWorkforce

ROWS = [
    msgspec.to_builtins(employee(employee_ref=f"E-{n}", age=30 + n, commute_distance=500.0 * (n % 2))) for n in range(5)
]


@pytest.fixture
def history(clock: MemoryClock) -> MemoryHistoryRepository:
    return MemoryHistoryRepository()


@pytest.fixture
def score(tmp_path: Path, history: MemoryHistoryRepository, clock: MemoryClock) -> Callable[..., Any]:
    """Scores the lines given, into `out.csv`."""
    use_case = ScoreWorkforce(
        workforce=PolarsWorkforce(threads=1),
        catalogue=JoblibModelCatalogue(Settings().models_dir),
        registry=None,
        history=history,
        clock=clock,
        new_ids=new_ids,
    )

    async def score(rows: list[dict[str, Any]], *, strict: bool = False, **options: Any) -> ScoringSummary:
        file = tmp_path / "staff.csv"
        lines = [",".join(ROWS[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        file.write_text("\n".join(lines))
        job = ScoringJob(inputs=(str(file),), output=str(tmp_path / "out.csv"), strict=strict)
        return await use_case(job, on_block=lambda _: None, **options)

    return score


async def saved(history: MemoryHistoryRepository) -> list[Prediction]:
    return list(reversed(await history.find(HistoryFilter(), before=None, limit=1000)))


async def test_nothing_is_saved_unless_asked(score, history: MemoryHistoryRepository) -> None:
    """A plain run leaves the history as it is."""
    summary = await score(ROWS)
    assert (summary.scored, summary.saved, summary.run_id) == (5, None, None)
    assert not await saved(history)


async def test_a_saved_run_is_in_the_history(score, history: MemoryHistoryRepository, clock: MemoryClock) -> None:
    """Each employee with the prediction that the service would have stored."""
    summary = await score(ROWS, account="cli:anne")
    assert summary.saved
    catalogue = JoblibModelCatalogue(Settings().models_dir)
    predictor = await catalogue.load(summary.model_version)
    found = await saved(history)
    assert [msgspec.to_builtins(one.employee) for one in found] == ROWS
    for one in found:
        expected = predictor.predict(one.employee)
        assert one.score.probability == pytest.approx(expected.probability, abs=1e-12)
        assert one.score.out_of_range == expected.out_of_range
        assert one.score.contributions == pytest.approx(expected.contributions)
        assert (one.account, one.created_at, one.model_version) == ("cli:anne", clock.now(), summary.model_version)
        assert one.risk == predictor.info.risk(one.score.probability)


async def test_a_run_tried_twice_is_saved_once(score, history: MemoryHistoryRepository, tmp_path: Path) -> None:
    """The same content is the same run, whatever comes of the file; other content, or another id, is another run."""
    first = await score(ROWS, account="anne")
    (tmp_path / "out.csv").unlink()
    again = await score(ROWS, account="anne")
    assert (again.saved, again.run_id) == (False, first.run_id)
    assert again.scored == 5
    assert (tmp_path / "out.csv").exists()
    assert len(await saved(history)) == 5
    assert (await score(ROWS[:4], account="anne")).saved
    assert (await score(ROWS, account="anne", run_id=UUID(int=7))).saved
    assert not (await score(ROWS[:1], account="anne", run_id=UUID(int=7))).saved
    assert len(await saved(history)) == 14


async def test_a_strict_run_that_is_refused_saves_nothing(score, history: MemoryHistoryRepository) -> None:
    """Neither the file nor the history gets a part of it."""
    with pytest.raises(RowsRefused):
        await score([*ROWS, ROWS[0] | {"age": 17}], strict=True, account="anne")
    assert not await saved(history)
    assert (await score([*ROWS, ROWS[0] | {"age": 17}], account="anne")).rejected == 1
    assert len(await saved(history)) == 5


async def test_without_a_history_nothing_is_promised(tmp_path: Path, clock: MemoryClock) -> None:
    """A run that is to be saved is not even begun where there is no database."""
    use_case = ScoreWorkforce(
        workforce=PolarsWorkforce(),
        catalogue=JoblibModelCatalogue(Settings().models_dir),
        registry=None,
        history=None,
        clock=clock,
        new_ids=new_ids,
    )
    file = tmp_path / "staff.csv"
    file.write_text(",".join(ROWS[0]))
    with pytest.raises(StorageUnavailable, match="no history"):
        await use_case(ScoringJob(inputs=(str(file),)), account="anne", on_block=lambda _: None)


def test_what_can_be_read_once_has_no_fingerprint() -> None:
    """The standard input needs a run id, because its content is not known beforehand."""
    with pytest.raises(UnsuitableFile, match="--run-id"):
        PolarsWorkforce().fingerprint(ScoringJob(inputs=("-",)))


def test_features_make_the_employee_again() -> None:
    """`from_features` undoes `features`."""
    for one in (employee(), employee(overtime=Overtime.NO, employee_ref="E-1")):
        assert from_features(one.features(), employee_ref=one.employee_ref) == one
