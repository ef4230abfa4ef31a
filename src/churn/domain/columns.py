"""What the columns of a file of employees may be called, and the words that may stand in them."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from churn.domain.employee import FEATURES, Overtime
from churn.domain.errors import UnsuitableFile

#: Column of the IBM data for each feature, in the order of `FEATURES`.
IBM_COLUMNS: Final[tuple[str, ...]] = (
    "Age",
    "MonthlyIncome",
    "DistanceFromHome",
    "EnvironmentSatisfaction",
    "OverTime",
    "YearsSinceLastPromotion",
    "WorkLifeBalance",
    "StockOptionLevel",
    "YearsInCurrentRole",
    "YearsAtCompany",
    "TotalWorkingYears",
)
#: Columns that may tell employees apart, the first one there counts.
IDENTIFIERS: Final = ("employee_ref", "id_employee", "EmployeeNumber")
#: By feature, what a word of the IBM data means: its ordinal columns, which its code book numbers from 1, and overtime.
LABELS: Final[Mapping[str, Mapping[object, object]]] = {
    "satisfaction_environnement": {"Low": 1, "Medium": 2, "High": 3, "Very_High": 4},
    "satisfaction_equilibre": {"Bad": 1, "Good": 2, "Better": 3, "Best": 4},
    "heures_supp": {"Yes": Overtime.YES, "No": Overtime.NO},
}


class Layout(Struct, frozen=True):
    """Which column of a file holds what."""

    columns: tuple[str, ...]
    """All of them, in the file's order."""
    features: tuple[str, ...]
    """Those of the model's inputs, in the order of `FEATURES`."""
    employee_ref: str | None
    """That of the pseudonym, if there is one."""


def find_layout(columns: Sequence[str]) -> Layout:
    """Where the features are among `columns`, each in the wire's or in the IBM data's spelling.

    Raises:
        UnsuitableFile: naming every column that is missing, there in both spellings, or there twice.
    """
    problems = [
        f"column {name} is there twice" for name in sorted({name for name in columns if columns.count(name) > 1})
    ]
    found = []
    for wire, ibm in zip(FEATURES, IBM_COLUMNS, strict=True):
        there = [name for name in (wire, ibm) if name in columns]
        if len(there) == 1:
            found += there
        elif there:
            problems.append(f"columns {wire} and {ibm} are both there: which one?")
        else:
            others = {name.strip().lower(): name for name in columns if name not in {*FEATURES, *IBM_COLUMNS}}
            close = [match for name in (wire, ibm) for match in get_close_matches(name.lower(), others, n=1)]
            hint = f" (is it {others[close[0]]!r}?)" if close else ""
            problems.append(f"column {wire}, or {ibm}, is missing{hint}")
    if problems:
        raise UnsuitableFile("; ".join(problems))
    reference = next((name for name in ("employee_ref", "EmployeeNumber") if name in columns), None)
    return Layout(tuple(columns), tuple(found), reference)
