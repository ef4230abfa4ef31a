"""Predictions in the binary format of PostgreSQL's `COPY` (its manual, part VI, COPY, "Binary Format").

What has one length in all rows is written by numpy, a column at a time; what has not is looked up.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import DTypeLike, NDArray

from churn.domain.employee import FEATURES
from churn.domain.prediction import RISKS
from churn.domain.predictions import Predictions, members

_FEATURES: Final[dict[str, DTypeLike]] = {
    "age": ">i2",
    "monthly_income": ">f8",
    "commute_distance": ">f8",
    "environment_satisfaction": ">i2",
    "overtime": "u1",
    "years_since_promotion": ">i2",
    "work_life_balance": ">i2",
    "stock_option_level": ">i2",
    "years_in_role": ">i2",
    "years_at_company": ">i2",
    "total_working_years": ">f8",
}
#: The columns in the order in which they are written.
COLUMNS: Final = (
    *("id", "probability", *_FEATURES, "contributions"),
    *("created_at", "threshold", "intercept", "account", "model_version", "run_id", "risk", "out_of_range"),
    "employee_ref",
)
BEGINNING: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
#: What comes before the elements of an array, after its length in bytes: dimensions, whether there are nulls, type of
#: the elements, how many, and the index of the first.
_ARRAY: Final = struct.Struct("!iiiii")
_FLOAT8, _INT2 = 701, 21
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _row(*, explained: bool) -> NDArray[Any]:
    """One row up to its contributions, whose values are still to come; shape ().

    The number of columns comes before them all, and before each value its length in bytes.
    """
    share = np.array((8, 0.0), [("length", ">i4"), ("value", ">f8")])
    head = np.frombuffer(_ARRAY.pack(1, 0, _FLOAT8, len(FEATURES), 1), ">i4")
    fields: list[tuple[str, DTypeLike] | tuple[str, DTypeLike, int]] = [("columns", ">i2")]
    for name, kind in {"id": "V16", "probability": ">f8", **_FEATURES}.items():
        fields += [(f"{name} length", ">i4"), (name, kind)]
    fields.append(("contributions length", ">i4"))
    if explained:
        fields += [("contributions head", ">i4", head.size), ("contributions", share.dtype, len(FEATURES))]
    row = np.zeros((), fields)
    row["columns"] = len(COLUMNS)
    for name in ("id", "probability", *_FEATURES):
        row[f"{name} length"] = row.dtype[name].itemsize
    row["contributions length"] = -1
    if explained:
        row["contributions length"] = head.nbytes + share.nbytes * len(FEATURES)
        row["contributions head"] = head
        row["contributions"] = share
    return row


_ROWS: Final = {explained: _row(explained=explained) for explained in (True, False)}


def encode(predictions: Predictions, run_id: UUID | None) -> bytes:
    """The rows of `predictions`, to stand between `BEGINNING` and `END` in what `COPY (…) FROM STDIN` takes."""
    scores, employees = predictions.scores, predictions.employees
    rows = np.repeat(_ROWS[scores.contributions is not None], len(predictions))
    rows["id"] = np.ascontiguousarray(predictions.ids).view("V16").ravel()
    rows["probability"] = scores.probability
    for position, name in enumerate(_FEATURES):
        rows[name] = employees.features[:, position]
    if scores.contributions is not None:
        rows["contributions"]["value"] = scores.contributions
    pieces: list[bytes] = [b""] * (3 * len(predictions))
    pieces[0::3] = rows.view(f"V{rows.itemsize}").tolist()
    # One number for the risk and the set of values outside of their range, of which there are few.
    kinds = (predictions.risk.astype(np.int64) << len(FEATURES)) + scores.outside()
    pieces[1::3] = map(_Rest(predictions, run_id).__getitem__, kinds.tolist())
    pieces[2::3] = [_NULL] * len(predictions) if employees.refs is None else map(_text, employees.refs)
    return b"".join(pieces)


class _Rest(dict[int, bytes]):
    """The columns of a row after its contributions and before its pseudonym."""

    def __init__(self, predictions: Predictions, run_id: UUID | None) -> None:
        super().__init__()
        self._same = b"".join(
            (
                struct.pack("!iq", 8, (predictions.created_at - _EPOCH) // _MICROSECOND),
                struct.pack("!id", 8, predictions.threshold),
                _NULL if predictions.intercept is None else struct.pack("!id", 8, predictions.intercept),
                _text(predictions.account),
                _text(predictions.model_version),
                _NULL if run_id is None else struct.pack("!i16s", 16, run_id.bytes),
            )
        )

    def __missing__(self, kind: int) -> bytes:
        risk, outside = divmod(kind, 1 << len(FEATURES))
        rest = self[kind] = self._same + _text(RISKS[risk].value) + _small_integers(members(outside))
        return rest


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return struct.pack("!i", len(encoded)) + encoded


def _small_integers(values: Sequence[int]) -> bytes:
    if not values:
        return struct.pack("!iiii", 12, 0, 0, _INT2)
    array = _ARRAY.pack(1, 0, _INT2, len(values), 1) + b"".join(struct.pack("!ih", 2, value) for value in values)
    return struct.pack("!i", len(array)) + array
