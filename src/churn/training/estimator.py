"""Which estimators there are, and how the glass box becomes tables."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from interpret.glassbox import ExplainableBoostingClassifier
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.domain.employee import FEATURES
from churn.domain.manifest import Recipe

#: Declared directions by feature: more income, more satisfaction and more balance never raise the
#: risk, overtime never lowers it. A model that said otherwise would be refused by whoever reads it.
MONOTONE: Final[Mapping[str, int]] = {
    "revenu_mensuel": -1,
    "satisfaction_environnement": -1,
    "satisfaction_equilibre": -1,
    "heures_supp": 1,
}
_DIRECTIONS: Final = [MONOTONE.get(name, 0) for name in FEATURES]

#: InterpretML's own defaults beyond what is declared here: nothing was tuned on the data that it is judged by.
GLASS_BOX: Final = Recipe(
    estimator="ExplainableBoostingClassifier",
    parameters={"interactions": 0, "monotone_constraints": _DIRECTIONS},
    seed=0,
)
#: What the glass box has to hold its own against.
BASELINES: Final[Mapping[str, Recipe]] = {
    "logistic regression": Recipe(estimator="LogisticRegression", parameters={"C": 1.0}, seed=0),
    "random forest": Recipe(
        estimator="RandomForestClassifier", parameters={"n_estimators": 300, "min_samples_leaf": 3}, seed=0
    ),
    "gradient boosting": Recipe(
        estimator="HistGradientBoostingClassifier",
        # Small trees and few of them: the defaults are for data a hundred times larger.
        parameters={"learning_rate": 0.05, "max_iter": 150, "max_leaf_nodes": 8, "monotonic_cst": _DIRECTIONS},
        seed=0,
    ),
}

# One thread each: cross-validation runs folds side by side, which uses the cores better.
_BUILDERS: Final[Mapping[str, Callable[[dict[str, Any], int], Any]]] = {
    "ExplainableBoostingClassifier": lambda parameters, seed: ExplainableBoostingClassifier(
        feature_names=list(FEATURES),
        feature_types=["continuous"] * len(FEATURES),
        n_jobs=1,
        random_state=seed,
        **parameters,
    ),
    "LogisticRegression": lambda parameters, _: make_pipeline(StandardScaler(), LogisticRegression(**parameters)),
    "RandomForestClassifier": lambda parameters, seed: RandomForestClassifier(
        n_jobs=1, random_state=seed, **parameters
    ),
    "HistGradientBoostingClassifier": lambda parameters, seed: HistGradientBoostingClassifier(
        random_state=seed, **parameters
    ),
}


def fit(recipe: Recipe, features: NDArray[np.float64], left: NDArray[np.int64]) -> Any:  # noqa: ANN401  # no types
    """The estimator of `recipe`, fitted to `features`, shape (n, 11), and `left`, shape (n,) of 0 and 1.

    Raises:
        KeyError: there is no such estimator.
    """
    return _BUILDERS[recipe.estimator](recipe.parameters, recipe.seed).fit(features, left)


def can_fit(recipe: Recipe) -> bool:
    """Whether this release knows the estimator of `recipe`."""
    return recipe.estimator in _BUILDERS


def compile_tables(glass_box: ExplainableBoostingClassifier) -> AdditiveClassifier:
    """The same model as `glass_box`, fitted without interactions, as one table per feature.

    Neighbouring bins of one score become one: fewer cuts to search, and not a bit of difference.
    """
    cuts: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    for feature in range(len(FEATURES)):
        # Main effects only, and one for every feature: the term of feature j is term j.
        edges = np.asarray(glass_box.bins_[feature][0], dtype=np.float64)
        # InterpretML keeps the score of a missing value first and of an unknown one last; churn has neither.
        steps = np.asarray(glass_box.term_scores_[feature][1:-1], dtype=np.float64)
        matters = np.diff(steps) != 0
        cuts.append(edges[matters])
        scores.append(np.concatenate([steps[:1], steps[1:][matters]]))
    return AdditiveClassifier(cuts, scores, float(glass_box.intercept_[0]))
