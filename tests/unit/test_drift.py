"""When the employees that a model is asked about differ from those that it learnt from."""

from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy import stats

from churn.adapters.joblib_model.bundle import active_version, read_manifest
from churn.domain.drift import (
    DriftReport,
    DriftRule,
    Verdict,
    benjamini_hochberg,
    bridge_exceeds,
    chi_squared,
    kolmogorov_smirnov,
    psi,
    psi_by_chance,
    report_drift,
)
from churn.domain.employee import FEATURES
from churn.domain.manifest import Histogram, Manifest
from churn.domain.traffic import Binning, rows, without_reference
from churn.settings import Settings

MODELS = Path(Settings().models_dir)
MANIFEST: Manifest = read_manifest(MODELS, active_version(MODELS))[0]
DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)
AGE, OVERTIME = FEATURES.index("age"), FEATURES.index("heures_supp")


def values(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Rows like the reference: whole numbers near the middles of its bins, as often as it has them."""
    rng = np.random.default_rng(seed)
    columns = []
    for feature in MANIFEST.features:
        starts = np.array([feature.low, *feature.histogram.edges])
        chosen = rng.choice(len(starts), size=n, p=np.array(feature.histogram.counts) / 1470)
        columns.append(starts[chosen])
    starts = np.array([0.01, *MANIFEST.score_histogram.edges])
    columns.append(starts[rng.integers(10, size=n)])
    return np.column_stack(columns)


def report(matrix: NDArray[np.float64], manifest: Manifest = MANIFEST, **rule: float) -> DriftReport:
    counts = Binning(manifest).count(matrix, without_reference=0)
    return report_drift(manifest, {DAY: counts}, since=DAY, until=NEXT, rule=msgspec.convert(rule, DriftRule))


# The measures, against independent ones.


@pytest.mark.parametrize("shares", [[0.1] * 10, [0.05, 0.23, 0.61, 0.11], [0.5, 0.5], [0.97, 0.01, 0.01, 0.01]])
def test_the_p_value_is_the_share_of_samples_that_chance_takes_as_far(shares: list[float]) -> None:
    """Over samples drawn from one population, the p-value is below any level as often as that level says."""
    rng = np.random.default_rng(0)
    p_values = [
        kolmogorov_smirnov(rng.multinomial(1470, shares), rng.multinomial(735, shares)).p_value for _ in range(4000)
    ]
    for level in (0.01, 0.05, 0.2):
        margin = 3.5 * (level * (1 - level) / 4000) ** 0.5
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=margin + 0.15 * level)


@pytest.mark.parametrize("bound", [0.6, 1.0, 1.4, 2.2, 2.99])
def test_the_points_of_a_bridge_are_nearly_all_of_it(bound: float) -> None:
    """The p-value of many even bins is that of the Kolmogorov distribution a little further out.

    Looking at a Brownian path every Δt only is like moving the bound by 0.5826 √Δt (Chernoff, Siegmund).
    """
    few, many = (bridge_exceeds(np.linspace(0, 1, steps + 1)[1:-1], bound) for steps in (10, 100))
    assert few < many < stats.kstwobign.sf(bound)
    assert many == pytest.approx(stats.kstwobign.sf(bound + 0.5826 / 100**0.5), rel=0.03)


def test_far_out_the_p_value_is_bounded() -> None:
    """Beyond the reach of the quadrature it is the Kolmogorov distribution's own, which is never too small."""
    assert bridge_exceeds(np.array([0.5]), 3.0) == pytest.approx(stats.kstwobign.sf(3.0), rel=1e-6)
    assert bridge_exceeds(np.array([0.5]), 40.0) == 0.0


def test_one_edge_is_a_normal_test() -> None:
    """With two bins the p-value is that of the normal distribution, as χ² has it."""
    assert bridge_exceeds(np.array([0.3]), 0.9) == pytest.approx(2 * stats.norm.sf(0.9 / 0.21**0.5), rel=1e-9)


def test_a_point_that_hardly_moves_the_bridge_changes_nothing() -> None:
    """Bins that are all but empty neither break the p-value nor change it much."""
    times = np.array([0.2, 0.5, 0.8])
    crowded = np.array([0.0, 0.0, 1e-9, 0.2, 0.2 + 1e-7, 0.5, 0.8, 1 - 1e-12, 1.0])
    assert bridge_exceeds(crowded, 1.1) == pytest.approx(bridge_exceeds(times, 1.1), rel=1e-6)


def test_chi_squared_is_scipys() -> None:
    """Statistic and p-value are those of scipy without the continuity correction."""
    ours = chi_squared(np.array([1054, 416]), np.array([180, 120]))
    theirs = stats.chi2_contingency([[1054, 416], [180, 120]], correction=False)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.distance == pytest.approx(0.4 - 416 / 1470)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_the_adjustment_is_scipys(p_values: list[float]) -> None:
    """Benjamini-Hochberg, in the order given."""
    expected = stats.false_discovery_control(p_values) if p_values else []
    assert benjamini_hochberg(p_values) == pytest.approx(list(expected))


def test_psi_is_by_chance_what_is_said() -> None:
    """Over samples of one population, the index is on average what is reported beside it."""
    rng = np.random.default_rng(0)
    pairs = [(rng.multinomial(1470, [0.1] * 10), rng.multinomial(300, [0.1] * 10)) for _ in range(2000)]
    assert np.mean([psi(*pair) for pair in pairs]) == pytest.approx(psi_by_chance(*pairs[0]), rel=0.05)


# The counts.


def test_every_value_falls_into_the_bin_that_the_reference_says() -> None:
    """A column's counts are those of the reference histogram's edges, and what lies out of the range is told."""
    matrix = values(500)
    matrix[:3, AGE], matrix[3:5, AGE] = 17, 61
    binning = Binning(MANIFEST)
    counts = binning.count(matrix, without_reference=7)
    assert (rows(counts), without_reference(counts)) == (500, 7)
    for column, histogram in enumerate([f.histogram for f in MANIFEST.features] + [MANIFEST.score_histogram]):
        expected = np.bincount(
            np.searchsorted(histogram.edges, matrix[:, column], side="right"), minlength=len(histogram.counts)
        )
        assert binning.column(counts, column).bins.tolist() == expected.tolist()
    age = binning.column(counts, AGE)
    assert (age.below, age.above) == (3, 2)


def test_the_ends_of_the_training_range_are_within_it() -> None:
    """The smallest and the largest training value are not out of range, and their next neighbours are."""
    low, high = MANIFEST.features[AGE].low, MANIFEST.features[AGE].high
    ages = [low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf)]
    matrix = values(4)
    matrix[:, AGE] = ages
    binning = Binning(MANIFEST)
    age = binning.column(binning.count(matrix, without_reference=0), AGE)
    assert (age.below, age.above) == (1, 1)


