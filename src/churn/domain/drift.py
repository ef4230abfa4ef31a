"""Do the employees that a model is asked about still resemble those that it learnt from?

Two samples are compared, column by column, by how many values fell into the bins of the reference histogram: the
training data, and a window of predictions. A column drifts when its difference is both significant, after the
Benjamini-Hochberg adjustment over all columns, and large. `bench/drift.py` measures how often that rule is wrong.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from churn.domain.employee import FEATURES
from churn.domain.manifest import Histogram, Manifest
from churn.domain.traffic import Binning, ColumnCounts, Counts, DayVolume, rows, without_reference

#: Predictions under which nothing is said: below, even a difference of 0.15 is mostly chance.
ENOUGH: Final = 100
#: Share of false discoveries among the columns said to differ. With the usual 0.05, 4 % of windows of 300 predictions
#: without drift raise an alarm; with 0.03 it is 2 %, and what must be found still is.
SIGNIFICANCE: Final = 0.03
#: From this bound on, the first term of the Kolmogorov distribution, which the p-value cannot exceed, is below 4e-8.
_FAR: Final = 3.0
#: Steps of a Brownian bridge that are left out: in so short a time it hardly moves.
_SHORTEST_STEP: Final = 1e-3
#: Name of the column that is not a feature.
SCORE: Final = "probability"


class Verdict(StrEnum):
    """What a comparison amounts to."""

    STABLE = "stable"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"
    NOT_COMPARABLE = "not_comparable"


class DriftRule(Struct, frozen=True, kw_only=True):
    """Quand une variable est dite en dérive : écart à la fois significatif et grand."""

    distance: Annotated[float, Meta(description="Écart à partir duquel il est grand.")] = 0.08
    significance: Annotated[
        float, Meta(description="Taux de fausses découvertes (Benjamini-Hochberg) sous lequel il est significatif.")
    ] = SIGNIFICANCE
    enough: Annotated[int, Meta(description="Prédictions sous lesquelles il n'y a pas de verdict.")] = ENOUGH


class Difference(Struct, frozen=True):
    """How far two binned samples are from one another, and how likely chance is to take them there."""

    statistic: float
    distance: float
    """In [0, 1]."""
    p_value: float


class ColumnDrift(Struct, frozen=True, kw_only=True):
    """Une variable, ou la probabilité, comparée à la référence."""

    name: str
    test: Literal["kolmogorov-smirnov", "chi-squared"]
    reference: Annotated[int, Meta(description="Taille de l'échantillon de référence.")]
    observed: Annotated[int, Meta(description="Prédictions de la période.")]
    statistic: Annotated[float | None, Meta(description="D de Kolmogorov-Smirnov, ou χ².")]
    distance: Annotated[float | None, Meta(description="D, ou distance en variation totale ; de 0 à 1.")]
    p_value: float | None
    adjusted_p_value: Annotated[float | None, Meta(description="Ajustée sur toutes les variables.")]
    psi: Annotated[float | None, Meta(description="Indice de stabilité (PSI) ; à titre indicatif, ne décide de rien.")]
    psi_by_chance: Annotated[float | None, Meta(description="PSI que le hasard seul donne en moyenne à ces tailles.")]
    below_range: Annotated[float | None, Meta(description="Part sous la plus petite valeur d'apprentissage.")]
    above_range: Annotated[float | None, Meta(description="Part au-dessus de la plus grande.")]
    verdict: Annotated[
        Verdict,
        Meta(description="`not_comparable` : le modèle n'a pas de référence utilisable pour cette variable."),
    ]


class DriftReport(Struct, frozen=True, kw_only=True):
    """Ce que le modèle reçoit, comparé à ce qu'il a appris."""

    model_version: str
    since: Annotated[date, Meta(description="Premier jour compté (UTC).")]
    until: Annotated[date, Meta(description="Jour qui suit le dernier jour compté (UTC).")]
    predictions: int
    verdict: Verdict
    rule: DriftRule
    features: tuple[ColumnDrift, ...]
    score: ColumnDrift
    without_employee_ref: Annotated[
        float | None, Meta(description="Part des prédictions sans la seule donnée facultative.")
    ]
    volume: Annotated[tuple[DayVolume, ...], Meta(description="Prédictions de chaque jour qui en a.")]

    @property
    def drifting(self) -> tuple[str, ...]:
        """Names of the columns that drift."""
        return tuple(column.name for column in (*self.features, self.score) if column.verdict is Verdict.DRIFT)


