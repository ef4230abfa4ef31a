"""What predictions were worth, against scikit-learn, scipy and simulated truth."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from churn.domain.performance import Cohort, Judge, estimate, realise, report_performance, roc_auc, wilson
from churn.domain.prediction import RISKS, Risk
from churn.domain.review import ReviewRates
from churn.use_cases.report_performance import RememberingJudge

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
THRESHOLD, BASE_RATE = 0.3, 0.16


def risks(probability: NDArray[np.float64]) -> NDArray[np.uint8]:
    return positions(
        [Risk.HIGH if p >= THRESHOLD else Risk.MODERATE if p > BASE_RATE else Risk.LOW for p in probability]
    )


def positions(levels: list[Risk]) -> NDArray[np.uint8]:
    return np.array([RISKS.index(level) for level in levels], dtype=np.uint8)


def sample(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities to two digits, so that there are ties, and outcomes that follow them."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(1, 5, size=n).round(2)
    return probability, rng.random(n) < probability


def test_realised_figures_are_scikit_learns() -> None:
    """ROC AUC, precision, recall and Brier score."""
    probability, left = sample(800)
    realised = realise(probability, left, risks(probability))
    assert realised.roc_auc is not None
    assert realised.precision is not None
    assert realised.recall is not None
    flagged = probability >= THRESHOLD
    assert realised.roc_auc.estimate == pytest.approx(roc_auc_score(left, probability), abs=1e-12)
    assert realised.precision.estimate == pytest.approx(precision_score(left, flagged))
    assert realised.recall.estimate == pytest.approx(recall_score(left, flagged))
    assert realised.brier.estimate == pytest.approx(brier_score_loss(left, probability))
    assert (realised.predictions, realised.left) == (800, left.sum())
    assert realised.expected == pytest.approx(probability.sum())


def test_bands_hold_what_was_said_against_what_happened() -> None:
    """By level of risk: how many, the mean probability, and the share that left."""
    probability, left = sample(800)
    levels = risks(probability)
    bands = realise(probability, left, levels).bands
    assert [band.risk for band in bands] == [Risk.LOW, Risk.MODERATE, Risk.HIGH]
    for band in bands:
        inside = levels == RISKS.index(band.risk)
        assert (band.predictions, band.left) == (inside.sum(), left[inside].sum())
        assert band.predicted == pytest.approx(probability[inside].mean())
        assert band.observed == wilson(int(left[inside].sum()), int(inside.sum()))


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(sample: tuple[int, int]) -> None:
    """With no event, and with nothing but events, too."""
    interval = wilson(*sample)
    theirs = binomtest(*sample).proportion_ci(method="wilson")
    assert interval.estimate == sample[0] / sample[1]
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert interval.low <= interval.estimate <= interval.high


def test_the_interval_of_the_roc_auc_holds_the_truth_as_often_as_it_says() -> None:
    """Over samples of a model whose true area is known, 95 % of DeLong's intervals have it in them."""
    truth = 0.7602  # P(X > Y) for X ~ N(1, 1), Y ~ N(0, 1): Φ(1/√2)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        left = np.repeat([True, False], [40, 200])
        interval = roc_auc(rng.normal(left * 1.0, 1.0), left)
        assert interval is not None
        held += interval.low <= truth <= interval.high
    assert held / 1000 == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("leavers", [0, 1, 9, 10])
def test_one_of_a_kind_has_no_ranking(leavers: int) -> None:
    """With fewer than two leavers or stayers there is no area, and everything else is there all the same."""
    left = np.arange(10) < leavers
    realised = realise(np.full(10, 0.5), left, positions([Risk.HIGH] * 10))
    assert realised.roc_auc is None
    assert realised.precision is not None
    assert (realised.recall is None) == (leavers == 0)


def test_nobody_flagged_has_no_precision() -> None:
    """A share of nobody is not zero: it is not there."""
    realised = realise(np.array([0.1]), np.array([True]), positions([Risk.LOW]))
    assert (realised.precision, realised.brier.low, realised.brier.high) == (None, 0.0, 1.0)
    assert realised.recall is not None
    assert realised.recall.estimate == 0.0


# The estimate.


def test_the_estimate_is_what_comes_true_when_the_probabilities_are_right() -> None:
    """Over many simulated truths each figure is on average what was estimated, and 95 % of them are in its interval."""
    probability, _ = sample(600)
    flagged = probability >= THRESHOLD
    estimated = estimate(np.ones(600, dtype=np.int64), probability, flagged)
    rng = np.random.default_rng(1)
    truths: dict[str, list[float]] = {"left": [], "roc_auc": [], "precision": [], "recall": [], "brier": []}
    for _ in range(600):
        left = rng.random(600) < probability
        truths["left"].append(left.sum())
        truths["roc_auc"].append(float(roc_auc_score(left, probability)))
        truths["precision"].append(float(precision_score(left, flagged)))
        truths["recall"].append(float(recall_score(left, flagged)))
        truths["brier"].append(float(brier_score_loss(left, probability)))
    for name, values in truths.items():
        interval = getattr(estimated, name)
        assert interval.estimate == pytest.approx(np.mean(values), rel=0.01), name
        inside = np.mean([interval.low - 1e-9 <= value <= interval.high + 1e-9 for value in values])
        assert inside == pytest.approx(0.95, abs=0.035), name


