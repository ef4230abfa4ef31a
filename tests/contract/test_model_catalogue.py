"""What every `ModelCatalogue` must do."""

import shutil
from pathlib import Path

import pytest
from tests.builders import add_version

from churn.adapters.joblib_model.bundle import active_version, list_versions, read_manifest
from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.memory import MemoryModelCatalogue, MemoryPredictor
from churn.domain.errors import ModelRefused, ModelUnavailable, UnknownModel
from churn.ports import ModelCatalogue, Predictor
from churn.settings import Settings

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The model that ships, and one that must be refused."""
    models = tmp_path / "models"
    models.mkdir()
    for name in (DEFAULT, "ACTIVE", "TRUSTED"):
        (shutil.copytree if name == DEFAULT else shutil.copy)(SHIPPED / name, models / name)
    add_version(models, "tampered")
    (models / "tampered" / "model.joblib").write_bytes(b"")
    return models


@pytest.fixture(params=["memory", "joblib"])
def catalogue(request: pytest.FixtureRequest, models: Path) -> ModelCatalogue:
    if request.param == "joblib":
        return JoblibModelCatalogue(str(models))
    predictors = {DEFAULT: MemoryPredictor(DEFAULT), "tampered": None}
    return MemoryModelCatalogue(
        {version: (read_manifest(models, version)[0], predictor) for version, predictor in predictors.items()},
        default=DEFAULT,
    )


def test_it_fills_the_port(catalogue: ModelCatalogue) -> None:
    """It has the methods of the port."""
    assert isinstance(catalogue, ModelCatalogue)


async def test_every_version_has_its_manifest(catalogue: ModelCatalogue) -> None:
    """Those that would be refused included: a manifest is one to read, not yet one to trust."""
    manifests = await catalogue.manifests()
    assert {manifest.version for manifest in manifests} == {DEFAULT, "tampered"}
    for manifest in manifests:
        assert await catalogue.manifest(manifest.version) == manifest


async def test_the_default_loads(catalogue: ModelCatalogue) -> None:
    """It comes as a predictor of that version."""
    predictor = await catalogue.load(await catalogue.default())
    assert isinstance(predictor, Predictor)
    assert predictor.info.version == DEFAULT


@pytest.mark.parametrize("version", ["nothing", "", "../models", "a\0b"])
async def test_an_unknown_version_is_unknown(catalogue: ModelCatalogue, version: str) -> None:
    """Also one whose name is no version's."""
    for call in (catalogue.manifest(version), catalogue.load(version)):
        with pytest.raises(UnknownModel):
            await call


async def test_what_must_not_be_loaded_is_refused(catalogue: ModelCatalogue) -> None:
    """Its manifest can be read, and the refusal says which version it is about."""
    with pytest.raises(ModelRefused, match="tampered"):
        await catalogue.load("tampered")


# What only a folder can show.


async def test_a_manifest_that_cannot_be_read_is_left_out(models: Path) -> None:
    """One broken bundle hides none of the others, and is unknown itself."""
    (models / "tampered" / "manifest.json").write_bytes(b"{}")
    catalogue = JoblibModelCatalogue(str(models))
    assert [manifest.version for manifest in await catalogue.manifests()] == [DEFAULT]
    with pytest.raises(UnknownModel):
        await catalogue.load("tampered")


async def test_a_version_that_comes_later_is_found(models: Path) -> None:
    """Training writes it while the service runs."""
    catalogue = JoblibModelCatalogue(str(models))
    await catalogue.manifests()
    add_version(models, "later")
    assert (await catalogue.load("later")).info.version == "later"
    assert {manifest.version for manifest in await catalogue.manifests()} == set(list_versions(models))


async def test_the_settings_name_the_default_first(models: Path) -> None:
    """What is configured goes before the file; with neither there is none."""
    assert await JoblibModelCatalogue(str(models), default="other").default() == "other"
    (models / "ACTIVE").unlink()
    with pytest.raises(ModelUnavailable):
        await JoblibModelCatalogue(str(models)).default()