def report_drift(
    manifest: Manifest,
    days: Mapping[date, Counts],
    *,
    since: date,
    until: date,
    rule: DriftRule,
) -> DriftReport:
    """Compare what was counted on `days` (by `Binning(manifest)`, from `since` to the day before `until`).

    A column that cannot be compared says so, and the others are compared all the same.
    """
    binning = Binning(manifest)
    counts = sum(days.values(), start=binning.none())
    names = (*FEATURES, SCORE)
    categorical = [*(feature.kind == "boolean" for feature in manifest.features), False]
    observed = [binning.column(counts, column) for column in range(len(names))]
    compared = [
        _compare(binning.reference(column), observed[column], categorical=categorical[column], rule=rule)
        for column in range(len(names))
    ]
    differences = [outcome for outcome in compared if isinstance(outcome, Difference)]
    adjusted = iter(benjamini_hochberg([difference.p_value for difference in differences]))
    columns = tuple(
        _column(
            name,
            binning.reference(column),
            observed[column],
            compared[column],
            next(adjusted) if isinstance(compared[column], Difference) else None,
            categorical=categorical[column],
            has_range=name != SCORE,
            rule=rule,
        )
        for column, name in enumerate(names)
    )
    verdicts = {column.verdict for column in columns}
    total = rows(counts)
    return DriftReport(
        model_version=manifest.version,
        since=since,
        until=until,
        predictions=total,
        # What is worst, of what there is.
        verdict=next(
            verdict
            for verdict in (Verdict.DRIFT, Verdict.STABLE, Verdict.INSUFFICIENT_DATA, Verdict.NOT_COMPARABLE)
            if verdict in verdicts
        ),
        rule=rule,
        features=columns[:-1],
        score=columns[-1],
        without_employee_ref=without_reference(counts) / total if total else None,
        volume=tuple(DayVolume(day, rows(days[day])) for day in sorted(days) if rows(days[day])),
    )


def _compare(
    reference: Histogram, observed: ColumnCounts, *, categorical: bool, rule: DriftRule
) -> Difference | Literal[Verdict.INSUFFICIENT_DATA, Verdict.NOT_COMPARABLE]:
    usable = (
        len(reference.counts) == len(reference.edges) + 1
        and min(reference.counts) >= 0
        and sum(reference.counts) > 0
        and all(lower < upper for lower, upper in zip(reference.edges, reference.edges[1:], strict=False))
    )
    if not usable:
        return Verdict.NOT_COMPARABLE
    if observed.bins.sum() < rule.enough:
        return Verdict.INSUFFICIENT_DATA
    test = chi_squared if categorical else kolmogorov_smirnov
    return test(np.array(reference.counts), observed.bins)


def _column(
    name: str,
    reference: Histogram,
    observed: ColumnCounts,
    outcome: Difference | Literal[Verdict.INSUFFICIENT_DATA, Verdict.NOT_COMPARABLE],
    adjusted: float | None,
    *,
    categorical: bool,
    has_range: bool,
    rule: DriftRule,
) -> ColumnDrift:
    n = int(observed.bins.sum())
    difference = outcome if isinstance(outcome, Difference) else None
    if isinstance(outcome, Difference):
        drifts = adjusted is not None and adjusted < rule.significance and outcome.distance >= rule.distance
        verdict = Verdict.DRIFT if drifts else Verdict.STABLE
    else:
        verdict = outcome
    expected = np.array(reference.counts)
    return ColumnDrift(
        name=name,
        test="chi-squared" if categorical else "kolmogorov-smirnov",
        reference=int(expected.sum()),
        observed=n,
        statistic=None if difference is None else difference.statistic,
        distance=None if difference is None else difference.distance,
        p_value=None if difference is None else difference.p_value,
        adjusted_p_value=adjusted,
        psi=None if difference is None else psi(expected, observed.bins),
        psi_by_chance=None if difference is None else psi_by_chance(expected, observed.bins),
        below_range=observed.below / n if has_range and n else None,
        above_range=observed.above / n if has_range and n else None,
        verdict=verdict,
    )