def test_groups_are_as_good_as_their_members() -> None:
    """Predictions in groups of equal probability, or one by one, have the same estimate."""
    probability, count = np.array([0.05, 0.2, 0.4, 0.8]), np.array([300, 120, 50, 10])
    flagged = probability >= THRESHOLD
    together = estimate(count, probability, flagged)
    apart = estimate(np.ones(480, dtype=np.int64), np.repeat(probability, count), np.repeat(flagged, count))
    for name in ("left", "roc_auc", "precision", "recall", "brier"):
        ours, theirs = getattr(together, name), getattr(apart, name)
        assert (ours.estimate, ours.low, ours.high) == pytest.approx(
            (theirs.estimate, theirs.low, theirs.high), rel=1e-9
        )


def test_what_cannot_be_estimated_is_not_there() -> None:
    """Probabilities of 0 promise no leaver, so there is nobody to find, and nobody is flagged."""
    estimated = estimate(np.array([10]), np.array([0.0]), np.array([False]))
    assert (estimated.left.estimate, estimated.left.high) == (0.0, 0.0)
    assert (estimated.roc_auc, estimated.precision, estimated.recall) == (None, None, None)
    certain = estimate(np.array([10]), np.array([1.0]), np.array([True]))
    assert (certain.left.low, certain.brier.estimate, certain.roc_auc) == (10.0, 0.0, None)


# The report.


def cohort(month: date, version: str, n: int, **changes: object) -> Cohort:
    probability, left = sample(n, seed=month.month)
    values = {
        "month": month,
        "model_version": version,
        "risk": risks(probability),
        "count": np.ones(n, dtype=np.int64),
        "probability": probability,
        "pending": 0,
        "left_early": 0,
        "resolved_risk": risks(probability),
        "resolved_probability": probability,
        "resolved_left": left,
    }
    return Cohort(**values | changes)


def test_a_version_is_judged_over_all_its_months() -> None:
    """Its predictions, outcomes and reviews are those of its months together, and of no other version."""
    cohorts = [cohort(JANUARY, "a", 100), cohort(FEBRUARY, "a", 200), cohort(FEBRUARY, "b", 50)]
    reviews = [
        ReviewRates(month=month, model_version=version, accepted=3, overridden=2, dismissed=1)
        for month, version in ((JANUARY, "a"), (FEBRUARY, "a"), (FEBRUARY, "b"))
    ]
    report = report_performance(
        cohorts,
        reviews,
        since=JANUARY,
        until=MARCH,
        as_of=date(2027, 3, 1),
        observed_until=date(2027, 3, 1),
        horizon_months=12,
        judge=Judge(),
    )
    assert [(one.month, one.model_version, one.predictions) for one in report.months] == [
        (JANUARY, "a", 100),
        (FEBRUARY, "a", 200),
        (FEBRUARY, "b", 50),
    ]
    a, b = report.versions
    assert (a.month, a.model_version, a.predictions, a.accepted, a.overridden, a.dismissed) == (
        None, "a", 300, 6, 4, 2,
    )  # fmt: skip
    assert (b.predictions, b.accepted) == (50, 3)
    both = np.concatenate([cohorts[0].resolved_probability, cohorts[1].resolved_probability])
    left = np.concatenate([cohorts[0].resolved_left, cohorts[1].resolved_left])
    assert a.realised == realise(both, left, risks(both))


def test_those_whose_time_has_not_come_are_not_judged() -> None:
    """A month of which nothing is resolved has an estimate and nothing realised; who was not seen is censored."""
    nothing = {
        "resolved_risk": positions([]),
        "resolved_probability": np.empty(0),
        "resolved_left": np.empty(0, dtype=np.bool_),
    }
    waiting = cohort(JANUARY, "a", 100, pending=90, left_early=4, **nothing)
    report = report_performance(
        [waiting],
        [],
        since=JANUARY,
        until=FEBRUARY,
        as_of=date(2026, 6, 1),
        observed_until=date(2026, 6, 1),
        horizon_months=12,
        judge=Judge(),
    )
    (one,) = report.months
    assert (one.pending, one.left_early, one.censored, one.realised) == (90, 4, 10, None)
    assert one.estimated.roc_auc is not None


def test_no_prediction_is_no_error() -> None:
    """An empty period has an empty report."""
    report = report_performance(
        [], [], since=JANUARY, until=MARCH, as_of=MARCH, observed_until=MARCH, horizon_months=12, judge=Judge()
    )
    assert (report.versions, report.months) == ((), ())


@pytest.mark.parametrize(
    "name", ["risk", "count", "probability", "resolved_risk", "resolved_probability", "resolved_left"]
)
def test_what_has_been_judged_is_remembered_until_it_changes(name: str) -> None:
    """The judgement is that of somebody who remembers nothing, for equal cohorts and for any other."""
    judge = RememberingJudge()
    one = cohort(JANUARY, "a", 50)
    values = getattr(one, name).copy()
    values[-1] = 1 - values[-1]
    other = cohort(JANUARY, "a", 50, **{name: values})
    told = judge.realised([one]), judge.estimated([one])
    again = judge.realised([cohort(JANUARY, "a", 50)]), judge.estimated([cohort(JANUARY, "a", 50)])
    assert again[0] is told[0]
    assert again[1] is told[1]
    for cohorts in ([one], [other], [one, other], [other, one]):
        assert judge.realised(cohorts) == Judge().realised(cohorts)
        assert judge.estimated(cohorts) == Judge().estimated(cohorts)
