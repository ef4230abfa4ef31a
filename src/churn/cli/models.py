"""`churn models`."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec

from churn.adapters.joblib_model.bundle import CARD
from churn.cli.database import settings_or_exit
from churn.cli.run import actor, run
from churn.container import Container
from churn.domain.activation import Activation, Reason
from churn.domain.errors import ModelUnavailable
from churn.domain.manifest import Interval, Manifest
from churn.use_cases.compare_models import Comparison


def _checked_reason(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return msgspec.convert(value, Reason) if value else value
    except msgspec.ValidationError:
        raise click.BadParameter("1 to 500 characters, on one line") from None


_reason = click.option("--reason", required=True, callback=_checked_reason, help="Why; kept in the log.")


@click.group()
def models() -> None:
    """Look at the versions of the model, and decide which of them serve.

    Works beside a running service: every process of it follows each decision within two seconds, and no request
    fails. Brings the database up to date first, as `churn serve` does.
    """


@models.command("list")
def list_() -> None:
    """Show every version, oldest first."""

    async def work(container: Container) -> tuple[list[Manifest], str | None, str | None]:
        decided = await container.registry().current()
        active = None if decided is None else decided.version
        if active is None:
            try:
                active = await container.catalogue().default()
            except ModelUnavailable:
                active = None
        return list(await container.catalogue().manifests()), active, None if decided is None else decided.shadow

    manifests, active, shadow = run(work)
    for manifest in manifests:
        role = {shadow: "shadow", active: "active"}.get(manifest.version, "")
        auc, loss = manifest.evaluation.model.roc_auc, manifest.evaluation.model.log_loss
        click.echo(
            f"{manifest.version:<32}  {role:<6}  {manifest.created_at:%Y-%m-%d}"
            f"  AUC {_interval(auc)}  log loss {_interval(loss)}  {manifest.data.name}"
        )


@models.command()
@click.argument("version")
def show(version: str) -> None:
    """Print the card of a version."""
    settings = settings_or_exit()
    # The manifest first: it makes sure that the version is one.
    run(lambda container: container.catalogue().manifest(version))
    try:
        click.echo((Path(settings.models_dir) / version / CARD).read_text(encoding="utf-8"), nl=False)
    except OSError as error:
        raise click.ClickException(f"model {version} has no {CARD}") from error


@models.command()
def log() -> None:
    """Show who has decided what, oldest first."""
    for entry in run(lambda container: container.registry().log()):
        click.echo(_told(entry))


@models.command()
@click.argument("a")
@click.argument("b")
def compare(a: str, b: str) -> None:
    """Put two versions side by side: as evaluated in training, and on real traffic."""
    _show_comparison(run(lambda container: container.compare_models()(a, b)))


@models.command()
@click.argument("version")
@_reason
def activate(version: str, reason: str) -> None:
    """Let a version answer."""
    _decide(lambda container, who: container.activate_model()(version, account=who, reason=reason))


@models.command()
@_reason
def rollback(reason: str) -> None:
    """Let the version answer that did before the last activation; again, the one before that."""
    _decide(lambda container, who: container.roll_back_model()(account=who, reason=reason))


@models.command()
@click.argument("version", required=False)
@click.option("--off", is_flag=True, help="End the shadow there is.")
@click.option("--reason", default="", callback=_checked_reason, help="Why; kept in the log.")
def shadow(version: str | None, reason: str, *, off: bool) -> None:
    """Let a version score the same requests as the active one, after the answer; `compare` tells how they agree."""
    if off == (version is not None):
        raise click.UsageError("name a version, or say --off")
    _decide(lambda container, who: container.shadow_model()(version, account=who, reason=reason))


def _decide(decision: Callable[[Container, str], Awaitable[Activation]]) -> None:
    click.echo(_told(run(lambda container: decision(container, actor()))))


def _told(entry: Activation) -> str:
    if entry.action == "shadow":
        done = "no shadow" if entry.shadow is None else f"shadow {entry.shadow}"
    else:
        done = f"{entry.action.replace('_', ' ')} {entry.previous or '-'} -> {entry.version}"
    line = f"{entry.number}  {entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.account}  {done}"
    return f"{line}  ({entry.reason})" if entry.reason else line


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _show_comparison(comparison: Comparison) -> None:
    click.echo(f"a  {comparison.a}\nb  {comparison.b}\n")
    for metric in comparison.metrics:
        click.echo(
            f"{metric.name:<18}  a {_interval(metric.a)}  b {_interval(metric.b)}  difference {metric.difference:+.3f}"
        )
    if not comparison.same_data:
        click.echo("\nEvaluated on different data: the figures say little about each other.")
    agreement = comparison.agreement
    if agreement.mean_absolute_difference is None or agreement.equal_classes is None:
        click.echo("\nNo request was scored by both: let one be the other's shadow for a while.")
        return
    correlation = "undefined" if agreement.correlation is None else f"{agreement.correlation:.4f}"
    click.echo(
        f"\n{agreement.n} requests scored by both: mean absolute difference"
        f" {agreement.mean_absolute_difference:.4f}, equal classes {agreement.equal_classes:.1%},"
        f" correlation {correlation}"
    )
