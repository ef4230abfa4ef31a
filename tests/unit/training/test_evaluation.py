"""Figures that say what they claim to say."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from churn.domain.manifest import Recipe
from churn.training.data import public_data
from churn.training.evaluation import (
    InvalidObjective,
    Plan,
    calibration_error,
    check_objective,
    choose_threshold,
    corrected_interval,
    cross_validate,
    decide,
    gain,
    importances,
    measure,
    out_of_fold,
    reliability,
)

QUICK = Recipe(estimator="LogisticRegression", parameters={"C": 1.0}, seed=0)


@pytest.fixture(scope="module")
def public():
    return public_data()


@pytest.fixture(scope="module")
def folds(public):
    return cross_validate(QUICK, public, Plan(folds=4, repeats=2, jobs=1), objective="f1")


@pytest.fixture
def noisy():
    """Outcomes and probabilities that go together, loosely."""
    random = np.random.default_rng(1)
    left = random.integers(0, 2, 300)
    return left, np.clip(0.3 * left + random.uniform(0, 0.7, 300), 0.01, 0.99)


def test_each_employee_is_held_out_once_per_repetition(public, folds):
    """The folds of a repetition share no employee and leave none out, and repetitions differ."""
    assert [fold.repeat for fold in folds] == [0, 0, 0, 0, 1, 1, 1, 1]
    for repeat in (0, 1):
        held_out = np.concatenate([fold.test for fold in folds if fold.repeat == repeat])
        assert np.array_equal(np.sort(held_out), np.arange(len(public.left)))
    probability = out_of_fold(folds, len(public.left))
    assert probability.shape == (2, len(public.left))
    assert not np.array_equal(probability[0], probability[1])


def test_the_number_of_processes_changes_nothing(public, folds):
    """Cross-validation side by side gives the very numbers of one after the other, in order."""
    seen = []
    side_by_side = cross_validate(
        QUICK, public, Plan(folds=4, repeats=2, jobs=2), objective="f1", progress=lambda: seen.append(1)
    )
    assert len(seen) == len(folds)
    for one, other in zip(folds, side_by_side, strict=True):
        assert np.array_equal(one.test, other.test)
        assert np.array_equal(one.probability, other.probability)
        assert one.threshold == other.threshold
        assert np.array_equal(one.importance, other.importance)


def test_the_measures_are_those_of_the_folds(public, folds):
    """Estimates are means over the folds, within intervals that are neither empty nor impossible."""
    metrics = measure("quick", folds, public.left)
    expected = np.mean([roc_auc_score(public.left[fold.test], fold.probability) for fold in folds])
    assert metrics.roc_auc.estimate == pytest.approx(expected)
    for interval in (metrics.roc_auc, metrics.average_precision, metrics.log_loss, metrics.brier, metrics.ece):
        assert 0 <= interval.low < interval.estimate < interval.high <= 1
    by_repeat = [calibration_error(public.left, row) for row in out_of_fold(folds, len(public.left))]
    assert metrics.ece.estimate == pytest.approx(np.mean(by_repeat))


def test_a_gain_is_measured_fold_by_fold(public, folds):
    """Nothing is gained over oneself, and what one gains the other loses."""
    weaker = Recipe(estimator="LogisticRegression", parameters={"C": 1e-4}, seed=0)
    others = cross_validate(weaker, public, Plan(folds=4, repeats=2, jobs=1))
    assert gain(folds, folds, public.left).estimate == 0
    gained = gain(folds, others, public.left)
    assert gained.estimate > 0
    assert gain(others, folds, public.left).low == pytest.approx(-gained.high)


def test_the_threshold_is_judged_where_it_was_not_chosen(public, folds):
    """Precision and recall are those of each fold at its own threshold; the one served is their median."""
    decision = decide(folds, public.left, "f1")
    assert decision.threshold == np.median([fold.threshold for fold in folds])
    recalls = [recall_score(public.left[fold.test], fold.probability >= fold.threshold) for fold in folds]
    assert decision.recall.estimate == pytest.approx(np.mean(recalls))
    flagged = np.mean([(fold.probability >= fold.threshold).mean() for fold in folds])
    assert decision.flagged.estimate == pytest.approx(flagged)


def test_shuffling_what_matters_costs_most(public, folds):
    """Overtime is known to matter most in the public data, and its loss is felt beyond doubt."""
    falls = importances(folds, len(public.left))
    assert len(falls) == 11
    assert max(range(11), key=lambda j: falls[j].estimate) == 4
    assert falls[4].low > 0


def test_an_interval_is_widened_for_the_overlap_of_folds():
    """Nadeau and Bengio's variance: 1/J + test/train in place of 1/J, with J - 1 degrees of freedom."""
    values = np.array([0.7, 0.8, 0.75, 0.85, 0.65])
    interval = corrected_interval(values, 0.25)
    half = 2.7764451051977987 * math.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert interval.estimate == pytest.approx(0.75)
    assert interval.high - interval.estimate == pytest.approx(half)
    assert interval.estimate - interval.low == pytest.approx(half)
    assert corrected_interval(np.array([0.0, 1.0]), 1.0).low == 0.0
    assert corrected_interval(np.array([0.0, 1.0]), 1.0).high == 1.0


