"""`churn score`."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import Any, Final, Protocol, Self
from uuid import UUID

import click
from msgspec.structs import replace

from churn.cli.database import database, database_at_hand, embedded_database_exists, settings_or_exit
from churn.cli.migrate import migrate_database
from churn.cli.run import actor
from churn.container import build_container
from churn.domain.employee import FEATURES
from churn.domain.errors import ChurnError, StorageUnavailable
from churn.domain.language import Language
from churn.domain.workforce import STANDARD, FileFormat, ScoringJob, ScoringSummary
from churn.ports import ScoredBlock
from churn.settings import Settings

#: Exit status when some rows were scored and others could not be. 1 is an error, and 2 one of the command line.
SOME_REJECTED: Final = 3

#: Employees in the file to try with.
_SAMPLE: Final = 30

_SUFFIXES: Final = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".parquet": FileFormat.PARQUET,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
}


def _sample(context: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    random = Random(2026)  # noqa: S311 - always the same people, none of whom exists
    click.echo(",".join(("employee_ref", "service", *FEATURES)))
    for number in range(1, _SAMPLE + 1):
        company = random.randint(0, 20)
        cells = {
            "age": random.randint(max(21, 19 + company), 60),
            "revenu_mensuel": random.randrange(1400, 12_000, 50),
            "distance_domicile_travail": random.randint(1, 29),
            "satisfaction_environnement": random.randint(1, 4),
            "heures_supp": random.choice(("Oui", "Non", "Non")),
            "annees_promo": random.randint(0, company),
            "satisfaction_equilibre": random.randint(1, 4),
            "pee": random.randint(0, 3),
            "poste_actuel": random.randint(0, company),
            "anciennete": company,
            "exp_totale": company + random.randint(0, 5),
        }
        service = random.choice(("Ventes", "R&D", "Production"))
        click.echo(f"E-{1000 + number},{service},{','.join(str(cells[feature]) for feature in FEATURES)}")
    context.exit()


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--sample",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_sample,
    help="Print a CSV file of fictional staff to try with, and stop.",
)
@click.option("-o", "--out", default=STANDARD, metavar="FILE", help="Where to write.  [default: the standard output]")
@click.option(
    "--format",
    "file_format",
    type=click.Choice([item.value for item in FileFormat]),
    help="Of the output.  [default: as the name of --out ends, or csv]",
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Write only the N most at risk, ranked.")
@click.option(
    "--reasons",
    type=click.IntRange(0, len(FEATURES)),
    default=3,
    show_default=True,
    help="How many of the strongest factors to tell.",
)
@click.option(
    "--language",
    type=click.Choice([language.value for language in Language]),
    default=Language.FR.value,
    show_default=True,
    help="Of messages, reasons and warnings.",
)
@click.option(
    "--encoding", help="Of CSV files, as latin-1.  [default: UTF-8, or Windows-1252 where that is impossible]"
)
@click.option("--strict", is_flag=True, help="Write nothing at all if a row cannot be scored.")
@click.option("--model", "version", metavar="VERSION", help="Score with this version.  [default: the active one]")
@click.option("--save", is_flag=True, help="Put the predictions into the history too: all of them, or none.")
@click.option(
    "--run-id",
    type=click.UUID,
    metavar="UUID",
    help="A run of one id is saved once.  [default: follows from the files' content and the model]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Where: on this machine, or on a Dask cluster, which reads Parquet and writes a folder of it.",
)
@click.option("--scheduler", metavar="ADDRESS", help="The cluster's scheduler, as tcp://host:8786.")
def score(
    *,
    files: tuple[str, ...],
    out: str,
    file_format: str | None,
    top: int | None,
    reasons: int,
    language: str,
    encoding: str | None,
    strict: bool,
    version: str | None,
    save: bool,
    run_id: UUID | None,
    engine: str,
    scheduler: str | None,
) -> None:
    """Score whole files of employees: probability, message, strongest reasons and warnings for each.

    FILE is a CSV (comma, semicolon or tab), Parquet or NDJSON file, a folder of Parquet files, a glob in quotes, or -
    for the standard input. Columns have the names of the wire (age, revenu_mensuel, …) or of the IBM data (Age,
    MonthlyIncome, …); others are passed through.

    Rows that cannot be scored go to FILE.rejected.csv, each with its line and the reason, and the rest is scored.

    Exit status: 0 every row was scored, 1 an error, 2 a mistaken command line, 3 some rows were rejected.
    """
    settings = settings_or_exit()
    chosen = FileFormat(file_format) if file_format else _SUFFIXES.get(Path(out).suffix.lower(), FileFormat.CSV)
    if run_id and not save:
        raise click.UsageError("--run-id is for --save")
    if (engine == "dask") != bool(scheduler):
        raise click.UsageError("--engine dask and --scheduler go together")
    if engine == "dask" and not file_format:
        chosen = FileFormat.PARQUET
    if chosen is FileFormat.PARQUET and out == STANDARD and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal: name a file with --out")
    started = time.monotonic()
    try:
        job = ScoringJob(
            inputs=files,
            output=out,
            format=chosen,
            encoding=encoding,
            language=Language(language),
            reasons=reasons,
            top=top,
            strict=strict,
        )
        with _interruptible(), _progress() as progress, _database(settings, save=save) as settings_then:
            score_workforce = _score(
                settings_then, job, progress, version=version, scheduler=scheduler or "", save=save, run_id=run_id
            )
            summary = asyncio.run(score_workforce)
    except ModuleNotFoundError as error:
        # A cluster is used by few, so what it needs is not installed everywhere.
        raise click.ClickException(f"{error.name} is missing: install churn[dask]") from error
    except StorageUnavailable as error:
        consequence = (
            "the run is not known to be in the history: run the command again"
            if save
            else "which model is active is not known: name one with --model"
        )
        raise click.ClickException(f"{error}; {consequence}") from error
    except ChurnError as error:
        raise click.ClickException(str(error)) from error
    _conclude(summary, time.monotonic() - started)
    if not version and not save and not database_at_hand(settings) and embedded_database_exists(settings):
        click.echo("the embedded database does not run: what was activated in it was not asked for", err=True)
    if summary.rejected:
        sys.exit(SOME_REJECTED)


@contextmanager
def _database(settings: Settings, *, save: bool) -> Iterator[Settings]:
    """`settings` with the database that is at hand, if any; only saving starts one, or changes it."""
    if not save:
        yield replace(settings, database_url=database_at_hand(settings))
        return
    with database(settings) as reachable:
        asyncio.run(migrate_database(reachable))
        yield reachable


async def _score(
    settings: Settings,
    job: ScoringJob,
    progress: "Progress",
    *,
    version: str | None,
    scheduler: str,
    save: bool,
    run_id: UUID | None,
) -> ScoringSummary:
    container = build_container(settings, scheduler=scheduler)
    try:
        return await container.score_workforce()(
            job, version=version, account=actor() if save else None, run_id=run_id, on_block=progress.update
        )
    finally:
        if settings.database_url:
            await container.engine().dispose()


def _conclude(summary: ScoringSummary, seconds: float) -> None:
    rows = "1 row" if summary.scored == 1 else f"{summary.scored:,} rows"
    told = f"{rows} scored with model {summary.model_version} in {seconds:.1f} s"
    if summary.rejected:
        told += f"; {summary.rejected:,} rejected: {', '.join(summary.rejected_files)}"
    if summary.saved is not None:
        told += f"; run {summary.run_id} is in the history" + ("" if summary.saved else " already")
    click.echo(told, err=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal end the command wherever it is, reading a pipe included, so that what is half written is removed."""
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


