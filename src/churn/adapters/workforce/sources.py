"""Files of employees, read block by block: what is in memory does not grow with the file."""

import codecs
import csv
import io
import os
import select
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from churn.adapters.workforce.frames import FAULT
from churn.domain.columns import IBM_COLUMNS
from churn.domain.employee import FEATURES
from churn.domain.errors import UnsuitableFile
from churn.domain.language import Language
from churn.domain.workforce import STANDARD

#: Bytes of text that are read, scored and written at once, some 20,000 rows: large enough to be fast, and small
#: enough that the few blocks under way take little memory.
BLOCK: Final = 1 << 20
#: Rows of a Parquet file, likewise.
BLOCK_ROWS: Final = 1 << 14
#: Bytes in which a quotation mark must be closed; one that is not is a mistake in its line.
LARGEST_RECORD: Final = 1 << 20
#: Seconds after which a signal is heeded at the latest, while the standard input says nothing.
_LATENCY: Final = 0.5

_SEPARATORS: Final = ",;\t"
_UNCLOSED: Final = {
    Language.FR: "Guillemet jamais refermé.",
    Language.EN: "A quotation mark is never closed.",
}
_TOO_MANY: Final = {Language.FR: "Plus de cellules que de colonnes.", Language.EN: "More cells than columns."}
_NOT_AN_OBJECT: Final = {Language.FR: "N'est pas un objet JSON.", Language.EN: "Not a JSON object."}
_NEW_KEY: Final = {
    Language.FR: "Clé absente des premières lignes du fichier.",
    Language.EN: "A key that the first lines of the file do not have.",
}
#: Windows-1252 as browsers read it: Latin-1 where it says nothing.
_WINDOWS_1252: Final = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


class Dialect(Struct, frozen=True):
    """How a CSV file is written, so that its answer can be written alike."""

    separator: str = ","
    byte_order_mark: bool = False
    decimal_comma: bool = False


class Rows(NamedTuple):
    """Some rows of a file."""

    frame: pl.DataFrame
    lines: Sequence[int] | NDArray[np.int64]
    """The line of the file on which each of them begins; for Parquet, its number, from 1."""


class Block(NamedTuple):
    """Some rows of a file, still to be parsed, in whatever thread."""

    parse: Callable[[], Rows]
    progress: float | None
    """Share of the file that has been read with this block, in [0, 1]; None if it is not known."""


class Source(Protocol):
    """One file."""

    name: str
    columns: tuple[str, ...]

    @property
    def dialect(self) -> Dialect | None:
        """How it is written; None if it is no CSV. To be asked only once its columns are known to be good."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Its rows, in order; once."""
        ...


def open_source(name: str, stack: ExitStack, *, encoding: str | None, language: Language) -> Source:
    """The file `name`, or the standard input; its format is seen by its first bytes.

    Args:
        name: a path, or `-`.
        stack: closes it.
        encoding: of text; when None, UTF-8, or Windows-1252 where that is impossible.
        language: of what is said about rows that cannot be read.

    Raises:
        UnsuitableFile: it cannot be opened, or has no header.
    """
    try:
        stream = _StandardInput() if name == STANDARD else stack.enter_context(Path(name).open("rb"))  # noqa: SIM115
        head = stream.read(BLOCK)
        size = None if name == STANDARD else Path(name).stat().st_size
        if head.startswith(b"PAR1"):
            return ParquetSource(name, _seekable(name, head, stream, stack))
    except OSError as error:
        raise UnsuitableFile(f"{name}: {error.strerror}") from error
    text = _Text(name, head, stream, size, encoding)
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{":
        return NdjsonSource(text, language)
    return CsvSource(text, language)


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes:
        """As many bytes, fewer only at the end."""
        ...


class _StandardInput:
    """The standard input, read so that a signal is never late.

    Python looks for signals before it waits for a pipe, not while: one that comes in between would be heeded only
    when the pipe has something to say.
    """

    def __init__(self) -> None:
        self._stream = sys.stdin.buffer

    def read(self, size: int, /) -> bytes:
        """As many bytes, fewer only at the end."""
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:
            return self._stream.read(size)
        pieces: list[bytes] = []
        while size:
            if not select.select([descriptor], [], [], _LATENCY)[0]:
                continue
            piece = os.read(descriptor, size)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _seekable(name: str, head: bytes, stream: _Stream, stack: ExitStack) -> Path:
    """A Parquet file's end must be read first: what comes from a pipe is put into a file."""
    if name != STANDARD:
        return Path(name)
    file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".parquet"))  # noqa: SIM115
    file.write(head)
    while data := stream.read(BLOCK):
        file.write(data)
    file.flush()
    return Path(file.name)