def test_calibration_error_is_the_gap_between_said_and_done():
    """Always right is 0; always 0.2 too high is 0.2."""
    left = np.tile([0, 1], 500)
    assert calibration_error(left, left.astype(float)) == 0
    assert calibration_error(left, np.full(1000, 0.7)) == pytest.approx(0.2)


def test_reliability_covers_everyone_in_order(noisy):
    """Ten bins of equal size, from the lowest probability said to the highest."""
    left, probability = noisy
    bins = reliability(left, probability)
    assert [each.employees for each in bins] == [30] * 10
    assert [each.said for each in bins] == sorted(each.said for each in bins)
    assert sum(each.left.estimate * each.employees for each in bins) == pytest.approx(left.sum())
    assert all(each.left.low <= each.left.estimate <= each.left.high for each in bins)


def cost(left, flagged, missed, alarm):
    return missed * np.sum(left & ~flagged) + alarm * np.sum((1 - left) & flagged)


@pytest.mark.parametrize(
    ("objective", "merit"),
    [
        ("f1", f1_score),
        ("cost=9:1", lambda left, flagged: -cost(left, flagged, 9, 1)),
        ("cost=1:2.5", lambda left, flagged: -cost(left, flagged, 1, 2.5)),
        (
            "recall-at-precision=0.7",
            lambda left, flagged: (
                recall_score(left, flagged) if precision_score(left, flagged, zero_division=0) >= 0.7 else -1
            ),
        ),
    ],
)
def test_no_threshold_is_better_than_the_chosen_one(noisy, objective, merit):
    """Trying every threshold finds none with a better value of the objective."""
    left, probability = noisy
    chosen = merit(left, probability >= choose_threshold(left, probability, objective))
    assert chosen == pytest.approx(max(merit(left, probability >= each) for each in [*probability, 1.0]))


def test_an_unreachable_precision_gives_the_nearest(noisy):
    """Where no threshold is precise enough, the most precise one is chosen."""
    left = np.array([0, 1, 0, 1, 1, 0])
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    threshold = choose_threshold(left, probability, "recall-at-precision=0.9")
    assert precision_score(left, probability >= threshold) == pytest.approx(3 / 5)


def test_a_threshold_is_strictly_between_0_and_1():
    """Even certainty gives a threshold that a manifest can hold."""
    assert 0 < choose_threshold(np.array([0, 1]), np.array([0.0, 0.0]), "f1") < 1
    assert 0 < choose_threshold(np.array([0, 1]), np.array([1.0, 1.0]), "cost=0:1") < 1


@pytest.mark.parametrize("objective", ["", "F1", "f1=2", "cost=9", "cost=-1:1", "recall-at-precision=1.5", "accuracy"])
def test_an_unknown_objective_is_refused(objective):
    """Before anything is computed, with the objectives that there are."""
    with pytest.raises(InvalidObjective, match="recall-at-precision"):
        check_objective(objective)
