"""The port `Workforce` on a Dask cluster: partitions of Parquet in, a partition of Parquet out for each.

Whatever fsspec has an address for can be read and written, by the workers themselves: no row passes through this
process. The workers need churn and its extra `dask`, and no model: it is sent to them.
"""

import hashlib
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import fsspec
import polars as pl
from distributed import Client, Future, Worker, WorkerPlugin, as_completed, get_worker
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from msgspec import Struct

from churn.adapters.joblib_model.bundle import MANIFEST, MODEL, load_bundle, trusted_manifests
from churn.adapters.joblib_model.predictor import JoblibPredictor
from churn.adapters.workforce.frames import FrameScorer, other_columns, refusal, rejections, told
from churn.adapters.workforce.sinks import encode_csv, highest, parquet_bytes, ranked
from churn.adapters.workforce.sources import BLOCK_ROWS, Dialect
from churn.domain.columns import Layout, find_layout
from churn.domain.errors import ChurnError, ClusterUnavailable, ModelRefused, UnsuitableFile
from churn.domain.workforce import REJECTED, STANDARD, FileFormat, ScoringJob
from churn.ports import Predictor, ScoredBlock

#: Seconds that the scheduler gets to answer.
_PATIENCE: Final = 20
#: Times that a partition is tried again after an error; a worker that dies is not its fault, and not counted.
_RETRIES: Final = 2
#: Appended to the name of the output, the folder of the rows that cannot be scored; not in the output itself, of
#: which a reader of Parquet takes every file for one.
_REJECTED_FOLDER: Final = ".rejected"
#: Where the two grow.
_ANSWERS: Final = "answers"
_REJECTED: Final = "rejected"

#: Attempts to remove an output that was given up, and the seconds between them.
_ATTEMPTS: Final = 50
_PAUSE: Final = 0.1


class ShippedModel(WorkerPlugin):
    """A bundle on its way to the workers, each of which verifies it before it loads it.

    Dask sends it once to every worker there is, and to each that comes later or starts again.
    """

    idempotent = True

    def __init__(self, version: str, manifest: bytes, model: bytes) -> None:
        self.version = version
        self.sha256 = hashlib.sha256(manifest).hexdigest()
        self.name = f"churn-{version}-{self.sha256}"
        self._files = {MANIFEST: manifest, MODEL: model}
        self.predictor: Predictor | None = None

    def setup(self, worker: Worker | None) -> None:
        """Load it; only if its manifest has the hash that was announced, and its model that of the manifest."""
        del worker
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / self.version
            bundle.mkdir()
            for name, content in self._files.items():
                (bundle / name).write_bytes(content)
            loaded = load_bundle(Path(folder), self.version, trusted=frozenset([self.sha256]))
        self.predictor = JoblibPredictor(loaded)


class _Part(Struct, frozen=True):
    """What a worker says of a partition."""

    scored: int
    rejected: int
    told: list[str]
    """The first few of the rows rejected."""
    best: pl.DataFrame | None
    """If only the employees most at risk are asked for."""


