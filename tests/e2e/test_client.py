"""The synchronous client of `churn.client` against a running service."""

import msgspec
from tests.builders import LEAVER, employee
from tests.e2e.service import PASSWORD, USERNAME, Service

from churn.adapters.system_clock import SystemClock
from churn.client import Client
from churn.domain.employee import Employee
from churn.domain.prediction import HistoryFilter
from churn.domain.review import Decision
from churn.wire import OutcomeReport


def test_all_that_it_can_do(service: Service) -> None:
    """Predict one and many, page through the history, say what followed, and look at the models."""
    today = SystemClock().now().date()
    with Client(service.url, (USERNAME, PASSWORD)) as churn:
        answer = churn.predict(msgspec.convert(LEAVER, Employee), key="only-once")
        assert churn.predict(msgspec.convert(LEAVER, Employee), key="only-once") == answer
        many = list(churn.predict_many(employee(employee_ref="E-client") for _ in range(1200)))
        assert {item.id for item in many} == {item.id for item in churn.history(HistoryFilter(employee_ref="E-client"))}
        outcome = churn.record_outcome(answer.id, left=True, observed_on=today)
        assert churn.record_outcomes([OutcomeReport(True, today, employee_ref="E-client")]).recorded == 1200
        review = churn.review(answer.id, decision=Decision.DISMISSED, reason="Essai.")
        followed = churn.prediction(answer.id)
        assert (followed.outcomes, followed.reviews) == ((outcome,), (review,))
        assert churn.models().serving.version == answer.model_version
