"""Was the model right? Realised figures from outcomes, and an estimate for as long as there are none.

Only predictions whose horizon has passed count for the realised figures. Before that, those who have left are known
and those who will stay are not, and a model would be judged on its leavers alone. For the same reason time does not run
by the calendar but by what has been observed: a horizon has passed when somebody, anybody, has been observed to be
still there on its last day or later. Where only departures are ever reported, nothing can be said.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from churn.domain.language import Language
from churn.domain.manifest import Interval
from churn.domain.prediction import RISKS, Risk
from churn.domain.review import ReviewRates

#: Of the standard normal distribution, for an interval of 95 %.
_Z: Final = 1.959963984540054
#: How often outcomes are drawn for an estimate's interval: its ends are then good to about a tenth of its width.
_DRAWS: Final = 500
_HIGH: Final = RISKS.index(Risk.HIGH)

#: Score bins of a cohort, over [0, 1]: probabilities within one are nearly ties, which costs the ROC AUC far less than
#: a hundredth of its interval.
SCORE_BINS: Final = 200

#: What the estimate takes for granted.
ASSUMPTION: Final = {
    Language.FR: (
        "L'estimation suppose que les probabilités sont justes : que sur cent employés à 30 %, trente partent. Elle "
        "suit un changement de population, mais ne voit pas qu'un même profil s'est mis à partir plus ou moins."
    ),
    Language.EN: (
        "The estimate takes the probabilities to be right: of a hundred employees at 30 %, thirty leave. It follows a "
        "change of the population, but cannot see that people alike have begun to leave more, or less."
    ),
}


class Cohort(Struct, frozen=True, kw_only=True, dict=True):
    """The predictions that one version made in one month, and what is known of them on one day."""

    month: date
    """Its first day, in UTC."""
    model_version: str
    risk: NDArray[np.uint8]
    """Shape (m,), positions in `RISKS`: of groups of predictions of equal risk and nearly equal probability."""
    count: NDArray[np.int64]
    """Shape (m,): predictions in each group."""
    probability: NDArray[np.float64]
    """Shape (m,): their mean probability."""
    pending: int
    """Predictions whose horizon has not passed."""
    left_early: int
    """Of those, how many are known to have left already."""
    resolved_risk: NDArray[np.uint8]
    """Shape (n,), positions in `RISKS`: of the predictions whose horizon has passed and whose outcome is known."""
    resolved_probability: NDArray[np.float64]
    """Shape (n,)."""
    resolved_left: NDArray[np.bool_]
    """Shape (n,)."""

    @property
    def predictions(self) -> int:
        """How many there are."""
        return int(self.count.sum())

    @cached_property
    def made(self) -> bytes:
        """A digest of the groups: equal for equal ones, and for no others."""
        return _digest(self.risk, self.count, self.probability)

    @cached_property
    def known(self) -> bytes:
        """The same, of the predictions that are resolved."""
        return _digest(self.resolved_risk, self.resolved_probability, self.resolved_left)


def _digest(*arrays: NDArray[np.generic]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8))
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class Band(Struct, frozen=True, kw_only=True):
    """Ce qui était prédit d'un niveau de risque, et ce qui est arrivé."""

    risk: Risk
    predictions: int
    predicted: Annotated[float, Meta(description="Probabilité moyenne.")]
    left: Annotated[int, Meta(description="Départs observés.")]
    observed: Annotated[Interval, Meta(description="Part des départs, intervalle de Wilson à 95 %.")]


class Realised(Struct, frozen=True, kw_only=True):
    """Ce que le modèle a valu, d'après les résultats connus ; intervalles à 95 %."""

    predictions: Annotated[int, Meta(description="Prédictions échues dont le résultat est connu.")]
    left: int
    expected: Annotated[float, Meta(description="Départs attendus d'après les probabilités.")]
    roc_auc: Annotated[Interval | None, Meta(description="Intervalle de DeLong.")]
    precision: Annotated[Interval | None, Meta(description="Part des signalés qui sont partis (Wilson).")]
    recall: Annotated[Interval | None, Meta(description="Part des partis qui étaient signalés (Wilson).")]
    brier: Interval
    bands: tuple[Band, ...]


class Estimated(Struct, frozen=True, kw_only=True):
    """Ce que le modèle devrait valoir si ses probabilités sont justes (CBPE) ; intervalles à 95 %."""

    left: Annotated[Interval, Meta(description="Départs.")]
    roc_auc: Interval | None
    precision: Interval | None
    recall: Interval | None
    brier: Interval


