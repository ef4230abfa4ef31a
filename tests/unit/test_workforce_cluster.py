"""The Dask cluster: workers that die, models that were tampered with, addresses, and what is refused."""

import os
import pickle
import signal
import socket
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest
from distributed import Client
from tests.builders import add_version, dask_cluster

from churn.adapters.joblib_model.bundle import active_version
from churn.adapters.joblib_model.predictor import load_predictor
from churn.adapters.workforce.cluster import DaskWorkforce, ShippedModel
from churn.adapters.workforce.local import PolarsWorkforce
from churn.domain.columns import IBM_COLUMNS
from churn.domain.employee import FEATURES
from churn.domain.errors import ClusterUnavailable, ModelRefused, ModelUnavailable, UnsuitableFile
from churn.domain.workforce import FileFormat, ScoringJob
from churn.settings import Settings

MODELS = Settings().models_dir
PREDICTOR = load_predictor(MODELS)


def write(folder: str, partitions: int, rows: int) -> None:
    """Partitions of made-up employees, one in fifty of whom is too young; always the same."""
    random = np.random.default_rng(0)
    for n in range(partitions):
        columns: dict[str, Any] = {
            name: random.integers(int(low), int(high) + 1, rows)
            for name, (low, high) in zip(FEATURES, PREDICTOR.info.ranges, strict=True)
        }
        columns["age"] = np.where(random.random(rows) < 0.02, 17, columns["age"])
        columns["heures_supp"] = np.where(columns["heures_supp"] == 1, "Oui", "Non")
        frame = pl.DataFrame(columns).with_columns(partition=pl.lit(n), row=pl.int_range(rows))
        with fsspec.open(f"{folder}/{n:03}.parquet", "wb") as file:
            frame.write_parquet(file)


def job(folder: str, output: str, **options: Any) -> ScoringJob:
    return ScoringJob(inputs=(folder,), output=output, format=FileFormat.PARQUET, **options)


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """What the cluster writes is, row for row, what one machine writes."""
    (tmp_path / "in").mkdir()
    write(str(tmp_path / "in"), partitions=40, rows=4000)
    local = list(PolarsWorkforce().score(job(str(tmp_path / "in"), str(tmp_path / "local.parquet")), PREDICTOR))

    # One of its own, because one of its workers dies.
    with dask_cluster(2) as cluster:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            workers = client.run(os.getpid)
        steps = DaskWorkforce(cluster.scheduler_address, MODELS).score(
            job(str(tmp_path / "in"), str(tmp_path / "out")), PREDICTOR
        )
        done = [next(steps)]
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        done += steps

    assert len(done) == 40
    assert sum(block.scored for block in done) == sum(block.scored for block in local)
    assert sum(block.rejected for block in done) == sum(block.rejected for block in local) > 0
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert [part.name for part in parts] == [f"part-{n:05}.parquet" for n in range(40)]
    assert pl.read_parquet(parts).equals(pl.read_parquet(tmp_path / "local.parquet"))
    assert not list((tmp_path / "out").glob(".*"))
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "out.rejected", "local.parquet"}
    names = [f"{n:03}.parquet.rejected.csv" for n in range(40)]
    for n, name in enumerate(names):
        theirs = tmp_path / "in" / name
        ours = tmp_path / "out.rejected" / f"{n:05}-{name}"
        assert ours.exists() == theirs.exists()
        if theirs.exists():
            assert ours.read_bytes() == theirs.read_bytes()


def test_a_worker_loads_no_model_but_the_one_announced() -> None:
    """Bytes that were changed on the way, of the manifest or of the model, are refused before they are unpickled."""
    folder = Path(MODELS) / active_version(Path(MODELS))
    manifest, model = (folder / "manifest.json").read_bytes(), (folder / "model.joblib").read_bytes()
    shipped = pickle.loads(pickle.dumps(ShippedModel(folder.name, manifest, model)))
    shipped.setup(None)
    assert shipped.predictor.info == PREDICTOR.info
    for name, content in (("manifest.json", manifest + b" "), ("model.joblib", model + b"\0")):
        changed = ShippedModel(folder.name, manifest, model)
        changed._files[name] = content
        with pytest.raises(ModelUnavailable):
            changed.setup(None)
        assert changed.predictor is None


def test_only_trusted_models_are_sent(dask_address: str, tmp_path: Path) -> None:
    """A version whose manifest is not trusted never leaves this machine."""
    write(str(tmp_path), partitions=1, rows=10)
    workforce = DaskWorkforce(dask_address, MODELS, trusted="0" * 64)
    with pytest.raises(ModelRefused, match="not among the trusted ones"):
        next(workforce.score(job(str(tmp_path), str(tmp_path / "out")), PREDICTOR))


