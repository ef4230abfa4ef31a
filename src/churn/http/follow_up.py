"""What follows a prediction: `POST /predictions/{id}/outcome` and `POST /predictions/{id}/review`."""

from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from churn.domain.account import Account
from churn.domain.activation import REASON_PATTERN
from churn.domain.errors import OutcomesRefused, ReportFault
from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.domain.outcome import Outcome
from churn.domain.review import Decision, Review
from churn.http.json_body import FieldError, InvalidBody, StrictJSON
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.use_cases.record_outcomes import RecordOutcome
from churn.use_cases.review_prediction import ReviewPrediction

FollowUpRequest = Request[Account, object, Any]

PredictionId = Annotated[UUID, PathParameter(description="`id` de la prédiction.")]
Left = Annotated[bool, Meta(title="Parti", description="Vrai si la personne est partie.", examples=[True])]
ObservedOn = Annotated[
    date,
    Meta(
        title="Observé le",
        description=(
            "Le jour du départ, ou un jour où la personne était encore là (UTC) : ni avant la prédiction, ni dans "
            "l'avenir."
        ),
        examples=["2026-11-02"],
    ),
]

_FAULTS: Final[dict[str, Text]] = {
    "in-future": {
        Language.FR: "Ce jour n'est pas encore venu.",
        Language.EN: "This day has not come yet.",
    },
    "before-prediction": {
        Language.FR: "Ce jour précède la prédiction.",
        Language.EN: "This day is before the prediction.",
    },
}


class NewOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ce qu'il est advenu de la personne."""

    left: Left
    observed_on: ObservedOn


class NewReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ce qu'une personne conclut d'une prédiction."""

    decision: Annotated[
        Decision,
        Meta(
            title="Décision",
            description=(
                "`accepted` : la prédiction s'accorde avec ce que l'on sait ; `overridden` : on sait mieux, elle n'est "
                "pas retenue ; `dismissed` : elle est restée sans usage."
            ),
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            pattern=REASON_PATTERN,
            title="Raison",
            description="1 à 500 caractères, sans caractère de contrôle.",
            examples=["Entretien du 3 novembre : un changement de poste est convenu."],
        ),
    ]


class FollowUpController(Controller):
    """Say what really happened, and what a person makes of it."""

    tags = ["Suivi"]
    security = [{"basic": []}]

    @post(
        "/predictions/{prediction_id:uuid}/outcome",
        dto=StrictJSON[NewOutcome],
        return_dto=None,
        status_code=200,
        summary="Dire ce qu'il est advenu",
        description=(
            "Sans effet si c'est déjà ce qui est enregistré. Un autre résultat s'ajoute au précédent, qui reste avec "
            "qui et quand ; le plus récent compte."
        ),
        response_description="Le résultat qui compte",
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 413, 415, 422, 429, 503),
    )
    async def record_outcome(
        self,
        prediction_id: PredictionId,
        data: JSONBody[NewOutcome],
        request: FollowUpRequest,
        record_outcome: NamedDependency[RecordOutcome],
    ) -> Outcome:
        """The outcome that counts."""
        try:
            return await record_outcome(
                prediction_id, left=data.left, observed_on=data.observed_on, account=request.user.username
            )
        except OutcomesRefused as error:
            raise InvalidBody([_field_error(fault) for fault in error.faults]) from None

    @post(
        "/predictions/{prediction_id:uuid}/review",
        dto=StrictJSON[NewReview],
        return_dto=None,
        status_code=200,
        summary="Dire ce qu'on en conclut",
        description=(
            "Au nom du compte qui demande. Sans effet si c'est déjà sa dernière conclusion. Une autre s'ajoute ; la "
            "plus récente compte."
        ),
        response_description="La conclusion qui compte",
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 413, 415, 422, 429, 503),
    )
    async def review(
        self,
        prediction_id: PredictionId,
        data: JSONBody[NewReview],
        request: FollowUpRequest,
        review_prediction: NamedDependency[ReviewPrediction],
    ) -> Review:
        """The review that counts."""
        return await review_prediction(
            prediction_id, decision=data.decision, reason=data.reason, account=request.user.username
        )


def _field_error(fault: ReportFault) -> FieldError:
    return FieldError(f"/{fault.field}", fault.code, _FAULTS[fault.code])