class Performance(Struct, frozen=True, kw_only=True):
    """Les prédictions d'une version, d'un mois ou de toute la période."""

    month: Annotated[date | None, Meta(description="Premier jour du mois (UTC) ; absent pour toute la période.")]
    model_version: str
    predictions: int
    pending: Annotated[int, Meta(description="Dont l'horizon n'est pas échu : ni justes ni fausses encore.")]
    left_early: Annotated[int, Meta(description="Parmi elles, celles dont le départ est déjà connu ; non comptées.")]
    censored: Annotated[int, Meta(description="Échues, mais que personne n'a observées assez longtemps.")]
    realised: Realised | None
    estimated: Estimated
    accepted: Annotated[int, Meta(description="Prédictions acceptées à la relecture.")]
    overridden: Annotated[int, Meta(description="Prédictions écartées à la relecture.")]
    dismissed: Annotated[int, Meta(description="Prédictions restées sans usage à la relecture.")]


class PerformanceReport(Struct, frozen=True, kw_only=True):
    """Le modèle a-t-il eu raison ?"""

    since: Annotated[date, Meta(description="Premier jour des prédictions (UTC).")]
    until: Annotated[date, Meta(description="Jour qui suit le dernier (UTC).")]
    as_of: Annotated[date, Meta(description="Jour du rapport (UTC).")]
    observed_until: Annotated[
        date | None,
        Meta(
            description=(
                "Dernier jour où quelqu'un a été observé encore là. Un horizon est échu s'il finit ce jour-là au plus "
                "tard : après, on connaît des départs, mais pas encore qui est resté."
            )
        ),
    ]
    horizon_months: Annotated[int, Meta(description="Un départ compte dans ce nombre de mois après la prédiction.")]
    versions: Annotated[tuple[Performance, ...], Meta(description="Par version, sur toute la période.")]
    months: Annotated[tuple[Performance, ...], Meta(description="Par mois et version.")]


class Judge:
    """Tells what the predictions of cohorts, at least one, were worth together. Takes milliseconds."""

    def realised(self, cohorts: Sequence[Cohort]) -> Realised | None:
        """By those that are resolved; None if there are none."""
        probability = np.concatenate([cohort.resolved_probability for cohort in cohorts])
        left = np.concatenate([cohort.resolved_left for cohort in cohorts])
        risk = np.concatenate([cohort.resolved_risk for cohort in cohorts])
        return realise(probability, left, risk) if len(left) else None

    def estimated(self, cohorts: Sequence[Cohort]) -> Estimated:
        """By all that were made."""
        return estimate(
            np.concatenate([cohort.count for cohort in cohorts]),
            np.concatenate([cohort.probability for cohort in cohorts]),
            np.concatenate([cohort.risk for cohort in cohorts]) == _HIGH,
        )


def report_performance(
    cohorts: Sequence[Cohort],
    reviews: Sequence[ReviewRates],
    *,
    since: date,
    until: date,
    as_of: date,
    observed_until: date | None,
    horizon_months: int,
    judge: Judge,
) -> PerformanceReport:
    """Judge each cohort, and each version over all its cohorts."""
    rates = {(rate.month, rate.model_version): rate for rate in reviews}

    def tell(month: date | None, version: str, members: Sequence[Cohort]) -> Performance:
        reviewed = [rates[member.month, version] for member in members if (member.month, version) in rates]
        realised = judge.realised(members)
        resolved = 0 if realised is None else realised.predictions
        predictions, pending = (
            sum(member.predictions for member in members),
            sum(member.pending for member in members),
        )
        return Performance(
            month=month,
            model_version=version,
            predictions=predictions,
            pending=pending,
            left_early=sum(member.left_early for member in members),
            censored=predictions - pending - resolved,
            realised=realised,
            estimated=judge.estimated(members),
            accepted=sum(rate.accepted for rate in reviewed),
            overridden=sum(rate.overridden for rate in reviewed),
            dismissed=sum(rate.dismissed for rate in reviewed),
        )

    versions: dict[str, list[Cohort]] = {}
    for cohort in cohorts:
        versions.setdefault(cohort.model_version, []).append(cohort)
    return PerformanceReport(
        since=since,
        until=until,
        as_of=as_of,
        observed_until=observed_until,
        horizon_months=horizon_months,
        versions=tuple(tell(None, version, members) for version, members in versions.items()),
        months=tuple(tell(cohort.month, cohort.model_version, [cohort]) for cohort in cohorts),
    )


def realise(probability: NDArray[np.float64], left: NDArray[np.bool_], risk: NDArray[np.uint8]) -> Realised:
    """What n ≥ 1 predictions were worth, of which shape (n,) `probability` was said and `left` has happened.

    Args:
        probability: shape (n,).
        left: shape (n,).
        risk: shape (n,), positions in `RISKS`.
    """
    flagged = risk == _HIGH
    hits = int((flagged & left).sum())
    errors = (probability - left) ** 2
    bands = []
    for position, level in enumerate(RISKS):
        inside = risk == position
        if inside.any():
            bands.append(
                Band(
                    risk=level,
                    predictions=int(inside.sum()),
                    predicted=float(probability[inside].mean()),
                    left=int(left[inside].sum()),
                    observed=wilson(int(left[inside].sum()), int(inside.sum())),
                )
            )
    return Realised(
        predictions=len(left),
        left=int(left.sum()),
        expected=float(probability.sum()),
        roc_auc=roc_auc(probability, left),
        precision=wilson(hits, int(flagged.sum())) if flagged.any() else None,
        recall=wilson(hits, int(left.sum())) if left.any() else None,
        brier=_mean(errors),
        bands=tuple(bands),
    )


