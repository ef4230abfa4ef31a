"""Does the model treat groups of employees alike? Measured on employees held out of training."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from churn.domain.manifest import Fairness, GroupRates, Interval
from churn.training.data import TrainingData

#: Fewest employees, and fewest leavers and stayers, in a group of which anything is said.
MIN_EMPLOYEES: Final = 30
MIN_OF_EACH: Final = 10
#: Times that the employees are drawn anew for the intervals: the ends of a 95 % interval then rest on 25 draws.
DRAWS: Final = 1000
#: The four-fifths rule of the US Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D), both ways.
FOUR_FIFTHS: Final = (0.8, 1.25)


def examine(data: TrainingData, probability: NDArray[np.float64], threshold: float, seed: int) -> tuple[Fairness, ...]:
    """Rates by group for every trait that the data have.

    Args:
        data: the n employees.
        probability: shape (repeats, n), each from a model that had not seen the employee.
        threshold: from which on an employee is flagged.
        seed: of the draws behind the intervals.
    """
    # How often each employee was flagged, and the mean probability, over the repetitions.
    flagged = (probability >= threshold).mean(axis=0)
    said = probability.mean(axis=0)
    return tuple(
        _examine_trait(trait, groups, data.left, flagged, said, seed=seed) for trait, groups in data.groups.items()
    )


def _examine_trait(
    trait: str,
    groups: NDArray[np.str_],
    left: NDArray[np.int64],
    flagged: NDArray[np.float64],
    said: NDArray[np.float64],
    *,
    seed: int,
) -> Fairness:
    rates: list[GroupRates] = []
    too_small: list[str] = []
    for group in sorted(set(groups.tolist())):
        member = groups == group
        leavers = int(left[member].sum())
        stayers = int(member.sum()) - leavers
        # A group of all employees has no others to be compared with.
        if leavers + stayers < MIN_EMPLOYEES or min(leavers, stayers) < MIN_OF_EACH or member.all():
            too_small.append(group)
            continue
        centre = _rates(member, left, flagged, said, np.ones(len(left)))
        draws = np.array([_rates(member, left, flagged, said, weight) for weight in _draws(len(left), seed)])
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        flag, ratio, true, false, calibration = (
            Interval(*(float(value) for value in ends)) for ends in zip(centre, low, high, strict=True)
        )
        rates.append(
            GroupRates(
                group=group,
                employees=leavers + stayers,
                leavers=leavers,
                flagged=flag,
                flagged_ratio=ratio,
                true_positive_rate=true,
                false_positive_rate=false,
                calibration=calibration,
            )
        )
    return Fairness(
        trait=trait,
        groups=tuple(rates),
        too_small=tuple(too_small),
        findings=tuple(_finding(trait, group) for group in rates),
    )


def _draws(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    # How often each employee is drawn when n are drawn with replacement.
    random = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield np.bincount(random.integers(0, n, n), minlength=n).astype(np.float64)


def _rates(
    member: NDArray[np.bool_],
    left: NDArray[np.int64],
    flagged: NDArray[np.float64],
    said: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    def mean(values: NDArray[np.float64], where: NDArray[np.float64]) -> float:
        return float(values @ where) / max(float(where.sum()), 1.0)

    inside, outside = weight * member, weight * ~member
    rate = mean(flagged, inside)
    return np.array(
        [
            rate,
            # When no one else was flagged, the ratio is as large as one employee could make it.
            rate / max(mean(flagged, outside), 1.0 / len(left)),
            mean(flagged, inside * left),
            mean(flagged, inside * (1 - left)),
            mean(said - left, inside),
        ]
    )


def _finding(trait: str, group: GroupRates) -> str:
    ratio, calibration = group.flagged_ratio, group.calibration
    low, high = FOUR_FIFTHS
    times = f"{ratio.estimate:.2f} times as often as all others ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.low > high or ratio.high < low:
        verdict = "beyond the four-fifths rule"
    elif ratio.low >= low and ratio.high <= high:
        verdict = "within the four-fifths rule"
    else:
        verdict = "too few to tell whether within the four-fifths rule"
    if calibration.low > 0:
        belief = "; their risk is overstated"
    elif calibration.high < 0:
        belief = "; their risk is understated"
    else:
        belief = ""
    return f"{trait} {group.group}: flagged {times}, {verdict}{belief}."
