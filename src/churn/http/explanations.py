"""`POST /explain/what-if`: why, and what could be changed."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg
from msgspec import Meta

from churn.domain.account import Account
from churn.domain.employee import Employee
from churn.domain.explanation import Explanation
from churn.domain.what_if import CAVEAT
from churn.http.json_body import StrictJSON
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.predictions import EXAMPLE
from churn.http.problems import problem_responses
from churn.use_cases.what_if import ExploreWhatIf

ExplanationRequest = Request[Account, object, Any]


class Lever(msgspec.Struct, frozen=True, kw_only=True):
    """Un seul changement, toutes choses égales par ailleurs."""

    feature: str
    current: float | str
    value: float | str
    probability: Annotated[float, Meta(description="Probabilité de départ après le changement.")]
    below_threshold: Annotated[bool, Meta(description="Le départ ne serait plus prédit.")]
    sentence: str


class WhatIfAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Pourquoi ce risque, et ce qui l'abaisserait."""

    model_version: str
    probability: Annotated[float, Meta(ge=0, le=1, description="Probabilité de départ en l'état.")]
    threshold: float
    explanation: Annotated[
        Explanation, Meta(description="Ce que pèse chaque variable, et la population à laquelle comparer.")
    ]
    changes: Annotated[
        tuple[Lever, ...],
        Meta(
            description=(
                "Au plus un par levier de l'employeur : d'abord ceux qui ramènent sous le seuil, puis la plus basse "
                "probabilité."
            )
        ),
    ]
    caveat: Annotated[str, Meta(description="Ce que ces leviers ne promettent pas.")]


class ExplanationController(Controller):
    """Explain; nothing is remembered."""

    path = "/explain"
    tags = ["Prédictions"]
    security = [{"basic": []}]

    @post(
        "/what-if",
        dto=StrictJSON[Employee],
        return_dto=None,
        status_code=200,
        summary="Chercher ce qui abaisserait le risque",
        description=(
            "Les changements, un à la fois, qu'un employeur peut faire : heures supplémentaires, équilibre, "
            "environnement, trajet, revenu jusqu'à +20 %. Rien n'est enregistré."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 413, 415, 422, 429, 503),
        sync_to_thread=False,
    )
    def what_if(
        self,
        data: Annotated[Employee, BodyKwarg(examples=[Example(summary="Risque élevé", value=EXAMPLE)])],
        request: ExplanationRequest,
        explore_what_if: NamedDependency[ExploreWhatIf],
    ) -> WhatIfAnswer:
        """One employee in, levers out."""
        language = language_of(request)
        explanation, found = explore_what_if(data, language)
        return WhatIfAnswer(
            model_version=found.model_version,
            probability=found.probability,
            threshold=found.threshold,
            explanation=explanation,
            changes=tuple(
                Lever(**msgspec.structs.asdict(change), sentence=change.sentence(language)) for change in found.changes
            ),
            caveat=CAVEAT[language],
        )
