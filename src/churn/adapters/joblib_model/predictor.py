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
from churn.adapters.joblib_model.step_function import StepFunction
from churn.domain.employee import FEATURES, Employee
from churn.domain.prediction import ModelInfo, Score
from churn.domain.predictions import ScoreMatrix

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
        self._low, self._high = np.array(self._info.ranges).T[:, :, np.newaxis]
        self._steps: list[StepFunction] = []
        self._tables: list[_Table] | None = None
        if isinstance(bundle.estimator, AdditiveClassifier):
            self._tables = [
                _Table(cuts.tolist(), scores.tolist(), low, high)
                for cuts, scores, (low, high) in zip(
                    bundle.estimator.cuts, bundle.estimator.scores, self._info.ranges, strict=True
                )
            ]
            self._steps = [
                StepFunction(cuts, scores)
                for cuts, scores in zip(bundle.estimator.cuts, bundle.estimator.scores, strict=True)
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
        # One loop over plain lists, of floats, with which Python compares a float sooner than a whole number: this is
        # the path of every request. The tables are flat beyond their outer cuts, so nothing need be moved to the edge.
        logit: float = self._estimator.intercept
        contributions: list[float] = []
        out_of_range: tuple[int, ...] = ()
        for value, (cuts, scores, low, high) in zip(map(float, employee.features()), self._tables, strict=True):
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
        # One row in memory per feature: each is computed, and mostly read, in one sweep.
        contributions = np.empty((len(FEATURES), n)) if self._steps else None
        out_of_range = np.empty((len(FEATURES), n), dtype=np.bool_)
        for start in range(0, n, BLOCK):
            block = slice(start, start + BLOCK)
            columns = np.ascontiguousarray(features[block].T, dtype=np.float64)
            np.logical_or(columns < self._low, columns > self._high, out=out_of_range[:, block])
            if contributions is None:
                inside = np.clip(columns, self._low, self._high)
                probability[block] = self._estimator.predict_proba(inside.T)[:, 1]
            else:
                for step, column, out in zip(self._steps, columns, contributions[:, block], strict=True):
                    step(column, out)
                logit = self._estimator.intercept + contributions[:, block].sum(axis=0)
                probability[block] = 1.0 / (1.0 + np.exp(-logit))
        return ScoreMatrix(probability, None if contributions is None else contributions.T, out_of_range.T)


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
