"""The port `Workforce` on one machine, with polars."""

import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from glob import glob
from pathlib import Path
from typing import NamedTuple

import polars as pl
from msgspec.structs import replace

from churn.adapters.workforce.frames import (
    FAULT,
    FrameScorer,
    Scored,
    other_columns,
    references,
    refusal,
    rejections,
    told,
)
from churn.adapters.workforce.sinks import AtomicFile, Encoded, Writer, encode_csv, open_output, open_writer
from churn.adapters.workforce.sources import Block, Dialect, Source, open_source
from churn.domain.columns import Layout, find_layout
from churn.domain.errors import UnsuitableFile
from churn.domain.predictions import Employees
from churn.domain.workforce import REJECTED, STANDARD, FileFormat, ScoringJob
from churn.ports import Predictor, ScoredBlock, ScoredRows


class _Done(NamedTuple):
    """A block that was scored."""

    encoded: Encoded
    rows: Scored
    employee_refs: list[str | None] | None
    rejected: pl.DataFrame | None


class PolarsWorkforce:
    """Fills the port `Workforce`.

    A block is parsed, scored and encoded in a thread, as polars and numpy let others run meanwhile; blocks are
    written in order by whoever iterates. A few blocks are in memory, whatever the size of the files.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        """`threads` work at once; by default as many as there are cores."""
        self._threads = threads or os.process_cpu_count() or 1

    def fingerprint(self, job: ScoringJob) -> str:
        """See the port."""
        digest = hashlib.sha256()
        for name in expand(job.inputs):
            if name == STANDARD:
                raise UnsuitableFile("the standard input can be read only once: name the run with --run-id")
            try:
                with Path(name).open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise UnsuitableFile(f"{name}: {error.strerror}") from error
        return digest.hexdigest()

    def score(self, job: ScoringJob, predictor: Predictor) -> Generator[ScoredBlock]:
        """See the port."""
        job = replace(job, inputs=expand(job.inputs))
        with ExitStack() as stack:
            first = open_source(job.inputs[0], stack, encoding=job.encoding, language=job.language)
            layout = find_layout(first.columns)
            _check_alike(job, first)
            run = _Run(job, predictor, layout, first.dialect or Dialect(), stack)
            pool = stack.enter_context(ThreadPoolExecutor(self._threads, thread_name_prefix="scorer"))
            waiting: deque[tuple[_File, Block, Future[_Done]]] = deque()
            try:
                for file, block in run.blocks(first):
                    waiting.append((file, block, pool.submit(run.work, file, block)))
                    if len(waiting) > self._threads + 1:
                        yield run.finish(*waiting.popleft())
                while waiting:
                    yield run.finish(*waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            run.commit()


class _File:
    """One input, and the rows of it that are rejected."""

    def __init__(self, source: Source, position: int, scorer: FrameScorer, rejected: Path) -> None:
        self.source = source
        self.position = position
        self.scorer = scorer
        self.rejected = rejected


class _Run:
    """A job under way."""

    def __init__(
        self, job: ScoringJob, predictor: Predictor, layout: Layout, dialect: Dialect, stack: ExitStack
    ) -> None:
        self._job = job
        self._predictor = predictor
        self._layout = layout
        self._dialect = dialect
        self._stack = stack
        self._rejections: dict[Path, AtomicFile] = {}
        columns = dict.fromkeys((*layout.columns, *self._scorer(dialect).columns))
        self._output = open_output(job.output, at_once=not job.strict and job.format is not FileFormat.PARQUET)
        stack.callback(self._output.discard)
        self._writer: Writer = open_writer(self._output.file, job.format, list(columns), dialect, top=job.top)
        stack.callback(self._writer.abort)

    def _scorer(self, dialect: Dialect | None) -> FrameScorer:
        return FrameScorer(
            self._predictor,
            self._layout,
            language=self._job.language,
            reasons=self._job.reasons,
            comma_decimals=dialect is not None and dialect.separator != ",",
        )

    def blocks(self, first: Source) -> Iterator[tuple[_File, Block]]:
        for position, name in enumerate(self._job.inputs):
            with ExitStack() as stack:
                source = first
                if position:
                    source = open_source(name, stack, encoding=self._job.encoding, language=self._job.language)
                file = _File(source, position, self._scorer(source.dialect), _rejected_path(self._job, name))
                for block in source.blocks():
                    yield file, block

    def work(self, file: _File, block: Block) -> _Done:
        """What can be done in any thread."""
        frame, lines = block.parse()
        # The columns of another file may come in another order.
        frame = frame.select(name for name in (*self._layout.columns, FAULT) if name in frame.columns)
        rows = file.scorer(frame)
        rejected = None
        if len(rows.rejected):
            rejected = rejections(frame, lines, rows)
        refs = None
        if self._layout.employee_ref is not None:
            refs = references(rows.answers[self._layout.employee_ref]).to_list()
        return _Done(self._writer.encode(rows.answers), rows, refs, rejected)

    def finish(self, file: _File, block: Block, future: "Future[_Done]") -> ScoredBlock:
        """What must be done in order."""
        done = future.result()
        if done.rejected is not None:
            self._reject(file, done.rejected)
        self._writer.write(done.encoded)
        count = len(self._job.inputs)
        return ScoredBlock(
            scored=len(done.rows.features),
            rejected=0 if done.rejected is None else done.rejected.height,
            rejected_file=str(file.rejected) if done.rejected is not None else None,
            progress=None if block.progress is None else (file.position + block.progress) / count,
            rows=ScoredRows(Employees(done.rows.features, done.employee_refs), done.rows.scores),
        )

    def _reject(self, file: _File, rows: pl.DataFrame) -> None:
        if self._job.strict:
            raise refusal(told(file.source.name, rows))
        known = file.rejected in self._rejections
        if not known:
            self._rejections[file.rejected] = AtomicFile(file.rejected)
            self._stack.callback(self._rejections[file.rejected].discard)
        self._rejections[file.rejected].file.write(encode_csv(rows, self._dialect, header=not known))

    def commit(self) -> None:
        """Have everything appear: what was rejected first, so that no answer is there without it."""
        self._writer.close()
        for rejection in self._rejections.values():
            rejection.commit()
        self._output.commit()


def _check_alike(job: ScoringJob, first: Source) -> None:
    """See before anything is scored that all files have the same columns."""
    for name in job.inputs[1:]:
        if name == STANDARD:
            raise UnsuitableFile("the standard input is read alone, not among files")
        with ExitStack() as stack:
            columns = open_source(name, stack, encoding=job.encoding, language=job.language).columns
        if different := set(columns) ^ set(first.columns):
            raise other_columns(name, different)


def _rejected_path(job: ScoringJob, name: str) -> Path:
    if name == STANDARD:
        name = "stdin" if job.output == STANDARD else job.output
    return Path(name + REJECTED)


def expand(patterns: Sequence[str]) -> tuple[str, ...]:
    """The files that `patterns` name: paths, folders of Parquet files, globs, or `-`.

    Raises:
        UnsuitableFile: one of them names none.
    """
    found: list[str] = []
    for pattern in patterns:
        path = Path(pattern)
        if pattern == STANDARD or path.is_file():
            files = [pattern]
        elif path.is_dir():
            files = sorted(str(file) for file in path.rglob("*.parquet") if not file.name.startswith((".", "_")))
        else:
            # What an earlier run has put beside its input is not asked for by an asterisk.
            found_here = glob(pattern, recursive=True)  # noqa: PTH207 - takes absolute patterns too
            files = sorted(file for file in found_here if not file.endswith(REJECTED))
        if not files:
            raise UnsuitableFile(f"{pattern}: there is no such file")
        found += files
    return tuple(found)
