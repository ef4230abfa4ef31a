"""`churn monitor`."""

import sys
from datetime import date, datetime
from typing import Final

import click
import msgspec

from churn.cli.run import run
from churn.container import Container
from churn.domain.alert import State, Subject
from churn.domain.drift import ColumnDrift, DriftReport, Verdict
from churn.domain.errors import NotDelivered
from churn.domain.language import Language
from churn.domain.manifest import Interval
from churn.domain.performance import ASSUMPTION, Performance, PerformanceReport
from churn.use_cases.check_model import Check

_ALARM: Final = 1
_UNKNOWN: Final = 2

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
        show_drift(report)


@monitor.command()
@_since
@_until
@_version
@_json
def performance(since: datetime | None, until: datetime | None, model_version: str | None, *, as_json: bool) -> None:
    """Tell what the predictions were worth, by version and month; by default since the last twelve that can be told."""
    report = run(
        lambda container: container.report_performance()(
            since=_day(since), until=_day(until), model_version=model_version
        )
    )
    if as_json:
        _print_json(report)
    else:
        show_performance(report)


@monitor.command()
@click.option("--notify", is_flag=True, help="Tell the webhook of what has changed since the last time.")
@_json
def check(*, notify: bool, as_json: bool) -> None:
    """Say with the exit status whether the model that answers is still to be believed.

    0: no drift, and nothing known against its performance. 1: an alarm, because it drifts or has performed worse than
    its manifest promises. 2: it cannot be told, with too few predictions or without the database, or the webhook did
    not confirm.
    """

    async def work(container: Container) -> tuple[Check, str | None]:
        checked = await container.check_model()()
        try:
            if notify:
                await container.raise_alerts()(checked.findings)
        except NotDelivered as error:
            return checked, str(error)
        return checked, None

    try:
        checked, undelivered = run(work)
    except click.ClickException as error:
        error.show()
        sys.exit(_UNKNOWN)
    if as_json:
        _print_json(checked)
    else:
        for finding in checked.findings:
            told = f"  ({', '.join(finding.reasons)})" if finding.reasons else ""
            click.echo(f"{finding.subject.value:<12} {finding.state.value}{told}")
    if undelivered is not None:
        click.echo(f"Error: {undelivered}", err=True)
    states = {finding.subject: finding.state for finding in checked.findings}
    if State.ALARM in states.values():
        sys.exit(_ALARM)
    # Outcomes are not known for as long as the horizon: that is no reason to wake anybody.
    if states[Subject.DRIFT] is State.UNKNOWN or undelivered is not None:
        sys.exit(_UNKNOWN)


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


def show_drift(report: DriftReport) -> None:
    """Print a drift report as a table."""
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


def show_performance(report: PerformanceReport) -> None:
    """Print a performance report as a table."""
    click.echo(f"predictions from {report.since} to before {report.until}, as known on {report.as_of}")
    click.echo(f"a person who leaves within {report.horizon_months} months has left")
    seen = report.observed_until
    click.echo(f"somebody was observed to be still there until {seen}\n" if seen else "nobody was observed to stay\n")
    head = f"{'month':<9}{'predicted':>10}{'pending':>9}{'censored':>9}{'left':>6}{'expected':>9}"
    figures = f"{'ROC AUC':>22}{'precision':>22}{'recall':>22}{'Brier':>22}"
    for total in report.versions:
        click.echo(f"model {total.model_version}\n{head}{figures}")
        for one in (*(month for month in report.months if month.model_version == total.model_version), total):
            _show_month(one)
        if total.realised is not None:
            click.echo(f"\n{'risk':<9}{'predicted':>10}{'expected':>9}{'left':>6}{'share, 95 %':>22}")
            for band in total.realised.bands:
                expected = f"{band.predicted * band.predictions:.1f}"
                click.echo(
                    f"{band.risk.value:<9}{band.predictions:>10}{expected:>9}{band.left:>6}{_interval(band.observed)}"
                )
        click.echo("")
    click.echo(f"~ estimated, for as long as outcomes are not known. {ASSUMPTION[Language.EN]}")


def _show_month(one: Performance) -> None:
    name = "all" if one.month is None else f"{one.month:%Y-%m}"
    realised, estimated = one.realised, one.estimated
    left = "-" if realised is None else str(realised.left)
    expected = "-" if realised is None else f"{realised.expected:.1f}"
    line = f"{name:<9}{one.predictions:>10}{one.pending:>9}{one.censored:>9}{left:>6}{expected:>9}"
    for figure in ("roc_auc", "precision", "recall", "brier"):
        line += _interval(getattr(estimated if realised is None else realised, figure), mark=realised is None)
    click.echo(line)


def _interval(interval: Interval | None, *, mark: bool = False) -> str:
    if interval is None:
        return f"{'-':>22}"
    text = f"{'~' if mark else ''}{interval.estimate:.3f} ({interval.low:.3f}-{interval.high:.3f})"
    return f"{text:>22}"
