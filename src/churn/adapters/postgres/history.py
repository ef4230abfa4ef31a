"""Predictions in PostgreSQL, written by group commit."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, cast
from uuid import UUID, uuid4

import asyncpg
import msgspec
import structlog
from asyncpg.prepared_stmt import PreparedStatement
from msgspec import UNSET
from sqlalchemy import Connection, Row, Select, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from churn.adapters.postgres import binary_copy
from churn.adapters.postgres.engine import connection as connected
from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import prediction as table
from churn.adapters.postgres.traffic import SHARED_WRITER, Additions, TrafficCounter, add_statement, period_of
from churn.domain.employee import Employee, Overtime
from churn.domain.errors import HistoryQueueFull, StorageUnavailable, TooManyExports
from churn.domain.prediction import HistoryFilter, Prediction, Risk, Score
from churn.domain.predictions import Predictions
from churn.ports import HistoryFlush

#: Of a prediction that is stored alone, and so in no run.
_COLUMNS: Final = tuple(column.name for column in table.columns if column is not table.c.run_id)
#: One statement for any number of rows and what they add to the counts, so that a flush is one round trip: less work
#: than `COPY`, which takes two and calls Python for each element of an array.
_INSERT: Final = f"""
    WITH stored AS (
        INSERT INTO prediction ({", ".join(_COLUMNS)})
        SELECT {", ".join(_COLUMNS)} FROM json_populate_recordset(NULL::prediction, $1)
    )
    {add_statement(first=2)}
"""  # noqa: S608 - names from our own table
_NO_TIME: Final = timedelta()
_INSERT_RUN: Final = "INSERT INTO scoring_run (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"
_Row: Final = msgspec.defstruct("_Row", [(str(name), Any) for name in _COLUMNS], gc=False)
#: Rows in one flush: beyond this a commit takes long enough to be felt by the first request in it.
_LARGEST_FLUSH: Final = 1024
#: Rows that a server-side cursor fetches at once.
_STREAM_BLOCK: Final = 256
#: Exports at once, each on a connection of its own beside the pool.
_MOST_STREAMS: Final = 4
#: A reader that has stopped reading must not keep a snapshot, and with it every dead row of the database, for ever.
_END_IF_UNREAD: Final = text("SET LOCAL idle_in_transaction_session_timeout = '60s'")

_log = structlog.get_logger()

type _Waiting = tuple[Prediction, asyncio.Future[None]]


def _to_row(prediction: Prediction) -> msgspec.Struct:
    """One row, whose fields are the table's columns."""
    employee, score = prediction.employee, prediction.score
    return _Row(
        prediction.id,
        prediction.created_at,
        prediction.account,
        prediction.model_version,
        prediction.threshold,
        prediction.intercept,
        prediction.risk,
        score.probability,
        score.contributions,
        score.out_of_range,
        employee.age,
        employee.monthly_income,
        employee.commute_distance,
        employee.environment_satisfaction,
        employee.overtime is Overtime.YES,
        employee.years_since_promotion,
        employee.work_life_balance,
        employee.stock_option_level,
        employee.years_in_role,
        employee.years_at_company,
        employee.total_working_years,
        None if employee.employee_ref is UNSET else employee.employee_ref,
    )


def from_row(row: Row[Any]) -> Prediction:
    """The prediction of a row of the table."""
    return Prediction(
        id=row.id,
        created_at=row.created_at,
        account=row.account,
        model_version=row.model_version,
        threshold=row.threshold,
        intercept=row.intercept,
        risk=Risk(row.risk),
        employee=Employee(
            age=row.age,
            monthly_income=row.monthly_income,
            commute_distance=row.commute_distance,
            environment_satisfaction=row.environment_satisfaction,
            overtime=Overtime.YES if row.overtime else Overtime.NO,
            years_since_promotion=row.years_since_promotion,
            work_life_balance=row.work_life_balance,
            stock_option_level=row.stock_option_level,
            years_in_role=row.years_in_role,
            years_at_company=row.years_at_company,
            total_working_years=row.total_working_years,
            employee_ref=UNSET if row.employee_ref is None else row.employee_ref,
        ),
        score=Score(
            probability=row.probability,
            contributions=None if row.contributions is None else tuple(row.contributions),
            out_of_range=tuple(row.out_of_range),
        ),
        run_id=row.run_id,
    )


