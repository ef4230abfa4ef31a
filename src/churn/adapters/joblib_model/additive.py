"""A generalised additive model as plain tables: what a trained glass box is compiled to."""

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


class AdditiveClassifier:
    """A classifier whose log-odds are an intercept plus one step function per feature.

    To scikit-learn it is an estimator by what it can do, not by inheritance: a service that loads no other
    need not import scikit-learn, which would take more than a third of its start.

    Feature j is worth `scores[j][i]` where i is the number of `cuts[j]` that are smaller than or
    equal to the value. Below the first and above the last cut the step function is flat, so a value
    outside the training range is scored as the value at its edge.

    There is nothing to train: the tables are the parameters, and `fit` returns the classifier itself.

    Attributes:
        cuts: one ascending array per feature, shape (k_j,).
        scores: one array of log-odds per feature, shape (k_j + 1,).
        intercept: log-odds to which the scores are added.
    """

    def __init__(
        self, cuts: Sequence[NDArray[np.float64]], scores: Sequence[NDArray[np.float64]], intercept: float
    ) -> None:
        self.cuts = cuts
        self.scores = scores
        self.intercept = intercept

    @property
    def classes_(self) -> NDArray[np.int64]:
        """0 stays, 1 leaves: the columns of `predict_proba`."""
        return np.array([0, 1])

    @property
    def n_features_in_(self) -> int:
        """How many features there are."""
        return len(self.cuts)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn has no types
        # Only scikit-learn asks for them.
        from sklearn.utils import ClassifierTags, Tags, TargetTags  # noqa: PLC0415

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(multi_class=False),
        )

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # scikit-learn's signature
        """The tables, by the names of the constructor's arguments."""
        return {"cuts": self.cuts, "scores": self.scores, "intercept": self.intercept}

    def set_params(self, **params: object) -> Self:
        """Put other tables in the place of these.

        Raises:
            ValueError: one is named that there is not.
        """
        if unknown := params.keys() - self.get_params():
            raise ValueError(f"AdditiveClassifier has no parameter {', '.join(sorted(unknown))}")
        vars(self).update(params)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803  # scikit-learn's signature
        """The classifier as it is: its parameters hold all there is to know."""
        return self

    def contributions(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Log-odds per row and feature, shape (n, features); without the intercept."""
        features = np.asarray(X, dtype=np.float64)
        # One row per feature in memory: each is written, and summed, in one sweep.
        columns = np.empty((len(self.cuts), len(features)))
        for j, (cuts, scores) in enumerate(zip(self.cuts, self.scores, strict=True)):
            np.take(scores, np.searchsorted(cuts, features[:, j], side="right"), out=columns[j])
        return columns.T

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Log-odds of leaving, shape (n,)."""
        return self.intercept + self.contributions(X).sum(axis=1)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities of staying and of leaving, shape (n, 2)."""
        leaves = 1.0 / (1.0 + np.exp(-self.decision_function(X)))
        return np.column_stack([1.0 - leaves, leaves])

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:  # noqa: N803
        """The likelier class of each row, shape (n,)."""
        return (self.decision_function(X) > 0).astype(np.int64)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:  # noqa: N803
        """The share of the rows whose class in `y`, shape (n,), is the likelier one."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def numbers_sha256(self) -> str:
        """A digest of the numbers alone: equal exactly when two models score every row alike, bit for bit.

        Unlike a digest of the pickle it does not depend on the versions of Python or joblib.
        """
        digest = hashlib.sha256(np.array([self.intercept], dtype="<f8").tobytes())
        for table in (*self.cuts, *self.scores):
            digest.update(len(table).to_bytes(8, "little"))
            digest.update(np.asarray(table, dtype="<f8").tobytes())
        return digest.hexdigest()
