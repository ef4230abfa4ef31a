"""What is kept of one person, told so that the person can read it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from churn.domain.activation import ShadowScore
from churn.domain.employee import FEATURES, Employee
from churn.domain.explanation import LABELS, NEGLIGIBLE, sentence
from churn.domain.language import Language
from churn.domain.outcome import Outcome
from churn.domain.prediction import RISK_MESSAGES, Prediction, Risk
from churn.domain.review import Decision, Review

#: Factors that an explanation in words names.
_MOST_FACTORS: Final = 3


class Kept(Struct, frozen=True, kw_only=True):
    """A prediction with everything that hangs on it."""

    prediction: Prediction
    shadow_scores: Sequence[ShadowScore]
    """By version."""
    outcomes: Sequence[Outcome]
    """Newest first."""
    reviews: Sequence[Review]
    """Newest first."""


class Removed(Struct, frozen=True, kw_only=True):
    """How many rows were removed."""

    predictions: int
    shadow_scores: int
    outcomes: int
    reviews: int


class PersonalPrediction(Struct, frozen=True, kw_only=True):
    """One prediction, as its subject is told of it."""

    explanation: str
    """In words."""
    id: UUID
    made_at: datetime
    requested_by: str
    model_version: str
    probability: float
    threshold: float
    risk: Risk
    values: Employee
    """What the model was told."""
    contributions: Mapping[str, float] | None
    """Log-odds by feature; None if the model does not explain itself."""
    outside_training_range: tuple[str, ...]
    """Features whose value the model knew nothing like; it was scored at the edge."""
    shadow_scores: tuple[ShadowScore, ...]
    """What versions on trial made of the same values; nobody was answered with them."""
    outcomes: tuple[Outcome, ...]
    """What was recorded later, newest first; the first counts."""
    reviews: tuple[Review, ...]
    """What people concluded, newest first; the first counts."""


class PersonalRecord(Struct, frozen=True, kw_only=True):
    """All that is kept of one person."""

    employee_ref: str
    exported_at: datetime
    about: tuple[str, ...]
    """What this is and what the person may ask for, in words."""
    predictions: tuple[PersonalPrediction, ...]
    """Oldest first."""


#: What comes before the predictions.
ABOUT: Final[Mapping[Language, tuple[str, ...]]] = {
    Language.FR: (
        (
            "Ce fichier contient tout ce que le service churn garde sous ce pseudonyme. Il ne connaît pas votre nom : "
            "seul votre employeur sait de qui c'est le pseudonyme."
        ),
        (
            "Chaque prédiction estime la probabilité qu'une personne dont la situation est la vôtre quitte "
            "l'entreprise. C'est une aide à la décision : elle ne décide de rien à elle seule, et peut se tromper."
        ),
        (
            "Un modèle statistique l'a calculée, à partir des valeurs données ci-dessous sous « values » et de rien "
            "d'autre. « contributions » dit ce que chacune a pesé : au-dessus de zéro, elle augmente la probabilité ; "
            "au-dessous, elle la diminue."
        ),
        (
            "Vous pouvez demander que ces valeurs soient corrigées, que tout soit effacé, et qu'une personne revoie ce "
            "qui en a été conclu (règlement général sur la protection des données, articles 15 à 17, 21 et 22)."
        ),
    ),
    Language.EN: (
        (
            "This file holds everything that the churn service keeps under this pseudonym. It does not know your name: "
            "only your employer can tell whose pseudonym it is."
        ),
        (
            "Each prediction estimates the probability that somebody in your situation leaves the company. It supports "
            "decisions: it decides nothing by itself, and it can be wrong."
        ),
        (
            'A statistical model computed it, from the values given below under "values" and from nothing else. '
            '"contributions" says what each of them weighed: above zero it raises the probability, below zero it '
            "lowers it."
        ),
        (
            "You may ask for these values to be corrected, for everything to be erased, and for a person to look again "
            "at what was concluded (General Data Protection Regulation, articles 15 to 17, 21 and 22)."
        ),
    ),
}
_ESTIMATED: Final = {
    Language.FR: (
        "Le {day}, le modèle a estimé à {percent} % la probabilité de départ. {message} : "
        "le départ est dit probable à partir de {threshold} %."
    ),
    Language.EN: (
        "On {day} the model estimated the probability of leaving at {percent}%. {message}: "
        "leaving is called likely from {threshold}% on."
    ),
}
_WEIGHED: Final = {Language.FR: "Ce qui a le plus pesé : {}.", Language.EN: "What weighed most: {}."}
_BETWEEN: Final = {Language.FR: " ; ", Language.EN: "; "}
_UNLIKE: Final = {
    Language.FR: "Le modèle n'a rien appris de valeurs comme celles-ci : {}.",
    Language.EN: "The model has learnt nothing of values like these: {}.",
}
#: By language, and whether the person has left.
_SINCE: Final = {
    Language.FR: {
        True: "Depuis, le départ est noté au {}.",
        False: "Depuis, la présence est notée au {}.",
    },
    Language.EN: {
        True: "Since then, leaving was recorded as of {}.",
        False: "Since then, still being there was recorded as of {}.",
    },
}
_REVIEWED: Final[Mapping[Language, Mapping[Decision | None, str]]] = {
    Language.FR: {
        None: "Personne ne l'a revue.",
        Decision.ACCEPTED: "Une personne l'a revue et s'y accorde.",
        Decision.OVERRIDDEN: "Une personne l'a revue et ne l'a pas retenue.",
        Decision.DISMISSED: "Une personne l'a revue et n'en a fait aucun usage.",
    },
    Language.EN: {
        None: "Nobody has reviewed it.",
        Decision.ACCEPTED: "A person reviewed it and agreed with it.",
        Decision.OVERRIDDEN: "A person reviewed it and overrode it.",
        Decision.DISMISSED: "A person reviewed it and made no use of it.",
    },
}


def tell(kept: Kept, language: Language) -> PersonalPrediction:
    """One prediction with what hangs on it, explained in `language`."""
    prediction, score = kept.prediction, kept.prediction.score
    return PersonalPrediction(
        explanation=" ".join(_sentences(kept, language)),
        id=prediction.id,
        made_at=prediction.created_at,
        requested_by=prediction.account,
        model_version=prediction.model_version,
        probability=score.probability,
        threshold=prediction.threshold,
        risk=prediction.risk,
        values=prediction.employee,
        contributions=None if score.contributions is None else dict(zip(FEATURES, score.contributions, strict=True)),
        outside_training_range=tuple(FEATURES[index] for index in score.out_of_range),
        shadow_scores=tuple(kept.shadow_scores),
        outcomes=tuple(kept.outcomes),
        reviews=tuple(kept.reviews),
    )


def _sentences(kept: Kept, language: Language) -> list[str]:
    prediction, score = kept.prediction, kept.prediction.score
    said = [
        _ESTIMATED[language].format(
            day=prediction.created_at.date(),
            percent=round(100 * score.probability),
            message=RISK_MESSAGES[language][prediction.risk],
            threshold=round(100 * prediction.threshold),
        )
    ]
    weights = sorted(zip(FEATURES, score.contributions or (), strict=False), key=lambda item: -abs(item[1]))
    factors = [
        sentence(feature, weight, language) for feature, weight in weights[:_MOST_FACTORS] if abs(weight) >= NEGLIGIBLE
    ]
    if factors:
        said.append(_WEIGHED[language].format(_BETWEEN[language].join(factors)))
    if score.out_of_range:
        names = (LABELS[language][FEATURES[index]] for index in score.out_of_range)
        said.append(_UNLIKE[language].format(", ".join(names)))
    if kept.outcomes:
        newest = kept.outcomes[0]
        said.append(_SINCE[language][newest.left].format(newest.observed_on))
    said.append(_REVIEWED[language][kept.reviews[0].decision if kept.reviews else None])
    return said
