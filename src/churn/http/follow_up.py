"""What follows a prediction: its outcome, alone or in a list, and what people make of it."""

from typing import Annotated, ClassVar, Final
from uuid import UUID

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET

from churn.domain.errors import OutcomesRefused, ReportFault
from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.domain.outcome import Outcome
from churn.domain.review import Review
from churn.http.connection import ChurnRequest, JSONAnswer, answer_response
from churn.http.idempotency import OnceOperation, once
from churn.http.json_body import MOST_ERRORS, FieldError, InvalidBody, StrictJSON
from churn.http.problems import problem_responses
from churn.http.rows import RowsOperation, StrictRows
from churn.use_cases.answer_once import AnswerOnce
from churn.use_cases.record_outcomes import Recorded, RecordOutcome, RecordOutcomes, Report
from churn.use_cases.review_prediction import ReviewPrediction
from churn.wire import NewOutcome, NewReview, OutcomeReport

PredictionId = Annotated[UUID, PathParameter(description="`id` de la prédiction.")]

_FAULTS: Final[dict[str, Text]] = {
    "in-future": {
        Language.FR: "Ce jour n'est pas encore venu.",
        Language.EN: "This day has not come yet.",
    },
    "before-prediction": {
        Language.FR: "Ce jour précède la prédiction.",
        Language.EN: "This day is before the prediction.",
    },
    "unknown": {
        Language.FR: "Il n'y a pas de prédiction sous cet identifiant.",
        Language.EN: "There is no prediction of this id.",
    },
    "contradiction": {
        Language.FR: "Une ligne précédente dit autre chose d'une même prédiction.",
        Language.EN: "An earlier row says something else of the same prediction.",
    },
}
_ONE_SUBJECT: Final[Text] = {
    Language.FR: "Doit nommer soit `prediction_id`, soit `employee_ref`.",
    Language.EN: "Must name either `prediction_id` or `employee_ref`.",
}


class ReportRows(StrictRows[OutcomeReport]):
    """In a CSV, yes and no may be said in several ways."""

    CELLS: ClassVar = {
        "left": dict.fromkeys(("true", "1", "oui", "yes"), True) | dict.fromkeys(("false", "0", "non", "no"), False)
    }


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
        operation_class=OnceOperation,
        responses=answer_response(Outcome, "Le résultat qui compte")
        | problem_responses(401, 404, 409, 413, 415, 422, 429, 503),
    )
    async def record_outcome(
        self,
        prediction_id: PredictionId,
        data: JSONBody[NewOutcome],
        request: ChurnRequest,
        record_outcome: NamedDependency[RecordOutcome],
        answer_once: NamedDependency[AnswerOnce],
    ) -> JSONAnswer:
        """The outcome that counts."""
        try:
            return await once(
                request,
                answer_once,
                lambda: record_outcome(
                    prediction_id, left=data.left, observed_on=data.observed_on, account=request.user.username
                ),
            )
        except OutcomesRefused as error:
            raise InvalidBody([_field_error(fault) for fault in error.faults]) from None

    @post(
        "/outcomes",
        dto=ReportRows,
        return_dto=None,
        status_code=200,
        summary="Dire ce qu'il est advenu de plusieurs personnes",
        description=(
            "Une liste JSON, ou du CSV avec une ligne de titres. Chaque ligne nomme une prédiction, ou un employé et "
            "alors toutes ses prédictions faites ce jour-là ou avant. Un départ déjà enregistré n'est pas effacé par "
            "ce que l'on observe ensuite : on revient parfois. Seul un autre jour de départ, avant l'horizon de la "
            "prédiction, le corrige. Tout est enregistré, ou rien : `422` nomme chaque ligne en cause, à partir de 0."
        ),
        operation_class=RowsOperation,
        responses=answer_response(Recorded, "Ce qui a été enregistré")
        | problem_responses(401, 409, 413, 415, 422, 429, 503),
    )
    async def record_outcomes(
        self,
        data: JSONBody[list[OutcomeReport]],
        request: ChurnRequest,
        record_outcomes: NamedDependency[RecordOutcomes],
        answer_once: NamedDependency[AnswerOnce],
    ) -> JSONAnswer:
        """How many were new, and which rows concern no prediction."""
        if wrong := [
            row for row, item in enumerate(data) if (item.prediction_id is UNSET) == (item.employee_ref is UNSET)
        ]:
            raise InvalidBody([FieldError(f"/{row}", "invalid", _ONE_SUBJECT) for row in wrong][:MOST_ERRORS])
        reports = [
            Report(
                left=item.left,
                observed_on=item.observed_on,
                prediction_id=None if item.prediction_id is UNSET else item.prediction_id,
                employee_ref=None if item.employee_ref is UNSET else item.employee_ref,
            )
            for item in data
        ]
        try:
            return await once(request, answer_once, lambda: record_outcomes(reports, account=request.user.username))
        except OutcomesRefused as error:
            raise InvalidBody([_field_error(fault, f"/{fault.row}") for fault in error.faults][:MOST_ERRORS]) from None

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
        operation_class=OnceOperation,
        responses=answer_response(Review, "La conclusion qui compte")
        | problem_responses(401, 404, 409, 413, 415, 422, 429, 503),
    )
    async def review(
        self,
        prediction_id: PredictionId,
        data: JSONBody[NewReview],
        request: ChurnRequest,
        review_prediction: NamedDependency[ReviewPrediction],
        answer_once: NamedDependency[AnswerOnce],
    ) -> JSONAnswer:
        """The review that counts."""
        return await once(
            request,
            answer_once,
            lambda: review_prediction(
                prediction_id, decision=data.decision, reason=data.reason, account=request.user.username
            ),
        )


def _field_error(fault: ReportFault, row: str = "") -> FieldError:
    return FieldError(f"{row}/{fault.field}", fault.code, _FAULTS[fault.code])