def test_counts_add_up() -> None:
    """The counts of two lots are those of both together."""
    binning, matrix = Binning(MANIFEST), values(300)
    parts = binning.count(matrix[:100], without_reference=1) + binning.count(matrix[100:], without_reference=2)
    assert (parts == binning.count(matrix, without_reference=3)).all()
    assert (binning.count(np.empty((0, 12)), without_reference=0) == binning.none()).all()


# The report.


def test_what_resembles_the_reference_is_stable() -> None:
    """No column drifts, and every figure is there."""
    told = report(values(735))
    assert told.verdict is Verdict.STABLE
    assert told.drifting == ()
    assert [column.name for column in told.features] == list(FEATURES)
    assert {column.test for column in told.features} == {"kolmogorov-smirnov", "chi-squared"}
    for column in (*told.features, told.score):
        assert None not in (column.distance, column.p_value, column.adjusted_p_value, column.psi, column.psi_by_chance)
        assert (column.reference, column.observed) == (1470, 735)
    assert told.without_employee_ref == 0.0
    assert [(volume.day, volume.predictions) for volume in told.volume] == [(DAY, 735)]


def test_the_column_that_drifts_is_named_and_no_other() -> None:
    """Ages five years younger make the age drift, and nothing that did not change."""
    matrix = values(735)
    matrix[:, AGE] = np.maximum(matrix[:, AGE] - 5, 18)
    told = report(matrix)
    assert told.verdict is Verdict.DRIFT
    assert told.drifting == ("age",)