def _matching(criteria: HistoryFilter, before: UUID | None) -> Select[Any]:
    statement = select(table).order_by(table.c.id.desc())
    first, end = criteria.id_bounds()
    if first is not None:
        statement = statement.where(table.c.id >= first)
    if bounds := [bound for bound in (before, end) if bound is not None]:
        statement = statement.where(table.c.id < min(bounds))
    # As a difference, which no index has: the ids find the period, in order, and this drops what is beside it.
    if criteria.since is not UNSET:
        statement = statement.where(table.c.created_at - criteria.since >= _NO_TIME)
    if criteria.until is not UNSET:
        statement = statement.where(table.c.created_at - criteria.until < _NO_TIME)
    if criteria.model_version is not UNSET:
        statement = statement.where(table.c.model_version == criteria.model_version)
    if criteria.leaves is not UNSET:
        high = table.c.risk == Risk.HIGH.value
        statement = statement.where(high if criteria.leaves else ~high)
    if criteria.employee_ref is not UNSET:
        statement = statement.where(table.c.employee_ref == criteria.employee_ref)
    if criteria.account is not UNSET:
        statement = statement.where(table.c.account == criteria.account)
    if criteria.run_id is not UNSET:
        statement = statement.where(table.c.run_id == criteria.run_id)
    return statement


def _driver_of(lent: PoolProxiedConnection) -> "asyncpg.Connection[asyncpg.Record]":
    """The driver's own connection, which speaks `COPY`."""
    return cast("asyncpg.Connection[asyncpg.Record]", lent.driver_connection)