class _Text:
    """A text file as blocks of UTF-8 that end at the end of a line."""

    def __init__(self, name: str, head: bytes, stream: _Stream, size: int | None, encoding: str | None) -> None:
        self.name = name
        self._stream = stream
        self._size = size
        self._read = 0
        self.byte_order_mark = head.startswith(codecs.BOM_UTF8)
        if encoding is None and head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        self._decode = None if encoding is None else self._decoder(encoding)
        self._pending = b""
        self._beyond_ascii = False
        self._head = head.removeprefix(codecs.BOM_UTF8)
        self.head = self._as_utf8(self._head)

    def _decoder(self, encoding: str) -> Callable[[bytes], str]:
        try:
            decoder = codecs.getincrementaldecoder(encoding)()
        except LookupError as error:
            raise UnsuitableFile(f"there is no encoding {encoding!r}") from error

        def decode(data: bytes) -> str:
            try:
                return decoder.decode(data, final=not data).removeprefix("\ufeff")
            except (UnicodeError, ValueError) as error:
                raise UnsuitableFile(f"{self.name}: it is not {encoding}") from error

        return decode

    @property
    def progress(self) -> float | None:
        """Share of the file that has been read."""
        return None if not self._size else min(1.0, self._read / self._size)

    def following(self) -> Iterator[tuple[bytes, bool]]:
        """What follows `head`, piece by piece, and whether it is the last one."""
        while data := self._stream.read(BLOCK):
            yield self._as_utf8(data), False
        yield self._as_utf8(b""), True

    def _as_utf8(self, data: bytes) -> bytes:
        self._read += len(data)
        if self._decode is not None:
            return self._decode(data).encode()
        if not self._pending and data.isascii():
            return data
        whole = self._pending + data
        try:
            _, used = codecs.utf_8_decode(whole, "strict", not data)
        except UnicodeDecodeError as error:
            if self._beyond_ascii or not whole[: error.start].isascii():
                raise UnsuitableFile(f"{self.name}: some of it is UTF-8 and some is not; name its encoding") from error
            # Nothing but ASCII so far, so that nothing was misread.
            self._decode = lambda data: codecs.charmap_decode(data, "strict", _WINDOWS_1252)[0]
            return self._decode(whole).encode()
        self._beyond_ascii = True
        self._pending = whole[used:]
        return whole[:used]


class CsvSource:
    """A CSV file whose first line that is not blank names the columns."""

    def __init__(self, text: _Text, language: Language) -> None:
        self.name = text.name
        self._text = text
        self._language = language
        head = text.head
        lines = io.StringIO(head[: 2 * LARGEST_RECORD].decode("utf-8", "ignore"), newline="")
        start = lines.tell()
        best: tuple[int, int] = (-1, -1)
        self.columns: tuple[str, ...] = ()
        known = {*FEATURES, *IBM_COLUMNS}
        for separator in _SEPARATORS:
            lines.seek(start)
            reader = csv.reader(lines, delimiter=separator)
            try:
                header = next((record for record in reader if record), [])
            except csv.Error:
                continue
            found = (len(known.intersection(name.strip() for name in header)), len(header))
            if found > best:
                best, self.columns = found, tuple(name.strip() for name in header)
                self._separator, self._header_lines = separator, reader.line_num
        if not self.columns:
            raise UnsuitableFile(f"{self.name}: it is empty")
        if "" in self.columns:
            self.columns = tuple(name or f"column_{n}" for n, name in enumerate(self.columns, start=1))
        body = 0
        for _ in range(self._header_lines):
            body = head.find(b"\n", body) + 1 or len(head)
        self._body = head[body:]

    @cached_property
    def dialect(self) -> Dialect:
        """How it is written."""
        return Dialect(self._separator, self._text.byte_order_mark, self._has_decimal_comma())

    def _has_decimal_comma(self) -> bool:
        if self._separator == ",":
            return False
        sample = self._parse(self._body[: self._body.rfind(b"\n", 0, LARGEST_RECORD) + 1], 1).frame
        return any(column.str.contains(r"^\s*[0-9]+,[0-9]+\s*$").any() for column in sample.iter_columns())

    def blocks(self) -> Iterator[Block]:
        """Its rows, in order; once."""
        line = self._header_lines + 1
        pending = self._body
        for data, last in self._text.following():
            pending += data
            while pending:
                parse = self._parse
                balanced = last and pending.count(b'"') % 2 == 0
                end = len(pending) if balanced else _last_record_end(pending)
                if not end:
                    if not last and len(pending) <= LARGEST_RECORD:
                        break
                    # Given up at once: what follows the line is read as if its mark were not there.
                    end = pending.find(b"\n") + 1 or len(pending)
                    parse = self._parse_unclosed
                yield Block(partial(parse, pending[:end], line), self._text.progress)
                line += pending.count(b"\n", 0, end)
                pending = pending[end:]

    def _parse_unclosed(self, data: bytes, line: int) -> Rows:
        record = data[:LARGEST_RECORD].decode("utf-8", "ignore").rstrip("\r\n").split(self._separator)
        return self._rows([record], [line], _UNCLOSED[self._language])

    def _parse(self, data: bytes, line: int) -> Rows:
        columns = dict.fromkeys((*self.columns, FAULT), pl.String)
        try:
            frame = pl.read_csv(
                data,
                has_header=False,
                schema=columns,
                separator=self._separator,
                truncate_ragged_lines=True,
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError:
            # Quotation marks in the middle of a cell: the standard library takes them as they are.
            return self._parse_slowly(data, line)
        lines: Sequence[int] | range = range(line, line + frame.height)
        if data.count(b"\n") + (not data.endswith(b"\n")) != frame.height:
            lines = [line + first for first, _ in _records(data, self._separator)]
            if len(lines) != frame.height:
                return self._parse_slowly(data, line)
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        crowded = frame[FAULT]
        frame = (
            frame.drop(FAULT)
            if crowded.null_count() == frame.height
            else frame.with_columns(
                pl.when(pl.col(FAULT).is_not_null()).then(pl.lit(_TOO_MANY[self._language])).alias(FAULT)
            )
        )
        if not blank.any():
            return Rows(frame, lines)
        return Rows(frame.filter(~blank), np.array(lines)[(~blank).to_numpy()])

    def _parse_slowly(self, data: bytes, line: int) -> Rows:
        found = [(line + first, record) for first, record in _records(data, self._separator) if any(record)]
        return self._rows([record for _, record in found], [first for first, _ in found])

    def _rows(self, records: Sequence[list[str]], lines: Sequence[int], fault: str | None = None) -> Rows:
        width = len(self.columns)
        columns: dict[str, list[str | None]] = {
            name: [record[n] or None if n < len(record) else None for record in records]
            for n, name in enumerate(self.columns)
        }
        columns[FAULT] = [fault or (_TOO_MANY[self._language] if any(record[width:]) else None) for record in records]
        return Rows(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)), lines)


