"""`churn audit`."""

import click
import msgspec

from churn.cli.run import run
from churn.domain.audit import AuditEntry
from churn.use_cases.verify_audit import Head, Verified


@click.group()
def audit() -> None:
    """Look at who did what, and make sure that nobody has changed it.

    Brings the database up to date first, as `churn serve` does.
    """


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Entries to show.")
@click.option("--before", type=click.IntRange(1), help="Show those before this number.")
def list_(limit: int, before: int | None) -> None:
    """Show the newest entries, newest first."""
    for entry in run(lambda container: container.trail().page(before=before, limit=limit)):
        click.echo(_told(entry))


def _checked_head(_: click.Context, __: click.Parameter, value: str | None) -> Head | None:
    if value is None:
        return None
    number, colon, digest = value.partition(":")
    try:
        head = Head(int(number), bytes.fromhex(digest))
    except ValueError:
        colon = ""
    if not colon or not digest:
        raise click.BadParameter("NUMBER:HASH, as `churn audit head` prints it")
    return head


@audit.command()
@click.option(
    "--expect", metavar="NUMBER:HASH", callback=_checked_head, help="An earlier head that must still be there."
)
def verify(expect: Head | None) -> None:
    """Follow the whole chain; exits with 1 if an entry was changed, removed or inserted.

    That entries were cut off at the end, or that somebody wrote the whole chain anew, shows only against an earlier
    head that was kept elsewhere: see `churn audit head`.
    """
    verified: Verified = run(lambda container: container.verify_audit()(expect))
    for breach in verified.breaches:
        click.echo(f"entry {breach.number} is {breach.kind}")
    if verified.kept is False:
        click.echo("the expected head is not there: the trail was cut off, or written anew")
    if verified.breaches or verified.kept is False:
        raise click.exceptions.Exit(1)
    click.echo(f"{verified.head.number} entries, unbroken")


@audit.command()
def head() -> None:
    """Print the number and the hash of the newest entry, to be kept where the database's administrator cannot write."""
    newest = run(lambda container: container.trail().page(before=None, limit=1))
    for entry in newest:
        click.echo(f"{entry.number}:{entry.hash.hex()}")
    if not newest:
        raise click.ClickException("the trail is empty")


def _told(entry: AuditEntry) -> str:
    parts = (
        str(entry.number),
        f"{entry.at:%Y-%m-%d %H:%M:%S} UTC",
        entry.account or "-",
        entry.action,
        entry.subject or "-",
        msgspec.json.encode(entry.details).decode() if entry.details else "",
    )
    return "  ".join(parts).rstrip()
