"""`churn models`, over a real PostgreSQL and real bundles."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import add_version, prediction

from churn.adapters.joblib_model.bundle import active_version
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.models import PostgresModelRegistry, PostgresShadowScores
from churn.cli import main
from churn.domain.activation import ShadowScore
from churn.settings import Settings

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)

type Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    models = shutil.copytree(SHIPPED, tmp_path / "models")
    add_version(models, "other", shift=0.5)
    add_version(models, "tampered")
    with (models / "tampered" / "model.joblib").open("ab") as model:
        model.write(b"\0")
    return models


@pytest.fixture
def run(database_url: str, engine: AsyncEngine, models_dir: Path) -> Run:
    """Runs `churn models` with the arguments given."""

    async def run(*arguments: str) -> Result:
        environ = {"CHURN_DATABASE_URL": database_url, "CHURN_MODELS_DIR": str(models_dir)}
        # In a thread, because the command has an event loop of its own.
        return await asyncio.to_thread(CliRunner(env=environ).invoke, main, ["models", *arguments])

    return run


async def roles(run: Run) -> dict[str, str]:
    lines = [line.split() for line in (await run("list")).output.splitlines()]
    return {words[0]: words[1] for words in lines if words[1] in {"active", "shadow"}}


async def test_a_version_is_activated_and_taken_back(run: Run, engine: AsyncEngine) -> None:
    """The list shows it, and the log says who, from what, to what and why."""
    assert await roles(run) == {DEFAULT: "active"}
    result = await run("activate", "other", "--reason", "better")
    assert result.exit_code == 0, result.output
    assert await roles(run) == {"other": "active"}
    assert (await run("rollback", "--reason", "or not")).exit_code == 0
    assert await roles(run) == {DEFAULT: "active"}
    first, second = (await run("log")).output.splitlines()
    assert f"activate {DEFAULT} -> other  (better)" in first
    assert f"roll back other -> {DEFAULT}  (or not)" in second
    entries = await PostgresModelRegistry(engine).log()
    assert [entry.account.partition(":")[0] for entry in entries] == ["cli", "cli"]


async def test_a_shadow_is_set_and_ended(run: Run) -> None:
    """A version is the shadow until it is ended."""
    assert (await run("shadow", "other")).exit_code == 0
    assert await roles(run) == {DEFAULT: "active", "other": "shadow"}
    result = await run("shadow", "--off", "--reason", "seen enough")
    assert "no shadow  (seen enough)" in result.output
    assert await roles(run) == {DEFAULT: "active"}


async def test_the_card_is_shown(run: Run) -> None:
    """It is that of the bundle; a bundle without one, or no bundle, is a message."""
    result = await run("show", DEFAULT)
    assert result.output == (SHIPPED / DEFAULT / "CARD.md").read_text(encoding="utf-8")
    assert "has no CARD.md" in (await run("show", "other")).output
    assert "there is no model '../models'" in (await run("show", "../models")).output


async def test_two_versions_are_compared(run: Run, engine: AsyncEngine) -> None:
    """Figures of training side by side, and the agreement on real traffic once there is any."""
    output = (await run("compare", DEFAULT, "other")).output
    assert "roc_auc" in output
    assert "difference +0.000" in output
    assert "No request was scored by both" in output

    history = PostgresHistoryRepository(engine, queue_size=16, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    for probability in (0.7, 0.8):
        answered = prediction(model_version=DEFAULT)
        await history.append(answered)
        score = ShadowScore(
            prediction_id=answered.id, model_version="other", probability=probability, leaves=probability > 0.75
        )
        await PostgresShadowScores(engine).append([score])
    await history.stop()
    output = (await run("compare", "other", DEFAULT)).output
    assert "2 requests scored by both: mean absolute difference 0.0625, equal classes 50.0%" in output


async def test_versions_of_other_data_are_said_not_to_compare(run: Run, models_dir: Path) -> None:
    """Figures measured on different data come with a warning."""
    data = {"name": "x", "source": "x", "licence": "x", "sha256": "0" * 64, "rows": 100, "leavers": 50}
    add_version(models_dir, "elsewhere", data=data)
    assert "Evaluated on different data" in (await run("compare", DEFAULT, "elsewhere")).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activate", "nothing", "--reason", "x"], "there is no model 'nothing'"),
        (["activate", "tampered", "--reason", "x"], "model.joblib is not the file that its manifest describes"),
        (["rollback", "--reason", "x"], "there is no earlier version"),
        (["shadow", DEFAULT], f"model {DEFAULT} is the active one"),
        (["shadow", "--off"], "there is no shadow to end"),
        (["compare", DEFAULT, "nothing"], "there is no model 'nothing'"),
    ],
)
async def test_what_cannot_be_done_is_said(run: Run, arguments: list[str], message: str) -> None:
    """On one line, with a failing exit status, and nothing is recorded."""
    result = await run(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert message in result.output
    assert len(result.output.splitlines()) == 1
    assert (await run("log")).output == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["activate", "other"],
        ["activate", "other", "--reason", "two\nlines"],
        ["rollback"],
        ["shadow"],
        ["shadow", "other", "--off"],
    ],
)
async def test_what_makes_no_sense_is_a_usage_error(run: Run, arguments: list[str]) -> None:
    """A decision needs a reason of one line, and a shadow is either a version or off."""
    assert (await run(*arguments)).exit_code == 2


async def test_without_a_default_there_is_none_active(run: Run, models_dir: Path) -> None:
    """A folder that names no default can be listed, and a version of it activated."""
    (models_dir / "ACTIVE").unlink()
    assert await roles(run) == {}
    assert "activate - -> other" in (await run("activate", "other", "--reason", "the first")).output
