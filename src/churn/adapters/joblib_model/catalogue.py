"""The port `ModelCatalogue` over a folder of bundles."""

import asyncio
import logging
from pathlib import Path

from churn.adapters.joblib_model.bundle import active_version, list_versions, read_manifest
from churn.adapters.joblib_model.predictor import load_predictor
from churn.domain.errors import ModelRefused, ModelUnavailable, UnknownModel
from churn.domain.manifest import Manifest
from churn.ports import Predictor

_logger = logging.getLogger(__name__)


class JoblibModelCatalogue:
    """Fills the port `ModelCatalogue`. Reads and unpickles in threads."""

    def __init__(self, models_dir: str, *, default: str = "", trusted: str = "") -> None:
        """Read nothing yet.

        Args:
            models_dir: folder of the bundles.
            default: version to serve as long as nobody has activated one; that of `ACTIVE` when empty.
            trusted: sha256 digests of the manifests that may be loaded, separated by commas; those in
                `TRUSTED` when empty.
        """
        self._folder = Path(models_dir)
        self._default = default
        self._trusted = trusted

    async def manifests(self) -> list[Manifest]:
        """See the port."""
        return await asyncio.to_thread(self._manifests)

    async def manifest(self, version: str) -> Manifest:
        """See the port."""
        return await asyncio.to_thread(self._manifest, version)

    async def load(self, version: str) -> Predictor:
        """See the port."""
        return await asyncio.to_thread(self._load, version)

    async def default(self) -> str:
        """See the port."""
        return self._default or await asyncio.to_thread(active_version, self._folder)

    def _manifests(self) -> list[Manifest]:
        found = []
        for version in list_versions(self._folder):
            try:
                found.append(self._manifest(version))
            except UnknownModel as error:
                _logger.warning("a model is left out: %s", error.__cause__)
        return sorted(found, key=lambda manifest: (manifest.created_at, manifest.version))

    def _manifest(self, version: str) -> Manifest:
        try:
            return read_manifest(self._folder, version)[0]
        except ModelUnavailable as error:
            raise UnknownModel(version) from error

    def _load(self, version: str) -> Predictor:
        self._manifest(version)
        try:
            return load_predictor(self._folder, version=version, trusted=self._trusted)
        except ModelUnavailable as error:
            raise ModelRefused(str(error)) from error
