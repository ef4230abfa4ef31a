"""What a model's bundle says of itself: where it comes from, what it is worth and what it must not be used for."""

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from churn.domain.prediction import ModelInfo

#: The shape of `Manifest`; raised whenever an older churn could no longer read a newer manifest rightly.
MANIFEST_FORMAT: Final = 1

#: Versions become folder names: no separator, no leading dot.
VERSION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Interval(Struct, frozen=True):
    """An estimate with its 95 % confidence interval."""

    estimate: float
    low: float
    high: float


class Histogram(Struct, frozen=True):
    """How often values fell between given edges.

    `counts[i]` values v have exactly i edges that are smaller than or equal to v: the outer bins are
    open, so every value falls into one.
    """

    edges: tuple[float, ...]
    """Ascending, k of them."""
    counts: tuple[int, ...]
    """k + 1 of them."""

    def share_below(self, value: float, *, low: float, high: float) -> float:
        """The share of values below `value`, those of one bin being spread evenly; all lie from `low` to `high`."""
        edges = (low, *self.edges, high)
        below = 0.0
        for left, right, count in zip(edges, edges[1:], self.counts, strict=False):
            if value >= right:
                below += count
            elif value > left:
                below += count * (value - left) / (right - left)
        return below / (sum(self.counts) or 1)


class Effect(Struct, frozen=True):
    """A feature's share in the log-odds: `scores[i]` where i edges are smaller than or equal to the value."""

    cuts: tuple[float, ...]
    scores: tuple[float, ...]


class Feature(Struct, frozen=True, kw_only=True):
    """One input of the model."""

    name: str
    """Its name on the wire."""
    kind: Literal["integer", "number", "boolean"]
    """A boolean is 1.0 for `Oui` and 0.0 for `Non`."""
    low: float
    """Smallest training value."""
    high: float
    """Largest training value."""
    monotone: Literal[-1, 0, 1] = 0
    """Declared direction: 1, the risk never falls as the value grows; -1, it never rises; 0, free."""
    histogram: Histogram
    """Of the training data, the reference for drift."""
    effect: Effect | None = None
    """None if the model does not explain itself."""
    importance: Interval | None = None
    """By how much the ROC AUC falls when the feature is shuffled among employees held out of training."""


class Recipe(Struct, frozen=True, kw_only=True):
    """How to train the model again."""

    estimator: str
    parameters: dict[str, bool | int | float | str | list[int] | None]
    seed: int


class Data(Struct, frozen=True, kw_only=True):
    """What the model was trained on."""

    name: str
    source: str
    licence: str
    sha256: Sha256
    """Of the features and the target as little-endian float64, row by row."""
    rows: int
    leavers: int


class Decision(Struct, frozen=True, kw_only=True):
    """From which probability on an employee is classed as leaving, and what that costs."""

    threshold: Annotated[float, Meta(gt=0, lt=1)]
    objective: str
    """What the threshold was chosen for: `f1`, `recall-at-precision=0.5` or `cost=9:1`."""
    precision: Interval
    """Of the employees flagged, the share that left; on folds that took no part in choosing."""
    recall: Interval
    """Of the employees who left, the share that was flagged; likewise."""
    flagged: Interval
    """Share of all employees that was flagged; likewise."""


class Metrics(Struct, frozen=True, kw_only=True):
    """Cross-validated worth of one recipe."""

    name: str
    roc_auc: Interval
    average_precision: Interval
    log_loss: Interval
    brier: Interval
    ece: Interval
    """Expected calibration error: the mean gap between the probability said and the share that left."""
    roc_auc_gain: Interval | None = None
    """By how much the model's ROC AUC exceeds this one's on the same folds; None for the model itself."""


class Evaluation(Struct, frozen=True, kw_only=True):
    """How the figures were measured, the model's own and those of what it was compared with."""

    folds: int
    repeats: int
    model: Metrics
    baselines: tuple[Metrics, ...] = ()


class ReliabilityBin(Struct, frozen=True):
    """Employees held out of training who were given similar probabilities."""

    employees: int
    said: float
    """Mean probability."""
    left: Interval
    """Share that left."""


class GroupRates(Struct, frozen=True, kw_only=True):
    """How the model treats one group of employees, all of them held out of training."""

    group: str
    employees: int
    leavers: int
    flagged: Interval
    """Share classed as leaving."""
    flagged_ratio: Interval
    """That share, divided by the share among all other employees."""
    true_positive_rate: Interval
    """Of those who left, the share that was flagged."""
    false_positive_rate: Interval
    """Of those who stayed, the share that was flagged."""
    calibration: Interval
    """Mean probability minus the share that left: above zero, the model overstates the risk."""


class Fairness(Struct, frozen=True, kw_only=True):
    """How the model treats the groups of a trait that it is not given, or is not judged by."""

    trait: str
    groups: tuple[GroupRates, ...]
    too_small: tuple[str, ...]
    """Groups of too few employees, leavers or stayers to say anything of."""
    findings: tuple[str, ...]
    """What this amounts to, in plain words."""


class Golden(Struct, frozen=True):
    """Rows whose probabilities are known: a model that gives others is not the one that was tested."""

    rows: tuple[tuple[float, ...], ...]
    probabilities: tuple[Probability, ...]


class Manifest(Struct, frozen=True, kw_only=True):
    """What is in a bundle's `manifest.json`."""

    format: Literal[1] = 1
    version: Annotated[str, Meta(pattern=VERSION_PATTERN)]
    created_at: datetime
    estimator: str
    """Class of the model that is served."""
    model_sha256: Sha256
    """Of the bytes of `model.joblib`."""
    numbers_sha256: Sha256 | None = None
    """Of the model's numbers alone: equal for equal data, recipe and seed."""
    libraries: dict[str, str]
    """Versions that the model was trained and written with."""
    recipe: Recipe
    data: Data
    features: tuple[Feature, ...]
    """In the order in which the model takes them."""
    base_rate: Annotated[float, Meta(gt=0, lt=1)]
    intercept: float | None = None
    decision: Decision
    evaluation: Evaluation
    reliability: tuple[ReliabilityBin, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    intended_use: tuple[str, ...] = ()
    forbidden_use: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    score_histogram: Histogram
    """Of the probabilities of employees held out of training, the reference for drift."""
    golden: Golden

    def info(self) -> ModelInfo:
        """What the rest of the service needs to know of the model."""
        return ModelInfo(
            version=self.version,
            threshold=self.decision.threshold,
            base_rate=self.base_rate,
            ranges=tuple((feature.low, feature.high) for feature in self.features),
            intercept=self.intercept,
        )
