"""What a recipe is worth on employees it has not seen: repeated cross-validation, read with honest intervals."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from msgspec import Struct
from numpy.typing import NDArray
from scipy.stats import binomtest
from scipy.stats import t as student_t
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from sklearn.model_selection import StratifiedKFold

from churn.domain.errors import ChurnError
from churn.domain.manifest import Decision, Interval, Metrics, Recipe, ReliabilityBin
from churn.training.data import TrainingData
from churn.training.estimator import fit

#: Bins of equal size for the calibration error: with fixed edges the upper ones would be all but empty.
CALIBRATION_BINS: Final = 10
#: Folds within a training fold, to choose its threshold.
INNER_FOLDS: Final = 3
#: Times that a feature is shuffled per fold.
SHUFFLES: Final = 3


class InvalidObjective(ChurnError):
    """The objective of the threshold is none that churn knows."""


class Plan(Struct, frozen=True, kw_only=True):
    """How to cross-validate."""

    folds: int = 5
    repeats: int = 10
    seed: int = 0
    jobs: int = -1
    """Processes at once; the result does not depend on it. -1: one per core."""


class Fold(Struct, frozen=True, kw_only=True):
    """One test fold and what was found on it."""

    repeat: int
    test: NDArray[np.int64]
    """Indices of the employees held out."""
    probability: NDArray[np.float64]
    """Of these employees."""
    threshold: float | None = None
    """Chosen within the training folds."""
    importance: NDArray[np.float64] | None = None
    """Shape (11,): by how much the ROC AUC falls when the feature is shuffled."""


def cross_validate(
    recipe: Recipe,
    data: TrainingData,
    plan: Plan,
    *,
    objective: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Fold]:
    """Every fold of every repetition, in order.

    With an `objective`, each fold also has a threshold and importances. `progress` is called once a fold.
    """
    splits = list(_splits(data.left, plan))
    seeds = np.random.SeedSequence(plan.seed).spawn(len(splits))
    work = Parallel(n_jobs=plan.jobs, return_as="generator")(
        delayed(_run_fold)(recipe, data, split, objective=objective, seed=seed)
        for split, seed in zip(splits, seeds, strict=True)
    )
    folds = []
    for fold in work:
        folds.append(fold)
        progress()
    return folds


def measure(name: str, folds: list[Fold], left: NDArray[np.int64]) -> Metrics:
    """The worth of a cross-validated recipe, with intervals.

    Every estimate is the mean over the folds, but for the calibration error: in bins of some thirty
    employees it measures noise, so it is taken over each repetition as a whole and then averaged. The
    width of its interval is that of the folds, which makes it wide rather than narrow.
    """
    share = len(folds[0].test) / (len(left) - len(folds[0].test))

    def over_folds(metric: Callable[[Any, Any], float], estimate: float | None = None) -> Interval:
        return corrected_interval(
            np.array([metric(left[fold.test], fold.probability) for fold in folds]), share, estimate=estimate
        )

    by_repeat = [calibration_error(left, probability) for probability in out_of_fold(folds, len(left))]
    return Metrics(
        name=name,
        roc_auc=over_folds(roc_auc_score),
        average_precision=over_folds(average_precision_score),
        log_loss=over_folds(log_loss),
        brier=over_folds(brier_score_loss),
        ece=over_folds(calibration_error, float(np.mean(by_repeat))),
    )


def gain(folds: list[Fold], others: list[Fold], left: NDArray[np.int64]) -> Interval:
    """By how much the ROC AUC of `folds` exceeds that of `others`, cross-validated on the same splits."""
    share = len(folds[0].test) / (len(left) - len(folds[0].test))
    differences = [
        roc_auc_score(left[fold.test], fold.probability) - roc_auc_score(left[other.test], other.probability)
        for fold, other in zip(folds, others, strict=True)
    ]
    return corrected_interval(np.array(differences), share, low=-1.0)


def reliability(left: NDArray[np.int64], probability: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """What was said and what happened, in bins of equal size, lowest probability first.

    Args:
        left: shape (n,), 1 for a leaver.
        probability: shape (n,), each from one model that had not seen the employee.
    """
    bins = []
    for part in np.array_split(np.argsort(probability, kind="stable"), CALIBRATION_BINS):
        leavers = int(left[part].sum())
        low, high = binomtest(leavers, len(part)).proportion_ci(method="wilson")
        share = Interval(leavers / len(part), float(low), float(high))
        bins.append(ReliabilityBin(len(part), float(probability[part].mean()), share))
    return tuple(bins)


def decide(folds: list[Fold], left: NDArray[np.int64], objective: str) -> Decision:
    """The threshold for all employees, the median of those of the folds, and what a fold's own one costs."""
    share = len(folds[0].test) / (len(left) - len(folds[0].test))
    chosen = [(left[fold.test], fold.probability >= fold.threshold) for fold in folds if fold.threshold is not None]

    def over_folds(metric: Callable[[Any, Any], float]) -> Interval:
        return corrected_interval(np.array([metric(truth, flagged) for truth, flagged in chosen]), share)

    return Decision(
        threshold=float(np.median([fold.threshold for fold in folds if fold.threshold is not None])),
        objective=objective,
        precision=over_folds(lambda truth, flagged: precision_score(truth, flagged, zero_division=0.0)),
        recall=over_folds(recall_score),
        flagged=over_folds(lambda _, flagged: float(np.mean(flagged))),
    )


