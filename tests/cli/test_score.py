"""`churn score`, as people and scripts use it."""

import asyncio
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import add_version, employee

from churn.adapters.joblib_model.bundle import active_version
from churn.adapters.postgres.models import PostgresModelRegistry
from churn.cli import main
from churn.domain.activation import Activation
from churn.settings import Settings

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)
ROW = msgspec.to_builtins(employee())
HEADER = ",".join(ROW)
LINE = ",".join(str(value) for value in ROW.values())
CHURN = [sys.executable, "-c", "from churn.cli import main; main()", "score"]

type Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `churn score` in a folder of its own, with `staff.csv`: two employees who can be scored, one who cannot."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "staff.csv").write_text("\n".join([HEADER, LINE, LINE.replace("41,", "17,", 1), LINE, ""]))
    (tmp_path / "good.csv").write_text("\n".join([HEADER, LINE, ""]))

    def run(*words: str, stdin: str | bytes = "", **settings: str) -> Result:
        environ = {f"CHURN_{name.upper()}": value for name, value in settings.items()}
        return CliRunner(env=environ).invoke(main, ["score", *words], input=stdin)

    return run


def test_every_row_scored_is_a_success(run: Run, tmp_path: Path) -> None:
    """Status 0, the answers in the file, one line about it on the error stream, and no database is started."""
    result = run("good.csv", "--out", "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"1 row scored with model {DEFAULT} in ")
    assert result.stderr.count("\n") == 1
    assert pl.read_csv(tmp_path / "out.csv")["model_version"].to_list() == [DEFAULT]
    assert {path.name for path in tmp_path.iterdir()} == {"staff.csv", "good.csv", "out.csv"}


def test_there_is_a_file_to_try_with(run: Run, tmp_path: Path) -> None:
    """`--sample` prints fictional staff, always the same, every one of whom can be scored."""
    sample = run("--sample").stdout
    assert run("--sample").stdout == sample
    (tmp_path / "sample.csv").write_text(sample)
    assert run("sample.csv", "--strict", "--top", "3").exit_code == 0


def test_some_rows_rejected_is_a_status_of_its_own(run: Run, tmp_path: Path) -> None:
    """Status 3; the rest is scored, and the summary names the file of the others."""
    result = run("staff.csv")
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr.endswith("; 1 rejected: staff.csv.rejected.csv\n")
    assert pl.read_csv(tmp_path / "staff.csv.rejected.csv")["line"].to_list() == [3]


def test_a_pipe_carries_data_alone(run: Run, tmp_path: Path) -> None:
    """From the standard input to the standard output, in each format."""
    text = (tmp_path / "good.csv").read_text()
    assert run("-", stdin=text).stdout.startswith(HEADER)
    assert run("-", "--format", "ndjson", stdin=text).stdout.startswith('{"age":')
    parquet = run("-", "--format", "parquet", stdin=text).stdout_bytes
    assert parquet.startswith(b"PAR1")
    assert run("-", stdin=parquet).stdout.startswith(HEADER)


def test_a_strict_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    """Status 1 and the line at fault; neither on the standard output nor in any file is there anything."""
    before = set(tmp_path.iterdir())
    for words in ([], ["--out", "out.parquet"]):
        result = run("staff.csv", "--strict", *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "staff.csv, line 3: age : Doit être un entier compris entre 18 et 70." in result.stderr
        assert set(tmp_path.iterdir()) == before
    assert run("good.csv", "--strict").stdout.startswith(HEADER)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.csv"], 1, "nowhere.csv: there is no such file"),
        (["good.csv", "--model", "none"], 1, "there is no model 'none'"),
        (["good.csv", "--out", "no/where.csv"], 1, "it cannot be written"),
        (["good.csv", "--reasons", "12"], 2, "12 is not in the range"),
        (["good.csv", "--top", "0"], 2, "0 is not in the range"),
        (["good.csv", "--engine", "dask"], 2, "--engine dask and --scheduler go together"),
        (["good.csv", "--run-id", "0" * 32], 2, "--run-id is for --save"),
        (["good.csv", "--scheduler", "tcp://127.0.0.1:1"], 2, "--engine dask and --scheduler go together"),
        (["good.csv", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"], 1, "name one"),
        ([], 2, "Missing argument"),
    ],
    ids=str,
)
def test_a_mistake_is_told(run: Run, words: list[str], status: int, message: str) -> None:
    """With a message, and never a traceback."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_format_is_in_the_name(run: Run, tmp_path: Path) -> None:
    """The output's suffix says its format, unless `--format` does."""
    run("good.csv", "--out", "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").height == 1
    run("good.csv", "--out", "out.jsonl", "--language", "en")
    assert pl.read_ndjson(tmp_path / "out.jsonl")["message"].to_list() == ["High risk of leaving"]
    run("good.csv", "--out", "out.csv", "--format", "ndjson")
    assert (tmp_path / "out.csv").read_text().startswith("{")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_killed_run_leaves_no_half_output(tmp_path: Path, how: signal.Signals, kind: str) -> None:
    """What was there before is still there, whole; unless it had no chance to, the command cleans up too."""
    output = tmp_path / f"out.{kind}"
    output.write_text("before")
    process = subprocess.Popen(
        [*CHURN, "-", "--out", str(output)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    assert process.stdin is not None
    # The pipe takes the last of them when all but the last few blocks have been read, and the first ones written.
    process.stdin.write("\n".join([HEADER, LINE.replace("41,", "17,", 1), *[LINE] * 1_000_000]).encode())
    process.stdin.flush()
    assert [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    process.send_signal(how)
    process.wait(60)
    process.stdin.close()
    assert process.returncode != 0
    assert output.read_text() == "before"
    left = {path.name for path in tmp_path.iterdir()} - {output.name}
    assert all(name.startswith(".") for name in left)
    if how is not signal.SIGKILL:
        assert not left


@pytest.mark.parametrize(("source", "shown"), [("good.csv", ("[###", "100%", "1 rows", "/s")), ("-", ("1 rows", "/s"))])
def test_a_terminal_is_shown_how_far_it_is(run: Run, tmp_path: Path, source: str, shown: tuple[str, ...]) -> None:
    """Only there is a bar, with the rate; of a pipe, which has no known end, the rate alone."""
    ours, theirs = pty.openpty()
    with (tmp_path / "good.csv").open("rb") as file:
        process = subprocess.Popen(
            [*CHURN, source],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=tmp_path,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
        )
    os.close(theirs)
    assert process.stdout is not None
    with process.stdout:
        data = process.stdout.read().decode()
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # the terminal has hung up
        pass
    os.close(ours)
    assert process.wait(60) == 0
    assert len(data.splitlines()) == 2
    assert all(part in text.decode() for part in ("Scoring", *shown))
    assert ("%" in text.decode()) == (source != "-")


async def test_the_active_version_scores(
    run: Run, tmp_path: Path, database_url: str, engine: AsyncEngine, clock
) -> None:
    """With a database it is the one that was activated, as for the service; `--model` names another."""
    models = shutil.copytree(SHIPPED, tmp_path / "models")
    add_version(models, "other", shift=0.5)

    async def version(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *CHURN,
            "good.csv",
            *words,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"CHURN_DATABASE_URL": database_url, "CHURN_MODELS_DIR": str(models)},
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode().splitlines()[1].rpartition(",")[2]

    assert await version() == DEFAULT
    await PostgresModelRegistry(engine).append(
        Activation(
            number=1,
            at=clock.now(),
            account="anne",
            action="activate",
            previous=DEFAULT,
            version="other",
            shadow=None,
            reason="",
        )
    )
    assert await version() == "other"
    assert await version("--model", DEFAULT) == DEFAULT


async def test_a_run_is_saved_once(run: Run, tmp_path: Path, database_url: str, engine: AsyncEngine) -> None:
    """`--save` puts the rows that were scored into the history, and the same command again changes nothing."""
    for outcome in ("in the history", "in the history already"):
        process = await asyncio.create_subprocess_exec(
            *CHURN,
            *("staff.csv", "--save", "--out", "out.csv"),
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"CHURN_DATABASE_URL": database_url},
        )
        _, errors = await process.communicate()
        assert process.returncode == 3
        assert errors.decode().rstrip().endswith(outcome)
        assert (run_id := re.search(r"run (\S+) is", errors.decode()))
        assert pl.read_csv(tmp_path / "out.csv").height == 2
        async with engine.connect() as connection:
            rows = (await connection.execute(text("SELECT account, model_version, age, run_id FROM prediction"))).all()
        assert [row.account.partition(":")[0] for row in rows] == ["cli", "cli"]
        assert [(row.model_version, row.age, str(row.run_id)) for row in rows] == [(DEFAULT, 41, run_id[1])] * 2


def test_a_database_that_does_not_answer_hides_which_version_is_active(run: Run) -> None:
    """Rather than scoring with another one, the command says so; with `--model` it does without the database."""
    url = "postgresql+asyncpg://x@127.0.0.1:1/x"
    result = run("good.csv", database_url=url)
    assert result.exit_code == 1
    assert "name one with --model" in result.stderr
    assert run("good.csv", "--model", DEFAULT, database_url=url).exit_code == 0


def test_a_cluster_scores_as_one_machine_does(run: Run, tmp_path: Path, dask_address: str) -> None:
    """`--engine dask` reads partitions, and writes a folder of the same answers."""
    (tmp_path / "in").mkdir()
    for n in range(3):
        pl.DataFrame([ROW | {"age": 17 + n}]).write_parquet(tmp_path / "in" / f"{n}.parquet")
    assert run("in", "--out", "local.parquet").exit_code == 3
    result = run("in", "--out", "spread", "--engine", "dask", "--scheduler", dask_address)
    assert result.exit_code == 3, result.output
    assert result.stderr.startswith(f"2 rows scored with model {DEFAULT}")
    assert result.stderr.endswith("1 rejected: spread.rejected/00000-0.parquet.rejected.csv\n")
    assert pl.read_parquet(tmp_path / "spread").equals(pl.read_parquet(tmp_path / "local.parquet"))
    assert run("in", "--out", "spread", "--engine", "dask", "--scheduler", dask_address).exit_code == 1