def wilson(successes: int, n: int, *, z: float = _Z) -> Interval:
    """A share and its Wilson score interval, `z` standard errors to each side; n ≥ 1."""
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Rounding must not put the share outside of its own interval.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def _mean(values: NDArray[np.float64]) -> Interval:
    mean = float(values.mean())
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 1.0
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def roc_auc(probability: NDArray[np.float64], left: NDArray[np.bool_]) -> Interval | None:
    """The area under the ROC curve and its DeLong interval; None with fewer than two of either kind."""
    leavers, stayers = np.sort(probability[left]), np.sort(probability[~left])
    if min(len(leavers), len(stayers)) < 2:  # noqa: PLR2004 - a variance takes two
        return None
    # Of each one, the share of the other kind that it is ranked right against; ties count half.
    above = (stayers.searchsorted(leavers) + stayers.searchsorted(leavers, side="right")) / (2 * len(stayers))
    below = 1 - (leavers.searchsorted(stayers) + leavers.searchsorted(stayers, side="right")) / (2 * len(leavers))
    area = float(above.mean())
    half = _Z * math.sqrt(above.var(ddof=1) / len(leavers) + below.var(ddof=1) / len(stayers))
    return Interval(area, max(0.0, area - half), min(1.0, area + half))


def estimate(count: NDArray[np.int64], probability: NDArray[np.float64], flagged: NDArray[np.bool_]) -> Estimated:
    """What predictions will be worth if their probabilities are right: confidence-based performance estimation.

    Outcomes are drawn with these probabilities, again and again with a fixed seed: the estimates are the figures that
    the expected outcomes give, and the intervals hold the middle 95 % of what the drawn ones do.

    Args:
        count: shape (m,), predictions in each group, not all 0.
        probability: shape (m,), of each prediction of the group.
        flagged: shape (m,), whether they are classed as leaving.
    """
    count, probability, flagged = _merge(count, probability, flagged)
    # Group by group: what a draw needs of its group is then worked out once.
    drawn = np.random.default_rng(0).binomial(count[:, None], probability[:, None], size=(len(count), _DRAWS)).T
    expected = _figures(count, probability, flagged, (count * probability)[None, :])
    figures = _figures(count, probability, flagged, drawn)

    def interval(name: str) -> Interval | None:
        value, sample = float(expected[name][0]), figures[name][np.isfinite(figures[name])]
        if not (math.isfinite(value) and len(sample)):
            return None
        low, high = np.quantile(sample, [0.025, 0.975])
        return Interval(value, min(value, float(low)), max(value, float(high)))

    left, brier = interval("left"), interval("brier")
    assert left is not None  # noqa: S101 - both are sums, which always exist
    assert brier is not None  # noqa: S101
    return Estimated(
        left=left,
        roc_auc=interval("roc_auc"),
        precision=interval("precision"),
        recall=interval("recall"),
        brier=brier,
    )


def _merge(
    count: NDArray[np.int64], probability: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The same with one group for each score bin, flagged or not, however many there were."""
    key = 2 * np.floor(probability * SCORE_BINS).astype(np.int64) + flagged
    keys, group = np.unique(key, return_inverse=True)
    merged = np.bincount(group, weights=count)
    mean = np.bincount(group, weights=count * probability) / merged
    return merged.astype(np.int64), mean.clip(0, 1), keys % 2 == 1


def _figures(
    count: NDArray[np.int64],
    probability: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    left: NDArray[np.float64] | NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """Each figure, shape (k,), for k draws of how many left of each group, shape (k, m)."""
    ascending = np.argsort(probability, kind="stable")
    # Groups of equal probability are ties, whatever their risk.
    _, tie = np.unique(probability[ascending], return_inverse=True)
    starts = np.flatnonzero(np.diff(tie, prepend=-1))
    leavers = np.add.reduceat(left[:, ascending], starts, axis=1)
    stayers = np.add.reduceat(count[ascending] - left[:, ascending], starts, axis=1)
    ranked_below = np.cumsum(stayers, axis=1) - stayers / 2
    total = left.sum(axis=1)
    hits = left[:, flagged].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "left": total.astype(np.float64),
            "roc_auc": (leavers * ranked_below).sum(axis=1) / (total * (count.sum() - total)),
            "precision": hits / count[flagged].sum(),
            "recall": hits / total,
            "brier": (left * (1 - probability) ** 2 + (count - left) * probability**2).sum(axis=1) / count.sum(),
        }
