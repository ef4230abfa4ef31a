"""`churn employees`."""

import sys

import click
import msgspec

from churn.cli.run import actor, run
from churn.domain.language import Language

_ref = click.argument("ref", required=False, default="-")


@click.group()
def employees() -> None:
    """Hand out or erase everything that is kept of a person.

    REF is the pseudonym. Without it, or as `-`, it is the first line of the standard input. Both commands are told to
    the audit trail, without the pseudonym. Brings the database up to date first, as `churn serve` does.
    """


@employees.command()
@_ref
@click.option(
    "--language",
    type=click.Choice([language.value for language in Language]),
    default=Language.FR.value,
    show_default=True,
    help="Of the explanations.",
)
def export(ref: str, language: str) -> None:
    """Print the whole record as JSON."""
    ref = _given(ref)
    record = run(lambda container: container.export_employee()(ref, account=actor(), language=Language(language)))
    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2))


@employees.command()
@_ref
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(ref: str, *, yes: bool) -> None:
    """Erase every prediction of a person, with all that hangs on it. It cannot be undone.

    Asks first on a terminal, and elsewhere takes --yes.
    """
    asks = ref != "-" and sys.stdin.isatty()
    if not yes and not asks:
        raise click.UsageError("say --yes: this cannot be undone")
    ref = _given(ref)
    if not yes:
        click.confirm(f"Erase everything that is kept of {ref}?", abort=True)
    removed = run(lambda container: container.erase_employee()(ref, account=actor())).removed
    click.echo(
        f"erased: {removed.predictions} predictions, {removed.shadow_scores} shadow scores,"
        f" {removed.outcomes} outcomes, {removed.reviews} reviews"
    )


def _given(ref: str) -> str:
    return sys.stdin.readline().strip() if ref == "-" else ref