def _records(data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The records in `data`, as the standard library sees them, each with the number of its first line, from 0."""
    csv.field_size_limit(2 * BLOCK)
    # It would take a carriage return in the middle of a line for a mistake.
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b" ").decode()
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator)
    first = 0
    for record in reader:
        yield first, record
        first = reader.line_num


def _last_record_end(data: bytes) -> int:
    """Where the last whole record in `data` ends: after the last newline that no quotation marks surround."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end


class NdjsonSource:
    """A file with one JSON object a line. The objects at its beginning say what keys there are."""

    dialect: Dialect | None = None

    def __init__(self, text: _Text, language: Language) -> None:
        self.name = text.name
        self._text = text
        self._language = language
        self._decoder = msgspec.json.Decoder(dict[str, Any])
        keys: dict[str, None] = {}
        for row in text.head[: text.head.rfind(b"\n") + 1 or len(text.head)].splitlines():
            keys.update(dict.fromkeys(self._decode(row) or ()))
        if not keys:
            raise UnsuitableFile(f"{self.name}: its first lines are not JSON objects")
        self.columns = tuple(keys)

    def _decode(self, line: bytes) -> dict[str, Any] | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def blocks(self) -> Iterator[Block]:
        """Its rows, in order; once."""
        line = 1
        pending = self._text.head
        for data, last in self._text.following():
            pending += data
            end = len(pending) if last else pending.rfind(b"\n") + 1
            if end:
                yield Block(partial(self._parse, pending[:end], line), self._text.progress)
                line += pending.count(b"\n", 0, end)
                pending = pending[end:]

    def _parse(self, data: bytes, line: int) -> Rows:
        objects: list[dict[str, Any]] = []
        faults: list[str | None] = []
        lines: list[int] = []
        for number, text in enumerate(data.split(b"\n"), start=line):
            if not text.strip():
                continue
            row = self._decode(text)
            fault = None
            if row is None:
                row, fault = {}, _NOT_AN_OBJECT[self._language]
            elif not row.keys() <= set(self.columns):
                fault = _NEW_KEY[self._language]
            objects.append(row)
            faults.append(fault)
            lines.append(number)
        columns = {name: _json_column(name, [row.get(name) for row in objects]) for name in self.columns}
        frame = pl.DataFrame({**columns, FAULT: pl.Series(faults, dtype=pl.String)})
        return Rows(frame, lines)


def _json_column(name: str, values: list[Any]) -> pl.Series:
    """JSON values as a column: of one kind if they are, otherwise of JSON texts."""
    kinds = {type(value) for value in values} - {type(None)}
    for among, dtype in (({str}, pl.String), ({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64)):
        if kinds <= among:
            try:
                return pl.Series(name, values, dtype=dtype, strict=dtype != pl.Float64)
            except (OverflowError, pl.exceptions.PolarsError, TypeError):
                break
    texts = [
        value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode() for value in values
    ]
    return pl.Series(name, texts, dtype=pl.String)


class ParquetSource:
    """A Parquet file."""

    dialect: Dialect | None = None

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        try:
            self._frame = pl.scan_parquet(path)
            self.columns = tuple(self._frame.collect_schema().names())
            self._height: int = self._frame.select(pl.len()).collect().item()
        except pl.exceptions.PolarsError as error:
            raise UnsuitableFile(f"{name}: this Parquet file cannot be read") from error

    def blocks(self) -> Iterator[Block]:
        """Its rows, in order; once."""
        done = 0
        for frame in self._frame.collect_batches(chunk_size=BLOCK_ROWS, maintain_order=True, engine="streaming"):
            lines = range(done + 1, done + 1 + frame.height)
            done += frame.height
            yield Block(partial(Rows, frame, lines), done / self._height)