class DaskWorkforce:
    """Fills the port `Workforce`, over Parquet alone."""

    def __init__(self, scheduler: str, models_dir: str, *, trusted: str = "") -> None:
        """Connect to nothing yet.

        Args:
            scheduler: address of the cluster's scheduler, as `tcp://host:8786`.
            models_dir: folder of the bundles.
            trusted: sha256 digests of the manifests that may be sent; those in `TRUSTED` when empty.
        """
        self._scheduler = scheduler
        self._models = Path(models_dir)
        self._trusted = trusted

    def fingerprint(self, job: ScoringJob) -> str:
        """See the port: the rows stay with the workers."""
        raise UnsuitableFile("what a cluster scores does not pass through this machine, so it cannot be saved")

    def score(self, job: ScoringJob, predictor: Predictor) -> Generator[ScoredBlock]:
        """See the port. Partitions are told of as they are done, in no order; the output keeps theirs."""
        if job.format is not FileFormat.PARQUET or job.output == STANDARD:
            raise UnsuitableFile("a cluster writes a folder of Parquet files: name one")
        inputs = _addresses(job.inputs)
        layout = find_layout(_columns(inputs[0]))
        model = self._model(predictor.info.version)
        with ExitStack() as stack:
            client = stack.enter_context(self._connected())
            staging = _Staging(job.output)
            stack.callback(staging.discard)
            _ship(model, client)
            futures = client.map(
                _score_partition,
                range(len(inputs)),
                inputs,
                job=job,
                layout=layout,
                model=model.name,
                staging=staging.address,
                pure=False,
                retries=_RETRIES,
            )
            stack.callback(client.cancel, futures, force=True)
            numbers = {future.key: number for number, future in enumerate(futures)}
            best: dict[int, pl.DataFrame] = {}
            for done, future in enumerate(as_completed(futures, loop=client.loop), start=1):  # type: ignore[no-untyped-call]
                number, part = numbers[future.key], _result(future)
                if part.rejected and job.strict:
                    raise refusal(part.told)
                if part.best is not None:
                    best[number] = part.best
                yield ScoredBlock(
                    scored=part.scored,
                    rejected=part.rejected,
                    rejected_file=f"{job.output}{_REJECTED_FOLDER}/{_rejected_name(number, inputs[number])}"
                    if part.rejected
                    else None,
                    progress=done / len(inputs),
                    rows=None,
                )
            if job.top is not None:
                # In the order of the files, so that the first of equals comes first.
                frame = highest(pl.concat([best[number] for number in sorted(best)]), job.top)
                _write(f"{staging.address}/{_ANSWERS}/part-00000.parquet", parquet_bytes(ranked(frame)))
            staging.publish()

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        try:
            client = Client(self._scheduler, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise ClusterUnavailable(f"the scheduler {self._scheduler} does not answer") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=_PATIENCE)
            except TimeoutError as error:
                raise ClusterUnavailable(f"the scheduler {self._scheduler} has no workers") from error
            yield client

    def _model(self, version: str) -> ShippedModel:
        try:
            manifest, model = ((self._models / version / name).read_bytes() for name in (MANIFEST, MODEL))
        except OSError as error:
            raise ModelRefused(f"model {version}: it cannot be read") from error
        shipped = ShippedModel(version, manifest, model)
        if shipped.sha256 not in trusted_manifests(self._models, self._trusted):
            raise ModelRefused(f"model {version}: its manifest is not among the trusted ones")
        return shipped


class _Staging:
    """Where the output grows, beside where it is to be."""

    def __init__(self, output: str) -> None:
        self._files, self._target = url_to_fs(output)
        for path in (self._target, self._target + _REJECTED_FOLDER):
            if self._files.exists(path):
                raise UnsuitableFile(f"{self._files.unstrip_protocol(path)} is there already: name a new folder")
        parent, _, name = self._target.rpartition("/")
        self._path = f"{parent}/.{name}.{uuid.uuid4().hex}.part"
        self.address: str = self._files.unstrip_protocol(self._path)
        try:
            for folder in (_ANSWERS, _REJECTED):
                self._files.makedirs(f"{self._path}/{folder}")
        except OSError as error:
            raise UnsuitableFile(f"{output}: it cannot be written: {error.strerror}") from error

    def publish(self) -> None:
        """Have the output appear: at once where a folder can be renamed, file by file in an object store.

        What was rejected comes first, so that no answer is there without it.
        """
        for folder, target in ((_REJECTED, self._target + _REJECTED_FOLDER), (_ANSWERS, self._target)):
            staged = f"{self._path}/{folder}"
            paths = self._files.ls(staged, detail=False) if self._files.exists(staged) else []
            # Of a worker that died while it wrote.
            unfinished = [path for path in paths if path.rpartition("/")[2].startswith(".")]
            for path in unfinished:
                self._files.rm(path)
            if len(paths) > len(unfinished):
                self._files.mv(staged, target, recursive=True)

    def discard(self) -> None:
        """Leave nothing but what is published."""
        for _ in range(_ATTEMPTS):
            # A worker that does not know yet that it is over may put something there meanwhile.
            with suppress(OSError):
                if not self._files.exists(self._path):
                    return
                self._files.rm(self._path, recursive=True)
            time.sleep(_PAUSE)


