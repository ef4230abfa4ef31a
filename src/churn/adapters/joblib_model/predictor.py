"""The port `Predictor` over a bundle."""

import math
from bisect import bisect_right
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.adapters.joblib_model.bundle import Bundle, active_version, load_bundle, trusted_manifests
from churn.domain.employee import FEATURES, Employee
from churn.domain.prediction import ModelInfo, Score
from churn.ports import ScoreMatrix

#: Rows scored at once: what is at work on them, some 200 KB, stays in a core's second-level cache.
BLOCK: Final = 4096


class _Table(NamedTuple):
    """One feature's step function and training range, as lists: a single look-up is faster than in an array."""

    cuts: list[float]
    scores: list[float]
    low: float
    high: float


class JoblibPredictor:
    """Scores with a loaded bundle; explains itself when the bundle's model is an `AdditiveClassifier`."""

    def __init__(self, bundle: Bundle) -> None:
        self._info = bundle.manifest.info()
        self._estimator = bundle.estimator
        self._low, self._high = np.array(self._info.ranges).T
        self._tables: list[_Table] | None = None
        if isinstance(bundle.estimator, AdditiveClassifier):
            self._tables = [
                _Table(cuts.tolist(), scores.tolist(), low, high)
                for cuts, scores, (low, high) in zip(
                    bundle.estimator.cuts, bundle.estimator.scores, self._info.ranges, strict=True
                )
            ]

    @property
    def info(self) -> ModelInfo:
        """The loaded model's version, threshold, base rate, training ranges and intercept."""
        return self._info

    def predict(self, employee: Employee) -> Score:
        """Score one employee. A value outside the training range is scored at its edge and named."""
        if self._tables is None:
            row = self.predict_matrix(np.array([employee.features()]))
            return Score(float(row.probability[0]), None, tuple(np.flatnonzero(row.out_of_range[0]).tolist()))
        # One loop over plain lists: this is the path of every request. The tables are flat beyond
        # their outer cuts, so nothing has to be moved to the edge.
        logit: float = self._estimator.intercept
        contributions: list[float] = []
        out_of_range: tuple[int, ...] = ()
        for value, (cuts, scores, low, high) in zip(employee.features(), self._tables, strict=True):
            contribution = scores[bisect_right(cuts, value)]
            if not low <= value <= high:
                out_of_range += (len(contributions),)
            contributions.append(contribution)
            logit += contribution
        return Score(1.0 / (1.0 + math.exp(-logit)), tuple(contributions), out_of_range)

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        """Score the n rows of `features`, shape (n, 11) in the order of `FEATURES`; n may be 0.

        Row i of the result is row i of the input, equal to `predict` of that row within 1e-12.
        """
        n = len(features)
        probability = np.empty(n)
        # Stored by column, as they are made and mostly read.
        contributions = np.empty((len(FEATURES), n)).T if self._tables is not None else None
        out_of_range = np.empty((len(FEATURES), n), dtype=np.bool_).T
        for start in range(0, n, BLOCK):
            block = slice(start, start + BLOCK)
            rows = features[block]
            out_of_range[block] = (rows < self._low) | (rows > self._high)
            if contributions is None:
                inside = np.clip(rows, self._low, self._high)
                probability[block] = self._estimator.predict_proba(inside)[:, 1]
            else:
                contributions[block] = self._estimator.contributions(rows)
                logit = self._estimator.intercept + contributions[block].sum(axis=1)
                probability[block] = 1.0 / (1.0 + np.exp(-logit))
        return ScoreMatrix(probability, contributions, out_of_range)


def load_predictor(models_dir: str | PathLike[str], *, version: str = "", trusted: str = "") -> JoblibPredictor:
    """A predictor over the bundle `version`.

    Args:
        models_dir: folder of the bundles.
        version: the one that `ACTIVE` names when empty.
        trusted: sha256 digests of the manifests that may be loaded, separated by commas; those in
            `TRUSTED` when empty.

    Raises:
        ModelUnavailable: there is none, or it must not or cannot be loaded.
    """
    folder = Path(models_dir)
    bundle = load_bundle(folder, version or active_version(folder), trusted=trusted_manifests(folder, trusted))
    return JoblibPredictor(bundle)