class PostgresHistoryRepository:
    """Fills the port `HistoryRepository`.

    `append` hands its row to one writer task, which flushes whatever has queued in one statement and
    one commit. While a flush is under way the next one gathers, so the size of a flush follows the load and
    an idle service commits at once.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        queue_size: int,
        flush_timeout: float,
        on_flush: Callable[[HistoryFlush], None],
        counter: TrafficCounter | None = None,
    ) -> None:
        """Start nothing yet: `start` needs a running event loop.

        Args:
            engine: where to write and read.
            queue_size: rows that may wait for their commit; `append` refuses beyond.
            flush_timeout: seconds that one flush may take before its rows count as failed.
            on_flush: told of every flush, also of one that failed.
            counter: counts what is stored, in the same transaction; None counts nothing.
        """
        self._engine = engine
        self._queue_size = queue_size
        self._flush_timeout = flush_timeout
        self._on_flush = on_flush
        self._counter = counter
        # Rows of the counts that are this process's own.
        self._writer_id = uuid4()
        self._queue: list[_Waiting] = []
        self._queued = asyncio.Event()
        # Since the last flush.
        self._refused = 0
        self._stopping = False
        self._connection: AsyncConnection | None = None
        self._driver: asyncpg.Connection[asyncpg.Record] | None = None
        self._insert: PreparedStatement[asyncpg.Record] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._streams = 0
        # One at a time: another would not be faster, but take a connection and a core from those who wait for one row.
        self._appending_many = asyncio.Lock()

    async def start(self) -> None:
        """Begin to write."""
        self._stopping = False
        self._writer = asyncio.create_task(self._write(), name="history-writer")

    async def stop(self) -> None:
        """Write what has queued, then give the connection back. `append` refuses from now on."""
        self._stopping = True
        self._queued.set()
        if self._writer is not None:
            await self._writer
            self._writer = None
        await self._disconnect()

    def admit(self) -> None:
        """See the port."""
        if self._stopping or len(self._queue) >= self._queue_size:
            self._refused += 1
            raise HistoryQueueFull("more predictions are waiting than the database can commit")

    async def append(self, prediction: Prediction) -> None:
        """See the port."""
        self.admit()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((prediction, done))
        self._queued.set()
        await done

    async def append_many(self, blocks: AsyncIterable[Predictions], *, run_id: UUID | None = None) -> bool:
        """See the port."""
        with storage_errors():
            async with self._appending_many, connected(self._engine) as lent:
                connection = _driver_of(await lent.get_raw_connection())
                # In a shared transaction this is a savepoint.
                async with connection.transaction():
                    # A second one with this id waits here until the first has committed or has failed.
                    if run_id is not None and not await connection.fetchval(_INSERT_RUN, run_id):
                        return False
                    additions = Additions()
                    await connection.copy_to_table(
                        "prediction",
                        source=self._copied(blocks, run_id, additions),
                        columns=binary_copy.COLUMNS,
                        format="binary",
                    )
                    # Last, because others who share these rows wait from here on.
                    await connection.execute(add_statement(), *additions.parameters(SHARED_WRITER))
        return True

    async def get(self, prediction_id: UUID) -> Prediction | None:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(table).where(table.c.id == prediction_id))).one_or_none()
        return None if row is None else from_row(row)

    async def find(self, criteria: HistoryFilter, *, before: UUID | None, limit: int) -> Sequence[Prediction]:
        """See the port."""
        with storage_errors():
            async with self._engine.connect() as connection:
                statement = _matching(await self._narrowed(connection, criteria), before).limit(limit)
                rows = (await connection.execute(statement)).all()
        return [from_row(row) for row in rows]

    async def stream(self, criteria: HistoryFilter, *, before: UUID | None) -> AsyncIterator[Sequence[Prediction]]:
        """See the port."""
        if self._streams >= _MOST_STREAMS:
            raise TooManyExports("too many exports of the history are under way")
        self._streams += 1
        try:
            with storage_errors():
                async with self._engine.connect() as connection:
                    # The pool gets its place back: whoever reads this may take minutes.
                    await connection.run_sync(Connection.detach)
                    await connection.execute(_END_IF_UNREAD)
                    narrowed = await self._narrowed(connection, criteria)
                    statement = _matching(narrowed, before).execution_options(yield_per=_STREAM_BLOCK)
                    async for rows in (await connection.stream(statement)).partitions():
                        yield [from_row(row) for row in rows]
        finally:
            self._streams -= 1

    async def _narrowed(self, connection: AsyncConnection, criteria: HistoryFilter) -> HistoryFilter:
        """`criteria` within the days on which its version made predictions, which the counts know.

        Without that, a version that serves no more would be looked for among everything that came after it.
        """
        if criteria.model_version is UNSET or self._counter is None:
            return criteria
        since, until = await period_of(connection, criteria.model_version)
        return msgspec.structs.replace(
            criteria,
            since=since if criteria.since is UNSET else max(since, criteria.since),
            until=until if criteria.until is UNSET else min(until, criteria.until),
        )

    async def _write(self) -> None:
        while not (self._stopping and not self._queue):
            await self._queued.wait()
            # One turn of the loop more: what has arrived together is then in one commit.
            await asyncio.sleep(0)
            batch, self._queue = self._queue[:_LARGEST_FLUSH], self._queue[_LARGEST_FLUSH:]
            if not self._queue and not self._stopping:
                self._queued.clear()
            if batch:
                await self._flush(batch)

    async def _flush(self, batch: list[_Waiting]) -> None:
        """Commit `batch` and answer everyone who waits for it, whatever happens."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._flush_timeout):
                failures = await self._store(batch)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the requests must be told
            # The connection may be in the middle of a statement that was cut off: a new one is certain. Ended at
            # once, because a server that hangs does not answer a goodbye either.
            if self._driver is not None:
                self._driver.terminate()
            await self._disconnect()
            failures = dict.fromkeys(range(len(batch)), error)
        for position, (_, done) in enumerate(batch):
            if done.done():  # the request was cancelled: its client has gone
                continue
            if position in failures:
                refusal = StorageUnavailable("the database did not confirm the prediction")
                refusal.__cause__ = failures[position]
                done.set_exception(refusal)
            else:
                done.set_result(None)
        self._on_flush(HistoryFlush(len(batch), len(failures), loop.time() - started, len(self._queue)))
        if self._refused:
            # One line for all of them: one for each would take longer than their refusal.
            _log.warning("predictions were refused: the queue was full", refused=self._refused)
            self._refused = 0

    async def _store(self, batch: list[_Waiting]) -> dict[int, Exception]:
        """Commit `batch`; the positions of the rows that could not be stored, and why."""
        predictions = [prediction for prediction, _ in batch]
        try:
            await self._insert_all(predictions)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            # One row is at fault, and the statement undid them all: only that row's request may fail.
            failures: dict[int, Exception] = {}
            for position, prediction in enumerate(predictions):
                try:
                    await self._insert_all([prediction])
                except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
                    failures[position] = error
            return failures
        return {}

    async def _insert_all(self, predictions: Sequence[Prediction]) -> None:
        rows = msgspec.json.encode([_to_row(prediction) for prediction in predictions]).decode()
        additions = await self._count(predictions)
        insert = await self._connect()
        await insert.fetch(rows, *additions.parameters(self._writer_id))

    async def _count(self, predictions: Sequence[Prediction]) -> Additions:
        return Additions() if self._counter is None else await self._counter.count(predictions)

    async def _copied(
        self, blocks: AsyncIterable[Predictions], run_id: UUID | None, additions: Additions
    ) -> AsyncIterator[bytes]:
        """What `COPY` is to read; `additions` gets what that adds to the counts."""
        yield binary_copy.BEGINNING
        async for block in blocks:
            yield binary_copy.encode(block, run_id)
            if self._counter is not None:
                additions.update(await self._counter.count_together(block))
        yield binary_copy.END

    async def _connect(self) -> "PreparedStatement[asyncpg.Record]":
        """The statement of the writer's own connection, which is made when there is none that is still open."""
        if self._driver is not None and self._insert is not None and not self._driver.is_closed():
            return self._insert
        await self._disconnect()
        self._connection = await self._engine.connect()
        self._driver = _driver_of(await self._connection.get_raw_connection())
        self._insert = await self._driver.prepare(_INSERT)
        return self._insert

    async def _disconnect(self) -> None:
        connection, self._connection, self._driver, self._insert = self._connection, None, None, None
        if connection is not None:
            # A broken connection must not be lent to anyone else.
            await connection.invalidate()
            await connection.close()
