"""Which model answers now, in this process."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from churn.domain.activation import Activation
from churn.domain.employee import Employee
from churn.domain.errors import ModelUnavailable, StorageUnavailable
from churn.domain.prediction import ModelInfo, Score
from churn.domain.predictions import ScoreMatrix
from churn.ports import ModelCatalogue, ModelRegistry, Predictor

#: Seconds before a version that was refused is tried again: somebody may have put its file right.
RETRY_INTERVAL: Final = 10.0

_logger = logging.getLogger(__name__)


class Serving(Struct, frozen=True, kw_only=True):
    """What one process serves with."""

    version: str | None
    """That answers; None if there is no model."""
    shadow: str | None
    """That scores the same requests."""
    lagging: bool
    """Whether the registry names others, which were refused here."""


class ServingModel:
    """Holds the model that answers and its shadow, and follows the registry.

    A request reads `current` once and uses what it has read to its end, so a switch, which is one assignment,
    fails nothing and mixes nothing. A version that is refused leaves the old one where it is.
    """

    def __init__(
        self,
        *,
        registry: ModelRegistry,
        catalogue: ModelCatalogue,
        poll_interval: float,
        on_change: Callable[[Serving], None],
    ) -> None:
        """Load nothing yet.

        Args:
            registry: names the versions to serve with.
            catalogue: has them.
            poll_interval: seconds between two looks at the registry, should it announce nothing.
            on_change: told of every change of what is served.
        """
        self.current: Predictor = NoModel()
        """The model that answers."""
        self.shadow: Predictor | None = None
        """The model that scores the same requests without answering."""
        self.state = Serving(version=None, shadow=None, lagging=False)
        """The same in names."""
        self._registry = registry
        self._catalogue = catalogue
        self._poll_interval = poll_interval
        self._on_change = on_change
        self._default: str | None = None
        self._retry_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load what is to be served, then follow the registry. Without a model the process still runs."""
        await self._refresh()
        self._tasks = [
            asyncio.create_task(self._listen(), name="model-listener"),
            asyncio.create_task(self._follow(), name="model-follower"),
        ]

    async def stop(self) -> None:
        """Follow no more; what is loaded goes on answering."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        async for _ in self._registry.changes():
            self._changed.set()

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._poll_interval)
            self._changed.clear()
            try:
                await self._refresh()
            except Exception:
                # Whatever it is, what is loaded goes on, and the next look may succeed.
                _logger.exception("the model registry cannot be followed")

    async def _refresh(self) -> None:
        try:
            entry = await self._registry.current()
        except StorageUnavailable:
            if self.state.version is not None:
                return
            # No prediction can be stored now either, and the first look that succeeds corrects it.
            entry = None
        version, shadow = await self._wanted(entry)
        await self._serve(version)
        await self._shadow(shadow)
        answers = self.current.info.version if not isinstance(self.current, NoModel) else None
        shadows = None if self.shadow is None else self.shadow.info.version
        state = Serving(version=answers, shadow=shadows, lagging=(answers, shadows) != (version, shadow))
        if state != self.state:
            self.state = state
            self._on_change(state)

    async def _wanted(self, entry: Activation | None) -> tuple[str | None, str | None]:
        version, shadow = (None, None) if entry is None else (entry.version, entry.shadow)
        if version is None and self._default is None:
            try:
                self._default = await self._catalogue.default()
            except ModelUnavailable as error:
                _logger.error("no model to serve: %s", error)  # noqa: TRY400 - an expected failure
        version = version or self._default
        return version, None if shadow == version else shadow

    async def _serve(self, version: str | None) -> None:
        if version is None or version == self.state.version:
            return
        loaded = await self._load(version)
        if loaded is None and self.state.version is None:
            # A new process has no old version to go on with: the one it brought is the next best.
            loaded = await self._load_default()
        if loaded is not None:
            self.current = loaded
            _logger.info("model %s answers, in place of %s", loaded.info.version, self.state.version or "none")

    async def _shadow(self, version: str | None) -> None:
        if version != self.state.shadow:
            loaded = None if version is None else await self._load(version)
            # Unlike an answer, a shadow of yesterday is of no use to anyone.
            self.shadow = loaded

    async def _load_default(self) -> Predictor | None:
        try:
            return await self._load(await self._catalogue.default())
        except ModelUnavailable:
            return None

    async def _load(self, version: str) -> Predictor | None:
        now = asyncio.get_running_loop().time()
        if now < self._retry_at.get(version, 0.0):
            return None
        try:
            loaded = await self._catalogue.load(version)
        except ModelUnavailable as error:
            self._retry_at[version] = now + RETRY_INTERVAL
            _logger.error("refused, %s goes on: %s", self.state.version or "none", error)  # noqa: TRY400
            return None
        self._retry_at.pop(version, None)
        return loaded


class NoModel:
    """Fills the port `Predictor` as long as there is no model: every use of it is a `ModelUnavailable`."""

    @property
    def info(self) -> ModelInfo:
        """Nothing is known of no model."""
        raise ModelUnavailable("no model is loaded")

    def predict(self, employee: Employee) -> Score:
        """No model, no score."""
        raise ModelUnavailable("no model is loaded")

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        """No model, no scores."""
        raise ModelUnavailable("no model is loaded")
