"""Are the counts those of the history?"""

from collections.abc import Sequence
from datetime import date

from msgspec import Struct

from churn.domain.errors import ModelUnavailable
from churn.domain.traffic import Binning
from churn.ports import ModelCatalogue, TrafficCounts


class RebuiltCounts(Struct, frozen=True, kw_only=True):
    """What a rebuild found."""

    corrected: dict[str, Sequence[date]]
    """By version, the days whose counts were wrong and are right now."""
    unknown: tuple[str, ...]
    """Versions whose predictions cannot be counted, because their manifest is not there."""


class RebuildCounts:
    """Counts the history again, while it is written."""

    def __init__(self, *, counts: TrafficCounts, catalogue: ModelCatalogue) -> None:
        self._counts = counts
        self._catalogue = catalogue

    async def __call__(self) -> RebuiltCounts:
        """What was found and corrected.

        Raises:
            StorageUnavailable: the database did not answer; what has been corrected until then stays so.
        """
        corrected: dict[str, Sequence[date]] = {}
        unknown = []
        for version in await self._counts.versions():
            try:
                manifest = await self._catalogue.manifest(version)
            except ModelUnavailable:
                unknown.append(version)
            else:
                corrected[version] = await self._counts.rebuild(Binning(manifest))
        return RebuiltCounts(corrected=corrected, unknown=tuple(unknown))
