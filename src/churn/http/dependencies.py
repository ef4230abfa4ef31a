"""The bridge from the container to the handlers, and nothing more."""

from collections.abc import Callable, Mapping
from typing import Any

from litestar.di import Provide

from churn.container import Container
from churn.http.farewell import Farewell
from churn.http.metrics import Metrics


def dependencies(container: Container, metrics: Metrics, farewell: Farewell) -> Mapping[str, Provide]:
    """What handlers may ask for by name; each is made once, by the container."""

    def provide[T](make: Callable[[], T]) -> Provide:
        # A function of its own, because `Provide(container.x)` raises, with its value cached by Litestar,
        # because asking the container at each request costs more than the answer.
        def provided() -> Any:  # noqa: ANN401 - the handler's annotation is the type
            return make()

        return Provide(provided, use_cache=True, sync_to_thread=False)

    return {
        "activate_model": provide(container.activate_model),
        "answer_once": provide(container.answer_once),
        "catalogue": provide(container.catalogue),
        "change_account": provide(container.change_account),
        "change_password": provide(container.change_password),
        "check_readiness": provide(container.check_readiness),
        "compare_models": provide(container.compare_models),
        "create_account": provide(container.create_account),
        "erase_employee": provide(container.erase_employee),
        "explore_what_if": provide(container.explore_what_if),
        "export_employee": provide(container.export_employee),
        "export_history": provide(container.export_history),
        "farewell": provide(lambda: farewell),
        "history": provide(container.history),
        "metrics": provide(lambda: metrics),
        "predict_attrition": provide(container.predict_attrition),
        "predict_workforce": provide(container.predict_workforce),
        "read_prediction": provide(container.read_prediction),
        "record_outcome": provide(container.record_outcome),
        "record_outcomes": provide(container.record_outcomes),
        "registry": provide(container.registry),
        "report_drift": provide(container.report_drift),
        "report_performance": provide(container.report_performance),
        "review_prediction": provide(container.review_prediction),
        "roll_back_model": provide(container.roll_back_model),
        "serving_model": provide(container.serving_model),
        "settings": provide(container.settings),
        "shadow_model": provide(container.shadow_model),
        "sign_in": provide(container.sign_in),
        "sign_out": provide(container.sign_out),
        "trail": provide(container.trail),
        "traffic": provide(container.traffic),
        "turns": provide(container.turns),
        "users": provide(container.users),
    }
