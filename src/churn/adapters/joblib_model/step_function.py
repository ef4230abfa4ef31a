"""Step functions over whole columns, faster than by binary search."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Most cells of a grid. Its two tables then take 1 MiB: more would not stay in a core's cache.
MAX_CELLS: Final = 1 << 16


class StepFunction:
    """`scores[i]` for each value, where i is the number of `cuts` that are smaller than or equal to it.

    A binary search mispredicts a branch at every other step. Here a grid of equal cells, so narrow that
    none holds two cuts, tells how many cuts lie in the cells below; one comparison with the cell's own cut
    does the rest. The result is exact whatever the rounding, since the cell of a value is computed as that
    of a cut is and never falls as the value grows: a cut in a lower cell is smaller, in a higher one larger.
    Cuts too close together for a grid are searched after all.
    """

    def __init__(self, cuts: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """`cuts`, shape (k,), ascends strictly; `scores` has shape (k + 1,)."""
        self._cuts = cuts
        self._scores = scores
        self._first, self._last = (float(cuts[0]), float(cuts[-1])) if len(cuts) else (0.0, 0.0)
        span = self._last - self._first
        narrowest = float(np.diff(cuts).min()) if len(cuts) > 1 else 1.0
        self._has_grid = span < narrowest * MAX_CELLS
        if self._has_grid:
            self._scale = 1.0 / narrowest
            at = self._cell(cuts)
            # Rounding may put two cuts a cell's width apart into one cell.
            self._has_grid = len(np.unique(at)) == len(cuts)
            self._below = np.searchsorted(at, np.arange(at.max(initial=0) + 1))
            self._cut = np.full(len(self._below), np.inf)
            self._cut[at] = cuts

    def __call__(self, values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Write the score of each of `values`, shape (n,), to `out`, shape (n,)."""
        if self._has_grid:
            cell = self._cell(values)
            step = np.take(self._below, cell, mode="clip") + (values >= np.take(self._cut, cell, mode="clip"))
        else:
            step = np.searchsorted(self._cuts, values, side="right")
        np.take(self._scores, step, out=out, mode="clip")

    def _cell(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        # Moved to the outer cuts first: what lies beyond them is in their cells, and nothing overflows.
        cell = np.clip(values, self._first, self._last)
        cell -= self._first
        cell *= self._scale
        return cell.astype(np.int64)
