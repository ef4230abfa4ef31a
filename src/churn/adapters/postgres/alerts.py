"""How things stood, in PostgreSQL."""

from datetime import datetime

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.postgres.engine import storage_errors
from churn.adapters.postgres.tables import alert as table
from churn.domain.alert import Alert, Subject
from churn.domain.errors import AlertConflict


class PostgresAlertLog:
    """Fills the port `AlertLog`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last(self, subject: Subject) -> Alert | None:
        """See the port."""
        statement = select(table).where(table.c.subject == subject.value).order_by(table.c.number.desc()).limit(1)
        with storage_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(statement)).one_or_none()
        return None if row is None else msgspec.convert(row, Alert, from_attributes=True)

    async def append(self, alert: Alert) -> None:
        """See the port."""
        values = msgspec.structs.asdict(alert) | {"subject": alert.subject.value, "state": alert.state.value}
        with storage_errors():
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(insert(table).values(values | {"reasons": list(alert.reasons)}))
            except IntegrityError as error:
                raise AlertConflict from error

    async def confirm(self, alert: Alert, *, delivered_at: datetime) -> None:
        """See the port."""
        statement = (
            update(table)
            .where(table.c.subject == alert.subject.value, table.c.number == alert.number)
            .values(delivered_at=func.coalesce(table.c.delivered_at, delivered_at))
        )
        with storage_errors():
            async with self._engine.begin() as connection:
                await connection.execute(statement)
