"""Predictions in the binary format of PostgreSQL's `COPY` (its manual, part VI, COPY, "Binary Format").

The driver's own encoder finds out anew, for each value of each row, how to write it, which takes three times as long.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from churn.domain.employee import FEATURES, Overtime
from churn.domain.prediction import Prediction

#: The columns in the order of `encode`: first those of fixed length.
COLUMNS: Final = (
    *("id", "created_at", "threshold", "probability"),
    *("age", "monthly_income", "commute_distance", "environment_satisfaction", "overtime", "years_since_promotion"),
    *("work_life_balance", "stock_option_level", "years_in_role", "years_at_company", "total_working_years"),
    *("contributions", "intercept", "account", "model_version", "risk", "out_of_range", "employee_ref"),
)
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
#: Each value comes after its length in bytes; the number of columns comes before them all.
_FIXED: Final = struct.Struct("!h i16s iq id id ih id id ih i? ih ih ih ih ih id".replace(" ", ""))
_DOUBLE: Final = struct.Struct("!id")
_LENGTH: Final = struct.Struct("!i")
#: Length in bytes, dimensions, whether there are nulls, type of the elements, how many, and the index of the first.
_ARRAY: Final = struct.Struct("!iiiiii")
_FLOAT8, _INT2 = 701, 21
_DOUBLES: Final = struct.Struct("!iiiiii" + "id" * len(FEATURES))
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def encode(predictions: Sequence[Prediction]) -> bytes:
    """All that `COPY prediction (…) FROM STDIN (FORMAT binary)` takes, with the columns in the order of `COLUMNS`."""
    return b"".join([_SIGNATURE, *[_row(prediction) for prediction in predictions], _END])


def _row(prediction: Prediction) -> bytes:
    employee, score = prediction.employee, prediction.score
    # fmt: off
    fixed = _FIXED.pack(
        len(COLUMNS),
        16, prediction.id.bytes,
        8, _microseconds(prediction.created_at),
        8, prediction.threshold,
        8, score.probability,
        2, employee.age,
        8, employee.monthly_income,
        8, employee.commute_distance,
        2, employee.environment_satisfaction,
        1, employee.overtime is Overtime.YES,
        2, employee.years_since_promotion,
        2, employee.work_life_balance,
        2, employee.stock_option_level,
        2, employee.years_in_role,
        2, employee.years_at_company,
        8, employee.total_working_years,
    )
    # fmt: on
    return b"".join(
        (
            fixed,
            _doubles(score.contributions),
            _double(prediction.intercept),
            _text(prediction.account),
            _text(prediction.model_version),
            _text(prediction.risk.value),
            _small_integers(score.out_of_range),
            _NULL if employee.employee_ref is UNSET else _text.__wrapped__(employee.employee_ref),
        )
    )


@lru_cache(maxsize=64)
def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=64)
def _double(value: float | None) -> bytes:
    return _NULL if value is None else _DOUBLE.pack(8, value)


@lru_cache(maxsize=64)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _doubles(values: tuple[float, ...] | None) -> bytes:
    if values is None:
        return _NULL
    a, b, c, d, e, f, g, h, i, j, k = values
    # fmt: off
    return _DOUBLES.pack(
        20 + 12 * 11, 1, 0, _FLOAT8, 11, 1, 8, a, 8, b, 8, c, 8, d, 8, e, 8, f, 8, g, 8, h, 8, i, 8, j, 8, k
    )
    # fmt: on


@lru_cache(maxsize=4096)
def _small_integers(values: tuple[int, ...]) -> bytes:
    if not values:
        return struct.pack("!iiii", 12, 0, 0, _INT2)
    return _ARRAY.pack(20 + 6 * len(values), 1, 0, _INT2, len(values), 1) + b"".join(
        struct.pack("!ih", 2, value) for value in values
    )
