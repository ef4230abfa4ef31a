"""What a person is told of the predictions about them."""

from datetime import UTC, date, datetime

import pytest
from tests.builders import prediction

from churn.domain.activation import ShadowScore
from churn.domain.employee import FEATURES
from churn.domain.language import Language
from churn.domain.outcome import Outcome
from churn.domain.personal_data import Kept, tell
from churn.domain.prediction import Risk, Score
from churn.domain.review import Decision, Review

AT = datetime(2026, 3, 2, tzinfo=UTC)
#: Overtime weighs most, then income; all else is negligible.
SHARES = tuple({"heures_supp": 0.9, "revenu_mensuel": -0.5}.get(feature, 0.001) for feature in FEATURES)


def kept(*, left: bool | None = None, decision: Decision | None = None, score: Score | None = None) -> Kept:
    made = prediction(score=score or Score(0.8125, SHARES, (1,)), threshold=0.26, risk=Risk.HIGH)
    outcome = Outcome(
        prediction_id=made.id, left=bool(left), observed_on=date(2026, 9, 1), recorded_at=AT, account="anne"
    )
    review = Review(
        prediction_id=made.id,
        decision=decision or Decision.ACCEPTED,
        reason="Entretien.",
        reviewed_at=AT,
        account="anne",
    )
    return Kept(
        prediction=made,
        shadow_scores=[ShadowScore(prediction_id=made.id, model_version="b", probability=0.5, leaves=True)],
        outcomes=[] if left is None else [outcome],
        reviews=[] if decision is None else [review],
    )


def test_it_is_explained_in_french_and_english() -> None:
    """The estimate, the threshold, what weighed most, what was unusual, what came of it, and who looked at it."""
    item = kept(left=True, decision=Decision.OVERRIDDEN)
    assert tell(item, Language.FR).explanation == (
        "Le 2026-03-01, le modèle a estimé à 81 % la probabilité de départ. Risque de départ élevé : le départ est dit "
        "probable à partir de 26 %. Ce qui a le plus pesé : Heures supplémentaires : augmente le risque ; Revenu "
        "mensuel : diminue le risque. Le modèle n'a rien appris de valeurs comme celles-ci : Revenu mensuel. "
        "Depuis, le départ est noté au 2026-09-01. Une personne l'a revue et ne l'a pas retenue."
    )
    assert tell(item, Language.EN).explanation == (
        "On 2026-03-01 the model estimated the probability of leaving at 81%. High risk of leaving: leaving is called "
        "likely from 26% on. What weighed most: Overtime: raises the risk; Monthly income: lowers the risk. The model "
        "has learnt nothing of values like these: Monthly income. Since then, leaving was recorded as of 2026-09-01. A "
        "person reviewed it and overrode it."
    )


@pytest.mark.parametrize("language", list(Language))
def test_what_is_not_known_is_not_told(language: Language) -> None:
    """A model that does not explain itself, no outcome, no review."""
    told = tell(kept(score=Score(0.5, None)), language)
    assert told.contributions is None
    assert told.explanation.count(".") == 3
    assert ("Personne ne l'a revue." if language is Language.FR else "Nobody has reviewed it.") in told.explanation


@pytest.mark.parametrize(
    ("left", "decision", "words"),
    [
        (False, Decision.ACCEPTED, "still being there was recorded as of 2026-09-01. A person reviewed it and agreed"),
        (True, Decision.DISMISSED, "leaving was recorded as of 2026-09-01. A person reviewed it and made no use of it"),
    ],
)
def test_every_outcome_and_decision_has_its_words(left: bool, decision: Decision, words: str) -> None:
    """Whatever came of it."""
    assert words in tell(kept(left=left, decision=decision), Language.EN).explanation


def test_nothing_is_left_out() -> None:
    """All that is kept is in the record, by the names of the wire."""
    item = kept(left=True, decision=Decision.ACCEPTED)
    told = tell(item, Language.FR)
    assert (told.id, told.made_at, told.requested_by) == (
        item.prediction.id, item.prediction.created_at, item.prediction.account,
    )  # fmt: skip
    assert told.values == item.prediction.employee
    assert told.contributions == dict(zip(FEATURES, SHARES, strict=True))
    assert told.outside_training_range == ("revenu_mensuel",)
    assert (list(told.shadow_scores), list(told.outcomes), list(told.reviews)) == (
        item.shadow_scores, item.outcomes, item.reviews,
    )  # fmt: skip
