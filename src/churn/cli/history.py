"""`churn history`."""

import re
from datetime import timedelta

import click

from churn.cli.run import actor, run
from churn.container import Container
from churn.domain.personal_data import Removed
from churn.use_cases.personal_data import BATCH


def _days(_: click.Context, __: click.Parameter, value: str) -> timedelta:
    if not re.fullmatch("[0-9]{1,5}d", value):
        raise click.BadParameter("a number of days, such as 730d")
    return timedelta(days=int(value[:-1]))


@click.group()
def history() -> None:
    """Look after the history of predictions.

    Brings the database up to date first, as `churn serve` does.
    """


@history.command()
@click.option("--older-than", "age", required=True, callback=_days, metavar="DAYSd", help="Such as 730d.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 50_000),
    default=BATCH,
    show_default=True,
    help="Predictions in one transaction.",
)
def purge(age: timedelta, batch_size: int, *, dry_run: bool) -> None:
    """Remove the predictions that are older than that, with all that hangs on them. It cannot be undone.

    Works beside a running service, in short transactions. Can be stopped at any moment, and started again to go on.
    """
    if dry_run:
        old = run(lambda container: container.purge_history().count(age))
        click.echo(f"{old} predictions are older than {age.days} days")
        return
    click.echo(f"removed {run(lambda container: _purge(container, age, batch_size))} predictions")


async def _purge(container: Container, age: timedelta, batch_size: int) -> int:
    purge_history = container.purge_history()
    total, done = await purge_history.count(age), 0

    def tell(removed: Removed) -> None:
        nonlocal done
        done += removed.predictions
        click.echo(f"{done} of {total}", err=True)

    await purge_history(age, account=actor(), batch=batch_size, on_batch=tell)
    return done
