"""Where answers go: a file that is there whole or not at all, or the standard output."""

import io
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import polars as pl
from polars.io.plugins import register_io_source

from churn.adapters.workforce.frames import inert_frame
from churn.adapters.workforce.sources import Dialect
from churn.domain.errors import UnsuitableFile
from churn.domain.workforce import STANDARD, FileFormat

#: Frames that may wait for the Parquet writer.
_WAITING: Final = 2

type Encoded = bytes | pl.DataFrame


class AtomicFile:
    """A file that appears under its name, complete and on the disk, when it is committed.

    A killed process leaves at most a hidden file beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        except OSError as error:
            raise UnsuitableFile(f"{path}: it cannot be written: {error.strerror}") from error
        self.file: BinaryIO = os.fdopen(descriptor, "w+b")
        self.temporary = Path(name)

    def commit(self) -> None:
        """Make it appear, in place of what is there."""
        self.file.flush()
        os.fsync(self.file.fileno())
        # As any new file, and not readable by its owner alone as a temporary one.
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(self.file.fileno(), 0o666 & ~mask)
        self.file.close()
        self.temporary.replace(self.path)

    def discard(self) -> None:
        """Leave nothing; after a commit, change nothing."""
        self.file.close()
        self.temporary.unlink(missing_ok=True)


class StandardOutput:
    """The standard output, either at once or when it is committed."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self.file: BinaryIO = sys.stdout.buffer if at_once else tempfile.TemporaryFile()  # noqa: SIM115 - `discard`

    def commit(self) -> None:
        """Have all of it written."""
        if not self._at_once:
            self.file.seek(0)
            shutil.copyfileobj(self.file, sys.stdout.buffer)
            self.file.close()
        sys.stdout.buffer.flush()

    def discard(self) -> None:
        """Write no more."""
        if not self._at_once:
            self.file.close()


def open_output(name: str, *, at_once: bool) -> AtomicFile | StandardOutput:
    """The file `name`, or the standard output, which is written to `at_once` or only at the end."""
    return StandardOutput(at_once=at_once) if name == STANDARD else AtomicFile(Path(name))


def encode_csv(frame: pl.DataFrame, dialect: Dialect, *, header: bool = False) -> bytes:
    """`frame` as CSV in which a spreadsheet runs nothing."""
    buffer = io.BytesIO()
    inert_frame(frame).write_csv(
        buffer,
        include_header=header,
        include_bom=header and dialect.byte_order_mark,
        separator=dialect.separator,
        decimal_comma=dialect.decimal_comma,
    )
    return buffer.getvalue()


