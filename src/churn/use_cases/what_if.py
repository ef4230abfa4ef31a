"""What could be done about this employee's risk?"""

from churn.domain.employee import Employee
from churn.domain.explanation import Explanation, explain
from churn.domain.language import Language
from churn.domain.what_if import WhatIf, what_if
from churn.use_cases.serving_model import ServingModel


class ExploreWhatIf:
    """Says why, and tries the changes that an employer can make, one at a time; nothing is remembered."""

    def __init__(self, *, serving: ServingModel) -> None:
        self._serving = serving

    def __call__(self, employee: Employee, language: Language) -> tuple[Explanation, WhatIf]:
        """Why the risk is what it is, and the single changes that lower it; takes well under a millisecond.

        Raises:
            ModelUnavailable: there is no model.
        """
        # Read once, so that both speak of the same model.
        predictor = self._serving.current
        model = predictor.info
        return explain(predictor.predict(employee), model, language), what_if(employee, model, predictor.predict)
