"""Predictions as lines of CSV (RFC 4180), in which no cell is a formula to a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from churn.domain.csv_cell import inert
from churn.domain.employee import FEATURES
from churn.wire import PredictionAnswer

#: What `cells_of` gives: the fields of the answer, with a column for each contribution, in log-odds.
TITLES: Final = (
    *("id", "prediction", "probability", "risk", "message", "threshold", "model_version", "intercept"),
    *(f"log_odds_{feature}" for feature in FEATURES),
    "warnings",
)


def cells_of(answer: PredictionAnswer) -> tuple[object, ...]:
    """`answer` in the order of `TITLES`; `warnings` names the fields, separated by spaces."""
    shares = {item.feature: item.log_odds for item in answer.contributions or ()}
    return (
        answer.id,
        answer.prediction,
        answer.probability,
        answer.risk.value,
        answer.message,
        answer.threshold,
        answer.model_version,
        answer.intercept,
        *map(shares.get, FEATURES),
        " ".join([warning.field for warning in answer.warnings]),
    )


def write_csv(lines: Iterable[Sequence[object]], delimiter: str = ",") -> bytes:
    """`lines` as CSV in UTF-8: None is an empty cell, numbers have a decimal point, and text is made inert."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(
        [inert(cell) if isinstance(cell, str) else cell for cell in line] for line in lines
    )
    return file.getvalue().encode()
