"""What is told of a prediction, in the words of the reader's language."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

import msgspec

from churn.domain.employee import FEATURES
from churn.domain.explanation import NEGLIGIBLE, sentence
from churn.domain.language import Language
from churn.domain.prediction import RISK_MESSAGES, Prediction
from churn.wire import Caution, Contribution, PredictionAnswer, RememberedPrediction

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


def contribution(index: int, value: float | str, log_odds: float, language: Language) -> Contribution:
    """What is told of the feature at `index`, whose `value` adds `log_odds`."""
    direction = 1 if log_odds >= NEGLIGIBLE else -1 if log_odds <= -NEGLIGIBLE else 0
    return Contribution(FEATURES[index], value, log_odds, _SENTENCES[language][index][direction])


# Most of a workforce's values are whole numbers, and each has one contribution.
_CONTRIBUTIONS: Final = {
    language: lru_cache(maxsize=1 << 14)(partial(contribution, language=language)) for language in Language
}


def cautions(out_of_range: Sequence[int], language: Language) -> tuple[Caution, ...]:
    """What is told of the features at those indices, whose values are out of range."""
    return tuple([Caution(FEATURES[index], "out_of_training_range", _WARNINGS[language]) for index in out_of_range])


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
        warnings=cautions(score.out_of_range, language),
    )


def remembered(prediction: Prediction, language: Language) -> RememberedPrediction:
    """What is told of `prediction` when it is read again."""
    return RememberedPrediction(
        **msgspec.structs.asdict(answer_to(prediction, language)),
        created_at=prediction.created_at,
        account=prediction.account,
        employee=prediction.employee,
        run_id=prediction.run_id,
    )
