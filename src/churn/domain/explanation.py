"""Why a model says what it says of one employee, in plain words."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Meta, Struct

from churn.domain.employee import FEATURES, Employee
from churn.domain.language import Language
from churn.domain.prediction import ModelInfo, Score

#: Log-odds below which a factor is called neutral: they move a probability by a tenth of a percentage
#: point at most (the logistic function is nowhere steeper than 1/4).
NEGLIGIBLE: Final = 0.004


def _titles() -> dict[str, str]:
    return {
        field.encode_name: meta.title
        for field in msgspec.structs.fields(Employee)
        if field.encode_name in FEATURES
        for meta in field.type.__metadata__
        if isinstance(meta, Meta) and meta.title
    }


#: What each feature is called, by language and wire name; in French, as in the published schema.
LABELS: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.FR: _titles(),
    Language.EN: dict(
        zip(
            FEATURES,
            (
                "Age",
                "Monthly income",
                "Commute distance",
                "Satisfaction with the environment",
                "Overtime",
                "Years since promotion",
                "Work-life balance",
                "Stock option level",
                "Years in current role",
                "Years at the company",
                "Total work experience",
            ),
            strict=True,
        )
    ),
}
_COLON: Final = {Language.FR: " : ", Language.EN: ": "}
_RAISES: Final = {Language.FR: "augmente le risque", Language.EN: "raises the risk"}
_LOWERS: Final = {Language.FR: "diminue le risque", Language.EN: "lowers the risk"}
_NEUTRAL: Final = {Language.FR: "ne change presque rien au risque", Language.EN: "hardly changes the risk"}


class Factor(Struct, frozen=True):
    """One feature's share in a prediction."""

    feature: str
    """Its name on the wire."""
    contribution: float
    """Log-odds, relative to the model's intercept."""
    sentence: str


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a model gives an employee a probability."""

    base_rate: float
    """Share of the training population that left, in (0, 1): what to compare the probability with."""
    baseline: str
    """The same as a sentence."""
    factors: tuple[Factor, ...]
    """Largest contribution first, whichever its sign; empty if the model does not explain itself."""


def explain(score: Score, model: ModelInfo, language: Language) -> Explanation:
    """Every factor of `score`, which `model` gave, in words of `language`."""
    factors = (
        [
            Factor(feature, contribution, sentence(feature, contribution, language))
            for feature, contribution in zip(FEATURES, score.contributions, strict=True)
        ]
        if score.contributions is not None
        else []
    )
    percent = round(100 * model.base_rate)
    baselines = {
        Language.FR: f"Dans la population d'apprentissage, {percent} % des employés sont partis.",
        Language.EN: f"In the training population, {percent}% of employees left.",
    }
    return Explanation(
        base_rate=model.base_rate,
        baseline=baselines[language],
        factors=tuple(sorted(factors, key=lambda factor: abs(factor.contribution), reverse=True)),
    )


def sentence(feature: str, contribution: float, language: Language) -> str:
    """What `contribution`, in log-odds, of `feature` means; only its direction is told."""
    effect = _NEUTRAL if abs(contribution) < NEGLIGIBLE else _RAISES if contribution > 0 else _LOWERS
    return LABELS[language][feature] + _COLON[language] + effect[language]
