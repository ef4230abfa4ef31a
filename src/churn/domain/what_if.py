"""Which single change, among those an employer can make, would lower the risk of one employee."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import fields, replace

from churn.domain.employee import Employee, Overtime
from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.domain.prediction import ModelInfo, Risk, Score

#: Largest raise that is explored, in percent; it is tried percent by percent.
MAX_RAISE: Final = 20
#: Greatest level of satisfaction and balance, and largest income, that an `Employee` can have.
MAX_LEVEL: Final = 4
MAX_INCOME: Final = 10_000_000.0
#: Probabilities closer than this are equal: the rounding of a sum of eleven numbers is far smaller.
TOLERANCE: Final = 1e-12

_WIRE_NAMES: Final = {field.name: field.encode_name for field in fields(Employee)}

#: What has to be said with every answer.
CAVEAT: Final[Mapping[Language, str]] = {
    Language.FR: (
        "Des leviers à discuter, pas des promesses : le modèle sait ce qui va ensemble, non ce qui en est la cause."
    ),
    Language.EN: "Levers to talk about, not promises: the model knows what goes together, not what causes what.",
}
_INSTEAD_OF: Final[Mapping[Language, str]] = {
    Language.FR: "{label} : {value} au lieu de {current}",
    Language.EN: "{label}: {value} instead of {current}",
}


class Change(Struct, frozen=True, kw_only=True):
    """One feature changed, and all others as they are."""

    feature: str
    """Its name on the wire."""
    current: float | str
    value: float | str
    """What it would be; `Oui` or `Non` for overtime."""
    probability: float
    """Of leaving, after the change."""
    below_threshold: bool
    """Whether the employee would no longer be classed as leaving."""

    def sentence(self, language: Language) -> str:
        """The change in words."""
        label = LABELS[language][self.feature]
        return _INSTEAD_OF[language].format(
            label=label, value=_word(self.value, language), current=_word(self.current, language)
        )


class WhatIf(Struct, frozen=True, kw_only=True):
    """One employee's risk, and what would lower it."""

    model_version: str
    probability: float
    """As the employee is."""
    threshold: float
    changes: tuple[Change, ...]
    """At most one per lever, only such as lower the probability: those that bring it below the
    threshold first, then the lowest probability first."""


def what_if(employee: Employee, model: ModelInfo, score: Callable[[Employee], Score]) -> WhatIf:
    """The best single change by each lever: overtime, balance, satisfaction, commute, income up to `MAX_RAISE` percent.

    Of an employee who is classed as leaving, the smallest change by a lever that undoes this; where
    there is none, and of any other employee, the change that lowers the probability most.

    Args:
        employee: as she or he is.
        model: that scores.
        score: the model's score of an employee.
    """
    now = score(employee).probability
    leaves = model.risk(now) is Risk.HIGH
    changes = []
    for lever, values in _levers(employee).items():
        current = getattr(employee, lever)
        best: Change | None = None
        for value in values:
            probability = score(replace(employee, **{lever: value})).probability
            below = model.risk(probability) is not Risk.HIGH
            # The first of equals stays: it is the smallest change.
            if probability < (now if best is None else best.probability) - TOLERANCE:
                best = Change(
                    feature=_WIRE_NAMES[lever],
                    current=current,
                    value=value,
                    probability=probability,
                    below_threshold=below,
                )
                if leaves and below:
                    break
        if best is not None:
            changes.append(best)
    changes.sort(key=lambda change: (not change.below_threshold, change.probability))
    return WhatIf(model_version=model.version, probability=now, threshold=model.threshold, changes=tuple(changes))


def _levers(employee: Employee) -> Mapping[str, Sequence[float | Overtime]]:
    """What to try by attribute, the smallest change first."""
    income, distance = employee.monthly_income, employee.commute_distance
    return {
        "overtime": [Overtime.NO] if employee.overtime is Overtime.YES else [],
        "work_life_balance": range(employee.work_life_balance + 1, MAX_LEVEL + 1),
        "environment_satisfaction": range(employee.environment_satisfaction + 1, MAX_LEVEL + 1),
        # A tenth less each time, down to work from home.
        "commute_distance": [round(distance * tenths / 10, 1) for tenths in range(9, -1, -1)],
        "monthly_income": [
            min(round(income * (100 + percent) / 100, 2), MAX_INCOME) for percent in range(1, MAX_RAISE + 1)
        ],
    }


def _word(value: float | str, language: Language) -> str:
    if isinstance(value, str):
        return {"Oui": "yes", "Non": "no"}.get(value, value) if language is Language.EN else value.lower()
    text = f"{value:,.2f}".rstrip("0").rstrip(".")
    return text if language is Language.EN else text.replace(",", "\u202f").replace(".", ",")