def encode_ndjson(frame: pl.DataFrame) -> bytes:
    """`frame` as one JSON object a line."""
    buffer = io.BytesIO()
    frame.write_ndjson(buffer)
    return buffer.getvalue()


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """`frame` as a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


class Writer(Protocol):
    """Writes the frames of one output, all with the same columns."""

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """`frame` as `write` takes it; may be called in any thread."""
        ...

    def write(self, encoded: Encoded) -> None:
        """Write what `encode` has made."""
        ...

    def close(self) -> None:
        """Write what is still missing."""
        ...

    def abort(self) -> None:
        """Stop, whatever is missing."""
        ...


class TextWriter:
    """CSV or NDJSON."""

    def __init__(self, file: BinaryIO, encode: Callable[[pl.DataFrame], bytes], header: bytes = b"") -> None:
        self.encode = encode
        self._file = file
        self._file.write(header)

    def write(self, encoded: Encoded) -> None:
        """Write bytes."""
        assert isinstance(encoded, bytes)  # noqa: S101 - what `encode` returns
        self._file.write(encoded)

    def close(self) -> None:
        """Nothing is missing."""

    def abort(self) -> None:
        """Nothing goes on."""


class ParquetWriter:
    """Parquet: polars pulls frames from a queue, in a thread, and writes row group after row group."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._queue: queue.Queue[pl.DataFrame | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._schema: pl.Schema | None = None
        self._error: Exception | None = None

    @staticmethod
    def encode(frame: pl.DataFrame) -> Encoded:
        """The frame itself."""
        return frame

    def write(self, encoded: Encoded) -> None:
        """Hand a frame to the thread."""
        assert isinstance(encoded, pl.DataFrame)  # noqa: S101 - what `encode` returns
        if self._schema is None:
            self._schema = encoded.schema
            self._thread = threading.Thread(target=self._run, args=(encoded.schema,), name="parquet-writer")
            self._thread.start()
        elif encoded.schema != self._schema:
            try:
                encoded = encoded.cast(self._schema)
            except pl.exceptions.PolarsError as error:
                changed = [name for name, kind in self._schema.items() if encoded.schema[name] != kind]
                raise UnsuitableFile(
                    f"column {changed[0]} does not hold the same kind of value everywhere, as Parquet needs it to"
                ) from error
        self._put(encoded)

    def close(self) -> None:
        """Write the rest and the footer."""
        if self._thread is None:
            pl.DataFrame().write_parquet(self._file)
            return
        self._put(None)
        self._thread.join()
        if self._error is not None:
            raise UnsuitableFile("the Parquet file cannot be written") from self._error

    def abort(self) -> None:
        """Have the thread end."""
        if self._thread is None or not self._thread.is_alive():
            return
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(None)
        self._thread.join()

    def _put(self, frame: pl.DataFrame | None) -> None:
        while self._thread is not None and self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(frame, timeout=1.0)
                return

    def _run(self, schema: pl.Schema) -> None:
        def frames(*_: object) -> Iterator[pl.DataFrame]:
            while (frame := self._queue.get()) is not None:
                yield frame

        try:
            register_io_source(frames, schema=schema).sink_parquet(self._file, engine="streaming")
        except Exception as error:  # noqa: BLE001 - told to whoever closes
            self._error = error


class Ranking:
    """Keeps the rows of highest probability, and writes them at the end, ranked; of equals, the first ones."""

    def __init__(self, top: int, writer: Writer) -> None:
        self._top = top
        self._writer = writer
        self._best: pl.DataFrame | None = None

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """The rows of `frame` that may be among the best."""
        return highest(frame, self._top)

    def write(self, encoded: Encoded) -> None:
        """Compare with the best so far."""
        assert isinstance(encoded, pl.DataFrame)  # noqa: S101 - what `encode` returns
        rows = [encoded] if self._best is None else [self._best, encoded]
        self._best = highest(pl.concat(rows, how="vertical_relaxed"), self._top)

    def close(self) -> None:
        """Write the best."""
        if self._best is not None:
            self._writer.write(self._writer.encode(ranked(self._best)))
        self._writer.close()

    def abort(self) -> None:
        """Stop."""
        self._writer.abort()


def highest(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    """The `count` rows of highest probability, highest first; of equals, the first ones."""
    return frame.sort("probability", descending=True, maintain_order=True).head(count)


def ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a first column that numbers its rows, from 1 on."""
    return frame.drop("rank", strict=False).with_row_index("rank", offset=1)


def open_writer(
    file: BinaryIO, file_format: FileFormat, columns: list[str], dialect: Dialect, *, top: int | None
) -> Writer:
    """A writer of `columns` into `file`, of all rows or the `top` ones."""
    if top is not None:
        columns = ["rank", *(name for name in columns if name != "rank")]
    writer: Writer
    match file_format:
        case FileFormat.CSV:
            header = encode_csv(pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), dialect, header=True)
            writer = TextWriter(file, lambda frame: encode_csv(frame, dialect), header)
        case FileFormat.NDJSON:
            writer = TextWriter(file, encode_ndjson)
        case FileFormat.PARQUET:
            writer = ParquetWriter(file)
    return writer if top is None else Ranking(top, writer)
