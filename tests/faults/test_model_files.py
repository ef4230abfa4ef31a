"""The model's files, changed under a service that serves them."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.builders import add_version
from tests.e2e.service import eventually, serving
from tests.faults.load import predicting

from churn.adapters.joblib_model.bundle import MODEL, active_version
from churn.settings import Settings

pytestmark = pytest.mark.faults

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)


def truncate(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def replace(file: Path) -> None:
    file.write_bytes(b"\x80\x04not a model of ours")


@pytest.mark.parametrize("damage", [truncate, replace, Path.unlink], ids=["truncated", "replaced", "removed"])
async def test_a_damaged_model_is_never_loaded(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Damage to the files of the model that serves changes no answer; one that is damaged is refused, and taken once
    it is whole again."""
    models = shutil.copytree(SHIPPED, tmp_path / "models")
    add_version(models, "other", shift=-1.0)
    whole = (models / "other" / MODEL).read_bytes()
    async with serving(tmp_path, models_dir=models) as service, service.client() as admin:
        async with predicting(service, clients=4) as record:
            await eventually(lambda: len(record.confirmed) > 10, within=30)
            await asyncio.gather(
                *(asyncio.to_thread(damage, models / version / MODEL) for version in (DEFAULT, "other"))
            )
            refused = await admin.post("/models/other/activate", json={"reason": "damaged"})
            assert refused.status_code == 409, refused.text
            before = len(record.answers)
            await eventually(lambda: len(record.answers) > before + 50, within=30)
            assert record.refused == []
            assert {DEFAULT.encode() in answer.body for answer in record.answers} == {True}

            (models / "other" / MODEL).write_bytes(whole)
            assert (await admin.post("/models/other/activate", json={"reason": "whole"})).status_code == 200
        assert record.refused == []