class Progress(Protocol):
    """Shows how far a job is."""

    def update(self, block: ScoredBlock) -> None:
        """A step is done."""
        ...


def _progress() -> AbstractContextManager[Progress]:
    # On a pipe there is nothing but data, and in a log nothing but the outcome.
    return _Bar() if sys.stderr.isatty() else nullcontext(_Silence())


class _Silence:
    def update(self, block: ScoredBlock) -> None:
        """Show nothing."""


class _Bar:
    """A bar on the terminal with the rate and the time left; without a known end, the rate alone."""

    _WIDTH: Final = 1000

    def __init__(self) -> None:
        self._rows = 0
        self._started = time.monotonic()
        self._bar: Any = click.progressbar(  # click keeps the type to itself
            length=self._WIDTH,
            label="Scoring",
            file=sys.stderr,
            # Until the end is known.
            show_eta=False,
            show_percent=False,
            bar_template="%(label)s  %(info)s",
            item_show_func=lambda _: self._rate(),
        )

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, traceback)

    def _rate(self) -> str:
        return f"{self._rows:,} rows, {self._rows / max(time.monotonic() - self._started, 1e-3):,.0f}/s"

    def update(self, block: ScoredBlock) -> None:
        """Move the bar."""
        self._rows += block.scored + block.rejected
        if block.progress is not None:
            self._bar.bar_template = "%(label)s  [%(bar)s]  %(info)s"
            self._bar.show_percent = self._bar.show_eta = True
        done = 0 if block.progress is None else round(self._WIDTH * block.progress)
        # Drawn again by a step alone.
        self._bar.pos = done - 1
        self._bar.update(1, object())
