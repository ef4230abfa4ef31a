"""The tables are the glass box, to the last digits."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.inspection import permutation_importance
from sklearn.utils.validation import check_is_fitted

from churn.domain.employee import FEATURES
from churn.training.data import public_data
from churn.training.estimator import BASELINES, GLASS_BOX, MONOTONE, can_fit, compile_tables, fit
from churn.training.train import NotMonotone, check_monotone


@pytest.fixture(scope="module")
def public():
    return public_data()


@pytest.fixture(scope="module")
def glass_box(public):
    return fit(GLASS_BOX, public.features, public.left)


@pytest.fixture(scope="module")
def tables(glass_box):
    return compile_tables(glass_box)


@pytest.fixture(scope="module")
def rows(public, glass_box):
    """The training data, random rows in and around its range, and rows on and right beside every cut."""
    low, high = public.features.min(axis=0), public.features.max(axis=0)
    random = np.random.default_rng(3)
    scattered = random.uniform(low - (high - low), high + (high - low), (20_000, len(FEATURES)))
    extremes = np.vstack([low, high, np.full_like(low, -1e12), np.full_like(low, 1e12)])
    on_cuts = []
    for feature in range(len(FEATURES)):
        cuts = np.asarray(glass_box.bins_[feature][0])
        for value in (cuts, np.nextafter(cuts, -np.inf), np.nextafter(cuts, np.inf)):
            block = random.choice(public.features, len(cuts))
            block[:, feature] = value
            on_cuts.append(block)
    return np.vstack([public.features, scattered, np.round(scattered), extremes, *on_cuts])


def test_the_tables_equal_the_glass_box(glass_box, tables, rows):
    """Probabilities, log-odds and contributions agree within 1e-9 on training, random and edge rows."""
    assert np.abs(tables.predict_proba(rows) - glass_box.predict_proba(rows)).max() < 1e-9
    assert np.abs(tables.contributions(rows) - glass_box.eval_terms(rows)).max() < 1e-9
    assert np.abs(tables.decision_function(rows) - glass_box.decision_function(rows)).max() < 1e-9
    assert np.array_equal(tables.predict(rows), glass_box.predict(rows))


def test_the_same_data_and_seed_give_the_same_numbers(public, tables):
    """A second fit has the same digest, and another seed another one."""
    again = compile_tables(fit(GLASS_BOX, public.features, public.left))
    assert again.numbers_sha256() == tables.numbers_sha256()
    tables.scores[0][0] += 1e-15
    assert again.numbers_sha256() != tables.numbers_sha256()
    tables.scores[0][0] = again.scores[0][0]


def test_neighbours_of_one_score_are_merged(glass_box, tables):
    """No cut is kept that separates nothing."""
    assert all(np.all(np.diff(scores) != 0) for scores in tables.scores)
    assert sum(map(len, tables.cuts)) < sum(len(bins[0]) for bins in glass_box.bins_)


def test_declared_directions_hold(tables):
    """The glass box keeps every declared direction, and a model that does not is refused by name."""
    check_monotone(tables)
    income = FEATURES.index("revenu_mensuel")
    assert MONOTONE["revenu_mensuel"] == -1
    original = tables.scores[income][-1]
    tables.scores[income][-1] = original + 10
    try:
        with pytest.raises(NotMonotone, match="revenu_mensuel"):
            check_monotone(tables)
    finally:
        tables.scores[income][-1] = original


def test_the_tables_are_a_scikit_learn_classifier(tables, public):
    """They can be cloned and scored as any other, and `fit` changes nothing."""
    twin = clone(tables).fit(public.features, public.left)
    check_is_fitted(twin)
    assert is_classifier(twin)
    assert twin.n_features_in_ == len(FEATURES)
    assert twin.classes_.tolist() == [0, 1]
    assert twin.numbers_sha256() == tables.numbers_sha256()
    assert twin.score(public.features, public.left) > 0.85
    importance = permutation_importance(twin, public.features, public.left, n_repeats=2, random_state=0)
    assert np.argmax(importance.importances_mean) == FEATURES.index("heures_supp")
    assert twin.set_params(intercept=9.0).get_params()["intercept"] == 9.0
    with pytest.raises(ValueError, match="has no parameter slope"):
        twin.set_params(slope=1.0)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_can_be_fitted(public, name):
    """Each baseline gives the public data probabilities that are better than the base rate's."""
    recipe = BASELINES[name]
    assert can_fit(recipe)
    probability = fit(recipe, public.features, public.left).predict_proba(public.features)[:, 1]
    assert probability[public.left == 1].mean() > public.left.mean() > probability[public.left == 0].mean()