def importances(folds: list[Fold], n: int) -> list[Interval]:
    """By how much the ROC AUC of `n` employees falls without each feature, in the order of `FEATURES`."""
    share = len(folds[0].test) / (n - len(folds[0].test))
    falls = np.array([fold.importance for fold in folds])
    return [corrected_interval(column, share, low=-1.0) for column in falls.T]


def out_of_fold(folds: list[Fold], n: int) -> NDArray[np.float64]:
    """Shape (repeats, n): the probability of every employee by the model that had not seen him or her."""
    probability = np.empty((folds[-1].repeat + 1, n))
    for fold in folds:
        probability[fold.repeat, fold.test] = fold.probability
    return probability


def corrected_interval(
    values: NDArray[np.float64], share: float, *, estimate: float | None = None, low: float = 0.0, high: float = 1.0
) -> Interval:
    """A 95 % interval around the mean of a figure over folds whose training sets overlap.

    The variance is corrected as by Nadeau and Bengio, "Inference for the Generalization Error",
    Machine Learning 52 (2003): with J folds it is multiplied by 1/J + `share` in place of 1/J.

    Args:
        values: the figure on each fold, shape (J,).
        share: employees in a test fold, divided by those in its training folds.
        estimate: the centre, when it is not the mean.
        low: least possible value.
        high: greatest possible value.
    """
    centre = float(np.mean(values)) if estimate is None else estimate
    count = len(values)
    error = math.sqrt((1 / count + share) * float(np.var(values, ddof=1)))
    half = float(student_t.ppf(0.975, count - 1)) * error
    return Interval(centre, max(low, centre - half), min(high, centre + half))


