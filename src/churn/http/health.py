"""Is the process alive, is it ready, and how is it doing?"""

from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from churn.http.farewell import Farewell
from churn.http.metrics import Metrics
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.use_cases.check_readiness import CheckReadiness, Condition


class Liveness(msgspec.Struct, frozen=True):
    """Le processus répond."""

    status: Literal["alive"]


class Readiness(msgspec.Struct, frozen=True):
    """Ce dont une prédiction a besoin, et ce qui en manque."""

    status: Literal["ready", "unready"]
    checks: Annotated[
        dict[str, Condition],
        Meta(description="`lagging` : le modèle décidé a été refusé ici, et le précédent continue de répondre."),
    ]


class HealthController(Controller):
    """For orchestrators: no account needed, nothing secret told."""

    tags = ["Exploitation"]
    opt = {"exclude_from_auth": True}

    @get(
        "/livez",
        summary="Le processus est-il vivant ?",
        response_description="Il répond",
        operation_class=TrueOperation,
        sync_to_thread=False,
    )
    def live(self) -> Liveness:
        """Always yes, if it can say so."""
        return Liveness("alive")

    @get(
        "/readyz",
        summary="Peut-il répondre à une prédiction ?",
        description=(
            "Base de données, migrations et modèle ; 503 si l'un manque, et lequel. `running` manque avant un arrêt."
        ),
        responses={503: ResponseSpec(Readiness, description="Pas prêt", generate_examples=False)},
        response_description="Prêt",
        operation_class=TrueOperation,
    )
    async def ready(
        self, check_readiness: NamedDependency[CheckReadiness], farewell: NamedDependency[Farewell]
    ) -> Response[Readiness]:
        """Which part is ready."""
        checks = {"running": Condition.FAILED if farewell.begun else Condition.OK, **await check_readiness()}
        ready = Condition.FAILED not in checks.values()
        return Response(
            Readiness("ready" if ready else "unready", checks),
            status_code=200 if ready else 503,
            headers={"cache-control": "no-store"} | ({} if ready else {"retry-after": "1"}),
        )


class MetricsController(Controller):
    """For Prometheus."""

    tags = ["Exploitation"]

    @get(
        "/metrics",
        summary="Métriques au format de Prometheus",
        description="De tous les processus du service. Ouvert à tous, à moins d'un réglage contraire.",
        media_type="text/plain",
        response_description="Les métriques",
        responses=problem_responses(401, 429, 503),
        security=[{}, {"basic": []}],
        operation_class=TrueOperation,
        sync_to_thread=False,
    )
    def metrics(self, metrics: NamedDependency[Metrics]) -> Response[bytes]:
        """All workers' metrics."""
        content, media_type = metrics.expose()
        return Response(content, media_type=media_type, headers={"cache-control": "no-store"})