def test_what_is_significant_but_small_does_not_drift() -> None:
    """In fifty thousand predictions a difference of six hundredths is no chance, and still no drift."""
    matrix = values(50_000)
    matrix[:4_000, OVERTIME] = 1.0
    column = report(matrix).features[OVERTIME]
    assert column.adjusted_p_value is not None
    assert column.adjusted_p_value < 0.001
    assert column.distance == pytest.approx(0.06, abs=0.01)
    assert column.verdict is Verdict.STABLE
    assert report(matrix, distance=0.05).features[OVERTIME].verdict is Verdict.DRIFT


def test_what_is_large_by_chance_does_not_drift() -> None:
    """A hundred predictions like the reference are far from it in some column, and that is no drift."""
    told = report(values(100))
    assert max(column.distance or 0.0 for column in told.features) >= 0.08
    assert told.verdict is Verdict.STABLE
    assert report(values(100), significance=1.01).verdict is Verdict.DRIFT


@pytest.mark.parametrize("n", [0, 1, 99])
def test_too_few_predictions_give_no_verdict(n: int) -> None:
    """Under a hundred nothing is said of any column, not even a figure."""
    told = report(values(n))
    assert told.verdict is Verdict.INSUFFICIENT_DATA
    assert {column.verdict for column in told.features} == {Verdict.INSUFFICIENT_DATA}
    assert {column.distance for column in told.features} == {None}
    assert told.predictions == n


@pytest.mark.parametrize(
    "broken",
    [
        Histogram((30.0,), (1, 2, 3)),
        Histogram((), ()),
        Histogram((30.0, 20.0), (1, 2, 3)),
        Histogram((30.0,), (0, 0)),
        Histogram((30.0,), (-5, 10)),
    ],
)
def test_a_broken_reference_spoils_only_its_own_column(broken: Histogram) -> None:
    """It is named as not comparable, and the others are compared as ever."""
    features = list(MANIFEST.features)
    features[AGE] = replace(features[AGE], histogram=broken)
    matrix = values(735)
    matrix[:, OVERTIME] = 1.0
    told = report(matrix, replace(MANIFEST, features=tuple(features)))
    assert told.features[AGE].verdict is Verdict.NOT_COMPARABLE
    assert told.features[AGE].distance is None
    assert told.drifting == ("heures_supp",)


def test_a_constant_column_is_compared() -> None:
    """Whether it is constant in the window, in the reference or in both."""
    matrix = values(300)
    matrix[:, AGE], matrix[:, OVERTIME] = 40, 0
    features = list(MANIFEST.features)
    features[OVERTIME] = replace(features[OVERTIME], histogram=Histogram((1.0,), (1470, 0)))
    features[0] = features[AGE]
    told = report(matrix, replace(MANIFEST, features=tuple(features)))
    assert told.features[AGE].verdict is Verdict.DRIFT
    assert (told.features[OVERTIME].distance, told.features[OVERTIME].p_value) == (0.0, 1.0)
    assert told.features[OVERTIME].verdict is Verdict.STABLE
    features[AGE] = replace(features[AGE], low=40, high=40, histogram=Histogram((), (1470,)))
    told = report(matrix, replace(MANIFEST, features=tuple(features)))
    assert (told.features[AGE].distance, told.features[AGE].p_value) == (0.0, 1.0)


def test_values_never_seen_in_training_are_told() -> None:
    """Their share is beside each feature, below and above the range."""
    matrix = values(200)
    pee = FEATURES.index("pee")
    matrix[:50, pee] = 7
    told = report(matrix)
    assert (told.features[pee].below_range, told.features[pee].above_range) == (0.0, 0.25)
    assert (told.score.below_range, told.score.above_range) == (None, None)
