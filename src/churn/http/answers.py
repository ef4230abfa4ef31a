"""What is told of a prediction, in the words of the reader's language."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from churn.domain.employee import FEATURES, Employee
from churn.domain.explanation import NEGLIGIBLE, sentence
from churn.domain.language import Language
from churn.domain.prediction import RISK_MESSAGES, Prediction, Risk

_INDICES: Final = range(len(FEATURES))
_OVERTIME: Final = FEATURES.index("heures_supp")
_WARNINGS: Final = {
    Language.FR: "Hors de la plage d'apprentissage : évalué à son bord.",
    Language.EN: "Outside the training range: scored at its edge.",
}
#: By language and feature: the sentence for a neutral factor, for one that raises the risk, and last for one that
#: lowers it, so that a direction of 0, 1 or -1 is its index.
_SENTENCES: Final = {
    language: tuple(
        tuple(sentence(feature, direction, language) for direction in (0.0, 1.0, -1.0)) for feature in FEATURES
    )
    for language in Language
}


# `gc=False`, here and in the domain: no cycle can lead through what is frozen and holds only values, and the collector
# would otherwise spend more time on ten thousand answers than it takes to make them.
class Contribution(msgspec.Struct, frozen=True, gc=False):
    """Ce qu'une variable ajoute au risque, en log-cotes."""

    feature: str
    value: float | str
    log_odds: float
    sentence: Annotated[str, Meta(description="La même chose en mots, en français ou en anglais (Accept-Language).")]


class Caution(msgspec.Struct, frozen=True, gc=False):
    """Ce qui rend la prédiction moins sûre."""

    field: str
    code: str
    detail: str


class PredictionAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Une prédiction : une aide à la décision, jamais une décision."""

    prediction: Annotated[int, Meta(ge=0, le=1, description="1 : départ probable ; 0 : non.")]
    probability: Annotated[float, Meta(ge=0, le=1, description="Probabilité de départ.")]
    message: Annotated[str, Meta(description="Le risque en mots, en français ou en anglais (Accept-Language).")]
    id: UUID
    threshold: Annotated[float, Meta(description="Probabilité à partir de laquelle `prediction` vaut 1.")]
    risk: Risk
    model_version: str
    intercept: Annotated[
        float | None, Meta(description="Log-cotes de départ : avec les contributions, leur somme est le logit.")
    ]
    contributions: Annotated[
        tuple[Contribution, ...] | None,
        Meta(description="De la plus forte à la plus faible ; null si le modèle ne s'explique pas."),
    ]
    warnings: tuple[Caution, ...]


class RememberedPrediction(PredictionAnswer, frozen=True, kw_only=True, gc=False):
    """Une prédiction de l'historique : la réponse, qui l'a demandée, quand, et pour quelles valeurs."""

    created_at: datetime
    account: str
    employee: Employee


def _contributing(language: Language) -> Callable[[int, float | str, float], Contribution]:
    def contribution(index: int, value: float | str, log_odds: float) -> Contribution:
        direction = 1 if log_odds >= NEGLIGIBLE else -1 if log_odds <= -NEGLIGIBLE else 0
        return Contribution(FEATURES[index], value, log_odds, _SENTENCES[language][index][direction])

    # Most of a workforce's values are whole numbers, and each has one contribution.
    return lru_cache(maxsize=1 << 14)(contribution)


_CONTRIBUTIONS: Final = {language: _contributing(language) for language in Language}


def _explain(prediction: Prediction, language: Language) -> tuple[Contribution, ...] | None:
    log_odds = prediction.score.contributions
    if log_odds is None:
        return None
    values: list[float | str] = list(prediction.employee.features())
    values[_OVERTIME] = prediction.employee.overtime.value
    # Like the rest of the answer's path, written for speed: a loop in C costs half of one here.
    contributions = list(map(_CONTRIBUTIONS[language], _INDICES, values, log_odds))
    strongest_first = sorted(_INDICES, key=list(map(abs, log_odds)).__getitem__, reverse=True)
    return tuple([contributions[index] for index in strongest_first])


def answer_to(prediction: Prediction, language: Language) -> PredictionAnswer:
    """What is told of `prediction`."""
    score = prediction.score
    return PredictionAnswer(
        prediction=int(prediction.leaves),
        probability=score.probability,
        message=RISK_MESSAGES[language][prediction.risk],
        id=prediction.id,
        threshold=prediction.threshold,
        risk=prediction.risk,
        model_version=prediction.model_version,
        intercept=prediction.intercept,
        contributions=_explain(prediction, language),
        warnings=tuple(
            [Caution(FEATURES[index], "out_of_training_range", _WARNINGS[language]) for index in score.out_of_range]
        ),
    )


def remembered(prediction: Prediction, language: Language) -> RememberedPrediction:
    """What is told of `prediction` when it is read again."""
    return RememberedPrediction(
        **msgspec.structs.asdict(answer_to(prediction, language)),
        created_at=prediction.created_at,
        account=prediction.account,
        employee=prediction.employee,
    )
