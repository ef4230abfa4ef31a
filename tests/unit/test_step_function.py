"""The grid finds what a binary search would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.adapters.joblib_model.step_function import MAX_CELLS, StepFunction

numbers = st.floats(-1e9, 1e9, allow_nan=False)


def scored(cuts, values):
    """The scores of `values`, by the step function and by binary search; scores are the steps' own numbers."""
    cuts, values = np.array(cuts, dtype=float), np.array(values, dtype=float)
    scores = np.arange(len(cuts) + 1.0)
    out = np.empty(len(values))
    StepFunction(cuts, scores)(values, out)
    return out.tolist(), scores[np.searchsorted(cuts, values, side="right")].tolist()


@given(st.lists(numbers, unique=True, max_size=30).map(sorted), st.lists(numbers, max_size=30))
def test_any_cuts_and_any_values(cuts, values):
    """Whatever the cuts, every value, every cut and its neighbours get the score of a binary search."""
    for cut in cuts:
        values += [cut, float(np.nextafter(cut, -np.inf)), float(np.nextafter(cut, np.inf))]
    found, expected = scored(cuts, values)
    assert found == expected


@pytest.mark.parametrize(
    "cuts",
    [
        [],
        [0.5],
        [0.5, 1.5, 2.5],
        [0.1, 0.2, 0.30000000000000004],
        [1e-300, 2e-300],
        [0.0, 1.0, MAX_CELLS - 3.0],
        [0.0, 1.0, MAX_CELLS * 1.0],
        [0.0, 5e-324, 1e308],
        np.cumsum(np.full(500, 0.1)).tolist(),
    ],
)
def test_cuts_at_the_limits_of_a_grid(cuts):
    """No cuts, one, cuts as close as floats can be, and grids of just too many cells are exact as well."""
    values = [-1e300, -0.0, 0.0, 1e300, *cuts, *np.nextafter(cuts, -np.inf), *np.nextafter(cuts, np.inf)]
    found, expected = scored(cuts, values)
    assert found == expected
