"""Who of the whole workforce will leave?"""

from collections.abc import Callable
from contextlib import closing

from churn.domain.workforce import ScoringJob, ScoringSummary
from churn.ports import ModelCatalogue, ModelRegistry, ScoredBlock, Workforce


class ScoreWorkforce:
    """Scores files with the version that answers the service's requests, or with another one."""

    def __init__(self, *, workforce: Workforce, catalogue: ModelCatalogue, registry: ModelRegistry | None) -> None:
        """Without a `registry` the version is the catalogue's default."""
        self._workforce = workforce
        self._catalogue = catalogue
        self._registry = registry

    async def __call__(
        self, job: ScoringJob, *, version: str | None = None, on_block: Callable[[ScoredBlock], None]
    ) -> ScoringSummary:
        """What became of `job`; `on_block` is told of each step. Nothing else runs on the event loop meanwhile.

        Raises:
            ModelUnavailable: the version must not or cannot be loaded.
            StorageUnavailable: no version is given, and the registry does not answer.
            UnsuitableFile, RowsRefused: see the port `Workforce`.
        """
        predictor = await self._catalogue.load(version or await self._active())
        scored = rejected = 0
        files: dict[str, None] = {}
        with closing(self._workforce.score(job, predictor)) as blocks:
            for block in blocks:
                scored += block.scored
                rejected += block.rejected
                if block.rejected_file is not None:
                    files[block.rejected_file] = None
                on_block(block)
        return ScoringSummary(
            model_version=predictor.info.version, scored=scored, rejected=rejected, rejected_files=tuple(files)
        )

    async def _active(self) -> str:
        entry = None if self._registry is None else await self._registry.current()
        return (None if entry is None else entry.version) or await self._catalogue.default()
