"""What is counted of the predictions of a model, so that drift can be told without reading any of them again."""

from datetime import date
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from churn.domain.manifest import Histogram, Manifest

#: Positions in a vector of counts of what is not a bin.
_ROWS: Final = 0
_WITHOUT_REFERENCE: Final = 1
_FIRST_BIN: Final = 2

Counts = NDArray[np.int64]
"""Shape (`Binning.size`,). Sums of counts are counts: of several days, of several processes."""


class ColumnCounts(Struct, frozen=True):
    """How the values of one column were spread."""

    bins: Counts
    """Shape (k + 1,): over the k edges of the reference histogram."""
    below: int
    """Of them, how many lie below the smallest training value."""
    above: int
    """And above the largest."""


class Binning:
    """How the predictions of one model version are counted.

    Twelve columns are binned: the eleven features in the order of `FEATURES`, and the probability. Their edges are
    those of the reference histograms, and the ends of the training range.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.version = manifest.version
        histograms = [feature.histogram for feature in manifest.features] + [manifest.score_histogram]
        # Beyond `high` begins the next number that a float can hold.
        ranges = [(feature.low, float(np.nextafter(feature.high, np.inf))) for feature in manifest.features]
        self.edges: tuple[NDArray[np.float64], ...] = tuple(
            np.unique([*histogram.edges, *ends]) for histogram, ends in zip(histograms, [*ranges, ()], strict=True)
        )
        """Of each column, ascending: a value falls into the bin whose number is how many of them are ≤ it."""
        self.offsets: tuple[int, ...] = tuple(
            np.cumsum([_FIRST_BIN, *(len(edges) + 1 for edges in self.edges[:-1])]).tolist()
        )
        """Position of each column's first bin in a vector of counts."""
        self.size: int = self.offsets[-1] + len(self.edges[-1]) + 1
        self._histograms = histograms
        self._ranges = ranges
        # All edges of all columns as one ascending sequence, because complex numbers are ordered by their real
        # part first: one search then finds the bins of a whole matrix.
        self._all_edges = np.concatenate([column + 1j * edges for column, edges in enumerate(self.edges)])
        # Each column before has one bin more than it has edges.
        self._shift = np.arange(len(self.edges)) + _FIRST_BIN

    def count(self, values: ArrayLike, *, without_reference: int) -> Counts:
        """The counts of n predictions.

        Args:
            values: shape (n, 12), finite: the features, then the probability.
            without_reference: how many of them have no `employee_ref`.
        """
        values = np.asarray(values, dtype=np.float64).reshape(-1, len(self.edges))
        keys = np.empty(values.shape, dtype=np.complex128)
        keys.real = np.arange(len(self.edges))
        keys.imag = values
        positions = self._all_edges.searchsorted(keys, side="right") + self._shift
        counts = np.bincount(positions.ravel(), minlength=self.size)
        counts[_ROWS], counts[_WITHOUT_REFERENCE] = len(values), without_reference
        return counts

    def none(self) -> Counts:
        """The counts of no prediction."""
        return np.zeros(self.size, dtype=np.int64)

    def column(self, counts: Counts, column: int) -> ColumnCounts:
        """What `counts` say of one column, 0 to 11."""
        edges = self.edges[column]
        offset = self.offsets[column]
        bins = counts[offset : offset + len(edges) + 1]
        starts = np.concatenate([[-np.inf], edges])
        # The bins that an end of the training range has cut in two become one again.
        owners = np.searchsorted(self._histograms[column].edges, starts, side="right")
        merged = np.bincount(owners, weights=bins, minlength=len(self._histograms[column].edges) + 1)
        low, beyond = self._ranges[column] if column < len(self._ranges) else (-np.inf, np.inf)
        return ColumnCounts(
            bins=merged.astype(np.int64),
            below=int(bins[starts < low].sum()),
            above=int(bins[starts >= beyond].sum()),
        )

    def reference(self, column: int) -> Histogram:
        """The reference histogram of one column, 0 to 11."""
        return self._histograms[column]


def rows(counts: Counts) -> int:
    """How many predictions were counted."""
    return int(counts[_ROWS])


def without_reference(counts: Counts) -> int:
    """How many of them had no `employee_ref`."""
    return int(counts[_WITHOUT_REFERENCE])


class DayVolume(Struct, frozen=True):
    """How many predictions were made on one day."""

    day: date
    """In UTC."""
    predictions: int
