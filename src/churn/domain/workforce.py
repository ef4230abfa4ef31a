"""The scoring of a whole workforce: what is asked for, and what came of it."""

from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct

from churn.domain.language import Language

#: What is named instead of a file for the standard input and output.
STANDARD: Final = "-"
#: What is appended to the name of an input to name the file of its rows that cannot be scored.
REJECTED: Final = ".rejected.csv"


class FileFormat(StrEnum):
    """How a file holds its rows."""

    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"


class ScoringJob(Struct, frozen=True, kw_only=True):
    """Files of employees, and how they are to be answered."""

    inputs: tuple[str, ...]
    """Files, folders of Parquet files and globs, in the order in which they are answered; `-` is the standard input.
    All have the same columns."""
    output: str = STANDARD
    """File, or where the work is spread out folder, to write whole or not at all."""
    format: FileFormat = FileFormat.CSV
    """Of the output; an input's is seen by its first bytes."""
    encoding: str | None = None
    """Of CSV inputs; when None, UTF-8, or Windows-1252 where that is impossible."""
    language: Language = Language.FR
    reasons: int = 3
    """How many of each employee's strongest factors are told, from 0 to 11."""
    top: int | None = None
    """How many of the employees most at risk are written, highest probability first; all, in order, when None."""
    strict: bool = False
    """Whether one row that cannot be scored refuses all of them."""


class ScoringSummary(Struct, frozen=True, kw_only=True):
    """What became of a job."""

    model_version: str
    scored: int
    rejected: int
    rejected_files: tuple[str, ...]
    run_id: UUID | None = None
    """Of the run in the history; None if it was not to be saved."""
    saved: bool | None = None
    """False if the history had it already; None if it was not to be saved."""
