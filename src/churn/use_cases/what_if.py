"""What could be done about this employee's risk?"""

from churn.domain.employee import Employee
from churn.domain.what_if import WhatIf, what_if
from churn.ports import Predictor


class ExploreWhatIf:
    """Tries the changes that an employer can make, one at a time; nothing is remembered."""

    def __init__(self, *, predictor: Predictor) -> None:
        self._predictor = predictor

    def __call__(self, employee: Employee) -> WhatIf:
        """The single changes that lower the probability of leaving, best first, from some forty scores."""
        return what_if(employee, self._predictor.info, self._predictor.predict)
