"""Who of the whole workforce will leave?"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from churn.domain.errors import StorageUnavailable
from churn.domain.prediction import ModelInfo
from churn.domain.predictions import Predictions
from churn.domain.workforce import ScoringJob, ScoringSummary
from churn.ports import Clock, HistoryRepository, ModelCatalogue, ModelRegistry, ScoredBlock, Workforce

#: Where ids of runs come from that nobody has named; an arbitrary constant.
_RUNS: Final = UUID("3f0f8a9e-6f5c-4b8e-9d55-0d9c4a1b7e21")


class ScoreWorkforce:
    """Scores files with the version that answers the service's requests, or with another one."""

    def __init__(
        self,
        *,
        workforce: Workforce,
        catalogue: ModelCatalogue,
        registry: ModelRegistry | None,
        history: HistoryRepository | None,
        clock: Clock,
        new_ids: Callable[[int], NDArray[np.uint8]],
    ) -> None:
        """Without a `registry` the version is the catalogue's default, and without a `history` nothing can be saved.

        `new_ids` makes so many UUIDv7s, shape (n, 16).
        """
        self._workforce = workforce
        self._catalogue = catalogue
        self._registry = registry
        self._history = history
        self._clock = clock
        self._new_ids = new_ids

    async def __call__(
        self,
        job: ScoringJob,
        *,
        version: str | None = None,
        account: str | None = None,
        run_id: UUID | None = None,
        on_block: Callable[[ScoredBlock], None],
    ) -> ScoringSummary:
        """What became of `job`; `on_block` is told of each step. Nothing else runs on the event loop meanwhile.

        Args:
            job: what to score.
            version: to score with; the active one when None.
            account: who asks; if given, all predictions are put into the history, or none.
            run_id: they are put there once, however often a run of this id is tried; when None, the id follows from
                what is in the files and from the version.
            on_block: told of each step.

        Raises:
            ModelUnavailable: the version must not or cannot be loaded.
            StorageUnavailable: no version is given, and the registry does not answer; or the history did not confirm
                the run, though the output is written: the same run can be tried again.
            UnsuitableFile, RowsRefused: see the port `Workforce`.
        """
        predictor = await self._catalogue.load(version or await self._active())
        model = predictor.info
        if account is not None and run_id is None:
            run_id = uuid5(_RUNS, f"{self._workforce.fingerprint(job)} {model.version}")
        tally = _Tally(on_block)
        saved = None
        if account is not None and self._history is None:
            raise StorageUnavailable("there is no history to save the run in")
        with closing(self._workforce.score(job, predictor)) as blocks:
            steps = tally.counted(blocks)
            if account is not None and self._history is not None:
                saved = await self._history.append_many(self._predictions(steps, model, account), run_id=run_id)
            # All of them, unless the history has read them.
            for _ in steps:
                continue
        return ScoringSummary(
            model_version=model.version,
            scored=tally.scored,
            rejected=tally.rejected,
            rejected_files=tuple(tally.files),
            run_id=run_id,
            saved=saved,
        )

    async def _active(self) -> str:
        entry = None if self._registry is None else await self._registry.current()
        return (None if entry is None else entry.version) or await self._catalogue.default()

    async def _predictions(
        self, steps: Iterator[ScoredBlock], model: ModelInfo, account: str
    ) -> AsyncIterator[Predictions]:
        for step in steps:
            if step.rows is None or not step.scored:
                continue
            yield Predictions.made(
                model,
                step.rows.employees,
                step.rows.scores,
                ids=self._new_ids(step.scored),
                created_at=self._clock.now(),
                account=account,
            )


class _Tally:
    """Counts as it goes."""

    def __init__(self, on_block: Callable[[ScoredBlock], None]) -> None:
        self._on_block = on_block
        self.scored = 0
        self.rejected = 0
        self.files: dict[str, None] = {}

    def counted(self, blocks: Iterator[ScoredBlock]) -> Iterator[ScoredBlock]:
        """The same blocks."""
        for block in blocks:
            self.scored += block.scored
            self.rejected += block.rejected
            if block.rejected_file is not None:
                self.files[block.rejected_file] = None
            self._on_block(block)
            yield block
