"""A difference between groups is found where there is one, and only there."""

import numpy as np
import pytest

from churn.training.data import TrainingData
from churn.training.fairness import examine


def workforce(groups, left):
    return TrainingData(
        features=np.zeros((len(left), 11)),
        left=np.asarray(left),
        groups={"team": np.asarray(groups)},
        name="n",
        source="s",
        licence="l",
    )


@pytest.fixture
def two_teams():
    """Two teams of 500, a quarter of each of which left."""
    return workforce(["blue"] * 500 + ["red"] * 500, [1, 0, 0, 0] * 250)


def test_equal_treatment_is_found_equal(two_teams):
    """When chance alone flags, no group is beyond the four-fifths rule and no risk is misstated."""
    probability = np.where(np.tile([1, 0, 0, 0], 250), 0.8, 0.06667)
    (fairness,) = examine(two_teams, probability[None, :], 0.5, seed=0)
    assert [rates.group for rates in fairness.groups] == ["blue", "red"]
    for rates in fairness.groups:
        assert rates.employees == 500
        assert rates.leavers == 125
        assert rates.flagged.estimate == 0.25
        assert rates.flagged_ratio.estimate == 1
        assert rates.flagged_ratio.low < 1 < rates.flagged_ratio.high
        assert rates.true_positive_rate.estimate == 1
        assert rates.false_positive_rate.estimate == 0
    assert all("beyond" not in finding and "stated" not in finding for finding in fairness.findings)


def test_unequal_treatment_is_said_plainly(two_teams):
    """A team flagged twice as often, and whose risk is overstated, is named with its figures."""
    left = two_teams.left
    probability = np.where(np.arange(1000) < 500, 0.6, np.where(np.arange(1000) % 2, 0.6, 0.1))
    (fairness,) = examine(two_teams, np.stack([probability, probability]), 0.5, seed=0)
    blue, red = fairness.groups
    assert blue.flagged_ratio.estimate == pytest.approx(2)
    assert red.flagged_ratio.estimate == pytest.approx(0.5)
    assert blue.false_positive_rate.estimate == 1
    assert blue.calibration.estimate == pytest.approx(0.6 - left[:500].mean())
    assert fairness.findings[0].startswith("team blue: flagged 2.00 times as often as all others (1.")
    assert "beyond the four-fifths rule; their risk is overstated" in fairness.findings[0]


def test_an_understated_risk_is_said_too(two_teams):
    """A team that leaves more often than it is told is named."""
    (fairness,) = examine(two_teams, np.full((1, 1000), 0.05), 0.5, seed=0)
    assert all("understated" in finding for finding in fairness.findings)


def test_small_groups_are_named_and_not_judged():
    """Fewer than 30 employees, or 10 leavers or stayers, get no figures, whatever they look like."""
    groups = ["large"] * 200 + ["few"] * 29 + ["loyal"] * 50
    left = [1, 0] * 100 + [1, 0] * 14 + [1] + [0] * 50
    (fairness,) = examine(workforce(groups, left), np.full((1, 279), 0.4), 0.5, seed=0)
    assert [rates.group for rates in fairness.groups] == ["large"]
    assert fairness.too_small == ("few", "loyal")


def test_a_single_group_has_no_others():
    """Where all are of one group there is nothing to compare."""
    (fairness,) = examine(workforce(["all"] * 100, [1, 0] * 50), np.full((1, 100), 0.4), 0.5, seed=0)
    assert fairness.groups == ()
    assert fairness.too_small == ("all",)


def test_the_draws_are_repeatable(two_teams):
    """Equal data and seed give equal intervals."""
    probability = np.random.default_rng(0).random((2, 1000))
    assert examine(two_teams, probability, 0.5, seed=1) == examine(two_teams, probability, 0.5, seed=1)
    assert examine(two_teams, probability, 0.5, seed=1) != examine(two_teams, probability, 0.5, seed=2)
