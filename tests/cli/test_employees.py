"""`churn employees` and `churn history`, over a real PostgreSQL."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.builders import employee, prediction

from churn.adapters.joblib_model.bundle import active_version
from churn.adapters.postgres.audit import PostgresAuditTrail
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.cli import main
from churn.domain.prediction import HistoryFilter
from churn.settings import Settings


@pytest.fixture
def run(database_url, engine):
    """Runs `churn` with the arguments given and what it is to read."""

    async def run(*arguments, stdin=""):
        invoke = CliRunner(env={"CHURN_DATABASE_URL": database_url}).invoke
        return await asyncio.to_thread(invoke, main, arguments, input=stdin)

    return run


@pytest.fixture
async def history(engine):
    """Predictions of two people: of each one that is 1000, and one that is 10 days old."""
    history = PostgresHistoryRepository(engine, queue_size=99, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    version = active_version(Path(Settings().models_dir))
    for days in (1000, 10):
        for ref in ("E-1", "E-2"):
            made = datetime.now(UTC) - timedelta(days=days)
            await history.append(
                prediction(employee=employee(employee_ref=ref), created_at=made, model_version=version)
            )
    yield history
    await history.stop()


async def refs(history):
    found = await history.find(HistoryFilter(), before=None, limit=9)
    return sorted(item.employee.employee_ref for item in found)


@pytest.mark.parametrize(("arguments", "stdin"), [(["E-1"], ""), (["-"], "E-1\n"), ([], "E-1\r\nE-2\n")])
async def test_a_record_is_exported(run, history, engine, arguments, stdin):
    """As JSON, with the pseudonym as an argument or on the standard input; the trail knows who."""
    result = await run("employees", "export", *arguments, "--language", "en", stdin=stdin)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["employee_ref"] == "E-1"
    assert len(record["predictions"]) == 2
    assert record["about"][0].startswith("This file")
    (entry,) = await PostgresAuditTrail(engine).page(before=None, limit=9)
    assert entry.action == "employee-exported"
    assert entry.account.startswith("cli:")


@pytest.mark.parametrize(("arguments", "stdin"), [(["E-1"], ""), ([], "E-1\n")])
async def test_a_person_is_erased(run, history, engine, arguments, stdin):
    """With all that is kept of them, and nobody else."""
    result = await run("employees", "erase", "--yes", *arguments, stdin=stdin)
    assert (result.exit_code, result.output) == (
        0, "erased: 2 predictions, 0 shadow scores, 0 outcomes, 0 reviews\n",
    )  # fmt: skip
    assert await refs(history) == ["E-2", "E-2"]
    assert "E-1" not in str(await PostgresAuditTrail(engine).page(before=None, limit=9))


async def test_erasing_takes_a_yes(run, history):
    """Where nobody can be asked."""
    assert (await run("employees", "erase", "E-1")).exit_code == 2
    assert len(await refs(history)) == 4


@pytest.mark.parametrize("command", [["export"], ["erase", "--yes"]])
async def test_of_nobody_there_is_nothing(run, history, command):
    """And the pseudonym is not repeated."""
    result = await run("employees", *command, "E-3")
    assert (result.exit_code, result.output) == (1, "Error: nothing is kept under this pseudonym\n")


@pytest.mark.parametrize(("answer", "left"), [("n", 4), ("y", 2)])
async def test_on_a_terminal_erasing_is_asked_for(database_url, history, answer, left):
    """And only done after a yes."""

    def converse():
        terminal, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", "from churn.cli import main; main()", "employees", "erase", "E-1"],
            env=os.environ | {"CHURN_DATABASE_URL": database_url},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            prompt = b""
            while not prompt.endswith(b": "):
                prompt += os.read(terminal, 1024)
            os.write(terminal, answer.encode() + b"\n")
            try:
                while os.read(terminal, 1024):
                    pass
            except OSError:  # the terminal is gone with the process
                pass
            os.close(terminal)
            return process.wait()

    assert await asyncio.to_thread(converse) == (0 if answer == "y" else 1)
    assert len(await refs(history)) == left


async def test_a_purge_removes_what_is_old(run, history, engine):
    """In batches, telling how far it is; each is in the trail. A second one finds nothing."""
    result = await run("history", "purge", "--older-than", "730d", "--batch-size", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout == "removed 2 predictions\n"
    assert result.stderr == "1 of 2\n2 of 2\n"
    assert await refs(history) == ["E-1", "E-2"]
    entries = await PostgresAuditTrail(engine).page(before=None, limit=9)
    assert [(entry.action, entry.details["predictions"]) for entry in entries] == [("history-purged", 1)] * 2
    assert (await run("history", "purge", "--older-than", "730d")).stdout == "removed 0 predictions\n"


async def test_a_dry_run_only_counts(run, history):
    """Nothing is removed."""
    result = await run("history", "purge", "--older-than", "730d", "--dry-run")
    assert result.output == "2 predictions are older than 730 days\n"
    assert len(await refs(history)) == 4


@pytest.mark.parametrize("age", ["730", "2y", "-1d", "1000000d", ""])
async def test_an_age_that_is_none_is_refused(run, age):
    """It is a number of days."""
    assert (await run("history", "purge", "--older-than", age)).exit_code == 2