def _ship(model: ShippedModel, client: Client) -> None:
    try:
        client.register_plugin(model)
    except ChurnError:
        raise
    except Exception as error:
        raise ClusterUnavailable(f"the model cannot be sent to the workers: {error}") from error


def _result(future: Future[_Part]) -> _Part:
    try:
        return future.result()
    except ChurnError:
        raise
    except Exception as error:
        # Whatever the cluster raises, workers that die again and again included.
        raise ClusterUnavailable(f"the cluster could not score a partition: {error}") from error


def _score_partition(number: int, address: str, *, job: ScoringJob, layout: Layout, model: str, staging: str) -> _Part:
    """Score one partition, on a worker, and write what came of it."""
    shipped = get_worker().plugins.get(model)
    if not isinstance(shipped, ShippedModel) or shipped.predictor is None:
        raise ClusterUnavailable("a worker could not load the model; its log says why")
    scorer = FrameScorer(shipped.predictor, layout, language=job.language, reasons=job.reasons)
    frame = _read(address)
    if different := set(frame.columns) ^ set(layout.columns):
        raise other_columns(address, different)
    frame = frame.select(layout.columns)
    answers: list[pl.DataFrame] = []
    rejected: list[pl.DataFrame] = []
    for start in range(0, max(1, frame.height), BLOCK_ROWS):
        block = frame[start : start + BLOCK_ROWS]
        scored = scorer(block)
        answers.append(scored.answers if job.top is None else highest(scored.answers, job.top))
        if len(scored.rejected):
            rejected.append(rejections(block, range(start + 1, start + 1 + block.height), scored))
    answer = pl.concat(answers)
    if job.top is not None:
        answer = highest(answer, job.top)
    else:
        _write(f"{staging}/{_ANSWERS}/part-{number:05}.parquet", parquet_bytes(answer))
    faults = pl.concat(rejected) if rejected else None
    if faults is not None and not job.strict:
        _write(f"{staging}/{_REJECTED}/{_rejected_name(number, address)}", encode_csv(faults, Dialect(), header=True))
    count = 0 if faults is None else faults.height
    return _Part(
        scored=frame.height - count,
        rejected=count,
        told=[] if faults is None else told(address, faults),
        best=None if job.top is None else answer,
    )


def _rejected_name(number: int, address: str) -> str:
    return f"{number:05}-{address.rpartition('/')[2]}{REJECTED}"


def _read(address: str) -> pl.DataFrame:
    try:
        with fsspec.open(address, "rb") as file:
            return pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnsuitableFile(f"{address}: this Parquet file cannot be read") from error


def _columns(address: str) -> list[str]:
    try:
        with fsspec.open(address, "rb") as file:
            return list(pl.read_parquet_schema(file))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnsuitableFile(f"{address}: this Parquet file cannot be read") from error


def _write(address: str, content: bytes) -> None:
    """Write a file, whole under its name or not at all, as a task may be done twice, or at two places at once."""
    files, path = url_to_fs(address)
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
    with files.open(temporary, "wb") as file:
        file.write(content)
    files.mv(temporary, path)


def _addresses(patterns: Sequence[str]) -> list[str]:
    """The Parquet files that `patterns` name: files, folders and globs, on whatever fsspec knows."""
    found: list[str] = []
    for pattern in patterns:
        if pattern == STANDARD:
            raise UnsuitableFile("a cluster does not read the standard input")
        files, path = url_to_fs(pattern)
        if files.isfile(path):
            paths = [path]
        elif files.isdir(path):
            inside = (name.removeprefix(path).strip("/") for name in sorted(files.find(path)))
            paths = [
                f"{path.rstrip('/')}/{name}"
                for name in inside
                if name.endswith(".parquet") and not any(part.startswith(("_", ".")) for part in name.split("/"))
            ]
        else:
            paths = sorted(files.glob(path))
        if not paths:
            raise UnsuitableFile(f"{pattern}: there is no such file")
        local = isinstance(files, LocalFileSystem)
        found += [name if local else files.unstrip_protocol(name) for name in paths]
    return found