def test_another_version_is_another_model(dask_address: str, tmp_path: Path) -> None:
    """Workers that have one version already score with the one that is asked for."""
    models = tmp_path / "models"
    for path in Path(MODELS).rglob("*"):
        if path.is_file():
            target = models / path.relative_to(MODELS)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    add_version(models, "other", shift=0.5)
    (tmp_path / "in").mkdir()
    write(str(tmp_path / "in"), partitions=2, rows=10)
    workforce = DaskWorkforce(dask_address, str(models))
    for version in ("other", active_version(models)):
        predictor = load_predictor(models, version=version)
        list(workforce.score(job(str(tmp_path / "in"), str(tmp_path / version)), predictor))
        assert set(pl.read_parquet(tmp_path / version / "*.parquet")["model_version"]) == {version}


@pytest.mark.parametrize("names", [FEATURES, IBM_COLUMNS])
def test_any_address_of_fsspec_is_read_and_written(names: tuple[str, ...]) -> None:
    """Here the memory of one process; folders, globs and the file of rejected rows included."""
    memory = fsspec.filesystem("memory")
    write("memory://staff", partitions=3, rows=50)
    for path in memory.ls("/staff", detail=False):
        with memory.open(path, "rb") as file:
            frame = pl.read_parquet(file)
        with memory.open(path, "wb") as file:
            frame.rename(dict(zip(FEATURES, names, strict=True))).write_parquet(file)
    try:
        with dask_cluster(1, processes=False) as cluster:
            workforce = DaskWorkforce(cluster.scheduler_address, MODELS)
            for n, pattern in enumerate(("memory://staff", "memory://staff/*.parquet")):
                blocks = list(workforce.score(job(pattern, f"memory://out{n}"), PREDICTOR))
                assert sum(block.scored + block.rejected for block in blocks) == 150
                names_there = sorted(path.rpartition("/")[2] for path in memory.find(f"/out{n}"))
                assert [name for name in names_there if name.endswith(".parquet")] == [
                    f"part-{m:05}.parquet" for m in range(3)
                ]
                assert [path for path in memory.ls("/", detail=False) if ".part" in path] == []
    finally:
        memory.rm("/", recursive=True)


def test_what_a_cluster_cannot_do_is_refused(dask_address: str, tmp_path: Path) -> None:
    """Other formats, the standard streams, an output that is there, files that are none: each with a message."""
    write(str(tmp_path), partitions=1, rows=10)
    (tmp_path / "no.parquet").write_bytes(b"no")
    workforce = DaskWorkforce(dask_address, MODELS)
    one = str(tmp_path / "000.parquet")
    out = str(tmp_path / "out")
    refused = [
        (ScoringJob(inputs=(one,), output=out), "writes a folder of Parquet files"),
        (ScoringJob(inputs=(one,), format=FileFormat.PARQUET), "writes a folder of Parquet files"),
        (ScoringJob(inputs=("-",), output=out, format=FileFormat.PARQUET), "does not read the standard input"),
        (job(str(tmp_path / "none"), out), "there is no such file"),
        (job(str(tmp_path / "no.parquet"), out), "this Parquet file cannot be read"),
        (job(one, str(tmp_path)), "is there already"),
        (job(one, "/proc/none/out"), "it cannot be written"),
    ]
    for wrong, message in refused:
        with pytest.raises(UnsuitableFile, match=message):
            next(workforce.score(wrong, PREDICTOR))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.parquet", "no.parquet"]


def test_a_partition_that_cannot_be_read_ends_the_job(dask_address: str, tmp_path: Path) -> None:
    """It is named, and nothing is left of the others."""
    (tmp_path / "in").mkdir()
    write(str(tmp_path / "in"), partitions=3, rows=10)
    (tmp_path / "in" / "001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnsuitableFile, match=r"001\.parquet: this Parquet file cannot be read"):
        list(DaskWorkforce(dask_address, MODELS).score(job(f"{tmp_path}/in", f"{tmp_path}/out"), PREDICTOR))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for ever, and with nothing written."""
    monkeypatch.setattr("churn.adapters.workforce.cluster._PATIENCE", 1)
    write(str(tmp_path), partitions=1, rows=10)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ClusterUnavailable, match="does not answer"):
            next(DaskWorkforce(address, MODELS).score(job(str(tmp_path), str(tmp_path / "out")), PREDICTOR))
    with dask_cluster(0) as cluster:
        steps = DaskWorkforce(cluster.scheduler_address, MODELS).score(job(f"{tmp_path}", f"{tmp_path}/out"), PREDICTOR)
        with pytest.raises(ClusterUnavailable, match="has no workers"):
            next(steps)
    assert [path.name for path in tmp_path.iterdir()] == ["000.parquet"]