def kolmogorov_smirnov(reference: NDArray[np.int64], observed: NDArray[np.int64]) -> Difference:
    """Compare two samples of ordered values, of which only the counts in k + 1 common bins are known.

    The distance is the largest difference between their cumulative shares at the k edges. Its p-value is that of
    the largest of k points of a Brownian bridge, which is where that difference tends: the usual Kolmogorov
    distribution takes the largest of all points, and so is too cautious with bins.

    Args:
        reference: shape (k + 1,), not all 0.
        observed: likewise.
    """
    expected, actual = np.cumsum(reference) / reference.sum(), np.cumsum(observed) / observed.sum()
    distance = float(np.abs(expected - actual).max())
    effective = reference.sum() * observed.sum() / (reference.sum() + observed.sum())
    # Both samples weigh the same here, so that of very unequal ones the larger does not hide where the other's are.
    times = (expected + actual)[:-1] / 2
    return Difference(distance, distance, bridge_exceeds(times, distance * math.sqrt(effective)))


def bridge_exceeds(times: NDArray[np.float64], bound: float) -> float:
    """The probability that a Brownian bridge is at least `bound` away from 0 at one of `times`, in [0, 1], ascending.

    A bridge is a Markov process: the density of those that have stayed within the bound so far is carried from each
    time to the next, by Gauss-Legendre quadrature.
    """
    if bound >= _FAR:
        return 2 * math.exp(-2 * bound**2)
    kept: list[float] = []
    for time in times:
        if time - (kept[-1] if kept else 0.0) >= _SHORTEST_STEP and 1 - time >= _SHORTEST_STEP:
            kept.append(float(time))
    if not kept or bound <= 0:
        return 1.0
    # From (time, value) the bridge comes to `shrink` times that value on average, with this standard deviation.
    shrinks = [(1 - later) / (1 - earlier) for earlier, later in zip([0.0, *kept], kept, strict=False)]
    spreads = [
        math.sqrt((later - earlier) * shrink)
        for earlier, later, shrink in zip([0.0, *kept], kept, shrinks, strict=False)
    ]
    # Four nodes to the narrowest of those densities give twelve digits.
    nodes, weights = _gauss_legendre(1 << max(5, math.ceil(math.log2(4 * bound / min(spreads)))))
    nodes, weights = nodes * bound, weights * bound
    density = _normal(nodes, spreads[0])
    for shrink, spread in zip(shrinks[1:], spreads[1:], strict=True):
        density = _normal(nodes[:, None] - shrink * nodes, spread) @ (weights * density)
    return min(1.0, max(0.0, 1 - float(weights @ density)))


@lru_cache(maxsize=8)
def _gauss_legendre(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(n)


def _normal(x: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * (x / spread) ** 2) / (spread * math.sqrt(2 * math.pi))


def chi_squared(reference: NDArray[np.int64], observed: NDArray[np.int64]) -> Difference:
    """Compare how often two samples say yes and no, by Pearson's χ² with one degree of freedom.

    The distance is the total variation.

    Args:
        reference: shape (2,), not all 0.
        observed: likewise.
    """
    table = np.array([reference, observed], dtype=np.float64)
    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if not expected.all():  # both samples are the same constant
        return Difference(0.0, distance, 1.0)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return Difference(statistic, distance, math.erfc(math.sqrt(statistic / 2)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in the order given: those below q have a false discovery rate of q."""
    if not p_values:
        return []
    n = len(p_values)
    ascending = np.argsort(p_values)
    scaled = np.array(p_values)[ascending] * n / np.arange(1, n + 1)
    adjusted = np.empty(n)
    adjusted[ascending] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    return [float(value) for value in adjusted]


def psi(reference: NDArray[np.int64], observed: NDArray[np.int64]) -> float:
    """The population stability index of two binned samples; half a value is added to each bin, lest one be empty."""
    expected, actual = (reference + 0.5) / (reference + 0.5).sum(), (observed + 0.5) / (observed + 0.5).sum()
    return float(((actual - expected) * np.log(actual / expected)).sum())


def psi_by_chance(reference: NDArray[np.int64], observed: NDArray[np.int64]) -> float:
    """What the index is on average for two samples of one population, to first order in their sizes.

    Times the harmonic size it is asymptotically χ² with one degree of freedom fewer than there are bins
    (Yurdakul, Statistical Properties of Population Stability Index, 2018).
    """
    return float((len(reference) - 1) * (1 / reference.sum() + 1 / observed.sum()))
