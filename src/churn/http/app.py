"""The ASGI application."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.types import ASGIApp

from churn.container import build_container, running, trace_container
from churn.http.accounts import AccountController
from churn.http.audit import AuditController
from churn.http.authentication import BasicAuthentication
from churn.http.batch import BatchController
from churn.http.connection import ChurnRequest
from churn.http.console.router import console
from churn.http.dependencies import dependencies
from churn.http.documentation import documentation_handlers, openapi_config
from churn.http.employees import EmployeeController
from churn.http.explanations import ExplanationController
from churn.http.farewell import Farewell
from churn.http.follow_up import FollowUpController
from churn.http.health import HealthController, MetricsController
from churn.http.inference import inference
from churn.http.metrics import Metrics
from churn.http.models import ModelController
from churn.http.monitoring import MonitoringController
from churn.http.observability import Observed, configure_logging
from churn.http.operation import name_all_methods
from churn.http.pages.assets import serve_asset
from churn.http.pages.landing import landing
from churn.http.predictions import PredictionController, predict_with
from churn.http.problems import EXCEPTION_HANDLERS
from churn.ports import Clock
from churn.settings import Settings, read_settings


def create_app(settings: Settings, *, clock: Clock | None = None) -> ASGIApp:
    """The service under `settings`, which name a database that is migrated; with a `clock`, in its time."""
    metrics = Metrics()
    farewell = Farewell(settings.shutdown_delay)
    container = build_container(
        settings,
        on_prediction=metrics.predicted,
        on_predictions=metrics.predicted_many,
        on_flush=metrics.history_flushed,
        on_serving=metrics.serving_changed,
        on_shadow=metrics.shadow_scored,
        on_check=metrics.checked,
        clock=clock,
    )
    if settings.tracing:
        trace_container(container)

    authentication = BasicAuthentication(container.authenticate(), metrics)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with farewell.heeding_sigterm():
            async with running(container):
                yield

    app = Litestar(
        route_handlers=[
            predict_with(
                authentication,
                container.history(),
                container.predict_attrition(),
                container.predict_workforce(),
                container.answer_once(),
            ),
            PredictionController,
            BatchController,
            FollowUpController,
            EmployeeController,
            ExplanationController,
            inference(),
            ModelController,
            MonitoringController,
            AccountController,
            AuditController,
            HealthController,
            Router("/", route_handlers=[MetricsController], opt={"exclude_from_auth": settings.metrics_public}),
            landing,
            console(container.resume_session(), settings),
            serve_asset,
            *documentation_handlers(),
        ],
        openapi_config=openapi_config(),
        dependencies=dependencies(container, metrics, farewell),
        request_class=ChurnRequest,
        before_request=authentication,
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lifespan],
        request_max_body_size=settings.max_body_size,
        logging_config=None,
    )
    name_all_methods(app)
    observed = Observed(app, metrics)
    if not settings.tracing:
        return observed
    from churn.http.tracing import Traced  # noqa: PLC0415

    return Traced(observed)


def from_environment() -> ASGIApp:
    """What a server process runs: everything it needs to know is in its environment."""
    settings = read_settings()
    configure_logging(settings.log_level)
    app = create_app(settings)
    # All that has been imported and built lives as long as the process: the garbage collector, which would go through
    # it every few batches for a tenth of a second, need not look at it again.
    gc.collect()
    gc.freeze()
    return app