def calibration_error(left: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Expected calibration error over bins of equal size, in [0, 1]."""
    order = np.argsort(probability, kind="stable")
    return float(
        sum(
            abs(probability[part].sum() - left[part].sum()) / len(left)
            for part in np.array_split(order, CALIBRATION_BINS)
        )
    )


def check_objective(objective: str) -> None:
    """Make sure that `choose_threshold` knows `objective`, before hours are spent.

    Raises:
        InvalidObjective: it does not.
    """
    choose_threshold(np.array([0, 1]), np.array([0.0, 1.0]), objective)


def choose_threshold(left: NDArray[np.int64], probability: NDArray[np.float64], objective: str) -> float:
    """The threshold that is best for `objective` on these employees.

    Args:
        left: shape (n,), 1 for a leaver; both classes occur.
        probability: shape (n,).
        objective: `f1`; `recall-at-precision=P`, the greatest recall at a precision of at least P in (0, 1],
            or the greatest precision where none reaches it; `cost=A:B`, the least cost when a leaver that
            was missed costs A and a false alarm costs B.

    Raises:
        InvalidObjective: it is none of these.
    """
    name, _, argument = objective.partition("=")
    if objective == "f1":
        precision, recall, thresholds = _precision_recall(left, probability)
        merit = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    elif name == "recall-at-precision" and re.fullmatch(r"0?\.\d+|1(\.0*)?", argument):
        precision, recall, thresholds = _precision_recall(left, probability)
        enough = precision >= float(argument)
        merit = np.where(enough, 1 + recall, precision)
    elif name == "cost" and re.fullmatch(r"\d+(\.\d+)?:\d+(\.\d+)?", argument):
        missed, alarm = (float(part) for part in argument.split(":"))
        false_rate, true_rate, thresholds = roc_curve(left, probability, drop_intermediate=False)
        leavers = left.mean()
        merit = -(missed * leavers * (1 - true_rate) + alarm * (1 - leavers) * false_rate)
    else:
        raise InvalidObjective("an objective is f1, recall-at-precision=0.5 or cost=9:1, with other numbers if need be")
    # The last of the best: the middle of the gap below it is as good, and does not hang on one employee.
    best = float(min(thresholds[int(np.argmax(merit))], 1.0))
    below = probability[probability < best]
    middle = (best + (float(below.max()) if len(below) else 0.0)) / 2
    return min(max(middle, 1e-6), 1 - 1e-6)


def _precision_recall(
    left: NDArray[np.int64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    precision, recall, thresholds = precision_recall_curve(left, probability)
    # The last point of the curve belongs to no threshold.
    return precision[:-1], recall[:-1], thresholds


class Split(NamedTuple):
    """Who is trained on and who is held out, as indices."""

    repeat: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def _splits(left: NDArray[np.int64], plan: Plan) -> Iterator[Split]:
    for repeat in range(plan.repeats):
        folds = StratifiedKFold(plan.folds, shuffle=True, random_state=plan.seed + repeat)
        for train, test in folds.split(left, left):
            yield Split(repeat, train, test)


def _run_fold(
    recipe: Recipe, data: TrainingData, split: Split, *, objective: str | None, seed: np.random.SeedSequence
) -> Fold:
    features, left = data.features[split.train], data.left[split.train]
    model = fit(recipe, features, left)
    probability = model.predict_proba(data.features[split.test])[:, 1]
    if objective is None:
        return Fold(repeat=split.repeat, test=split.test, probability=probability)
    inner_probability = np.empty(len(left))
    inner_folds = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=recipe.seed)
    for train, test in inner_folds.split(features, left):
        inner_probability[test] = fit(recipe, features[train], left[train]).predict_proba(features[test])[:, 1]
    return Fold(
        repeat=split.repeat,
        test=split.test,
        probability=probability,
        threshold=choose_threshold(left, inner_probability, objective),
        importance=_fall_when_shuffled(model, data.features[split.test], data.left[split.test], seed),
    )


def _fall_when_shuffled(
    model: Any,  # noqa: ANN401  # scikit-learn has no types
    features: NDArray[np.float64],
    left: NDArray[np.int64],
    seed: np.random.SeedSequence,
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    whole = roc_auc_score(left, model.predict_proba(features)[:, 1])
    falls = np.zeros(features.shape[1])
    for feature in range(features.shape[1]):
        for _ in range(SHUFFLES):
            shuffled = features.copy()
            shuffled[:, feature] = random.permutation(shuffled[:, feature])
            falls[feature] += (whole - roc_auc_score(left, model.predict_proba(shuffled)[:, 1])) / SHUFFLES
    return falls
