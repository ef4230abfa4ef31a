"""What the columns of a file of employees may be called, and the words that may stand in them."""

from collections.abc import Mapping
from typing import Final

from churn.domain.employee import Overtime

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
