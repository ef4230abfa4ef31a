"""`churn monitor`."""

from datetime import date, datetime

import click
import msgspec

from churn.cli.run import run
from churn.domain.drift import ColumnDrift, DriftReport, Verdict

_since = click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, in UTC.")
_until = click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Day after the last one, in UTC.")
_version = click.option("--model-version", help="Version of the model.  [default: the one that answers]")
_json = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


@click.group()
def monitor() -> None:
    """Ask whether the model is still to be believed.

    Works beside a running service. Brings the database up to date first, as `churn serve` does.
    """


@monitor.command()
@_since
@_until
@_version
@_json
def drift(since: datetime | None, until: datetime | None, model_version: str | None, *, as_json: bool) -> None:
    """Compare what the model is asked with what it learnt from; by default over the last thirty days."""
    report = run(
        lambda container: container.report_drift()(since=_day(since), until=_day(until), model_version=model_version)
    )
    if as_json:
        _print_json(report)
    else:
        _show_drift(report)


@monitor.command()
def rebuild() -> None:
    """Compare the counts behind the drift report with the history, and correct them.

    Needed once after an upgrade from a release that did not count. Safe while the service runs.
    """
    rebuilt = run(lambda container: container.rebuild_counts()())
    for version, days in rebuilt.corrected.items():
        told = f"{len(days)} days corrected, from {days[0]} to {days[-1]}" if days else "every day was right"
        click.echo(f"{version}  {told}")
    for version in rebuilt.unknown:
        click.echo(f"{version}  cannot be counted: its manifest is not there", err=True)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _print_json(report: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))


def _show_drift(report: DriftReport) -> None:
    days = len(report.volume)
    click.echo(f"model      {report.model_version}")
    click.echo(f"period     {report.since} to before {report.until}, with predictions on {days} days")
    click.echo(f"volume     {report.predictions} predictions")
    if report.without_employee_ref is not None:
        click.echo(f"unnamed    {report.without_employee_ref:.1%} without employee_ref")
    click.echo(f"verdict    {report.verdict.replace('_', ' ')}\n")
    click.echo(f"{'':<28}{'distance':>9}{'adjusted p':>12}{'PSI':>8}{'by chance':>11}{'out of range':>14}")
    for column in (*report.features, report.score):
        _show_column(column)
    if report.verdict is Verdict.INSUFFICIENT_DATA:
        click.echo(f"\nUnder {report.rule.enough} predictions nothing can be told.")
    else:
        click.echo(
            f"\nA column drifts when its distance is at least {report.rule.distance:g} and its adjusted p below"
            f" {report.rule.significance:g}."
        )


def _show_column(column: ColumnDrift) -> None:
    figures = f"{_number(column.distance, '.3f'):>9}{_number(column.adjusted_p_value, '.2g'):>12}"
    figures += f"{_number(column.psi, '.3f'):>8}{_number(column.psi_by_chance, '.3f'):>11}"
    outside = None if column.below_range is None else column.below_range + (column.above_range or 0.0)
    mark = "" if column.verdict is Verdict.STABLE else f"  {column.verdict.replace('_', ' ')}"
    click.echo(f"{column.name:<28}{figures}{_number(outside, '.1%'):>14}{mark}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
