"""`churn train`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from churn.cli.database import settings_or_exit
from churn.domain.errors import ChurnError


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or Parquet file; the public IBM HR data without it.",
)
@click.option("--target", help="Column that says who left.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the models.")
@click.option(
    "--objective",
    default="f1",
    show_default=True,
    help="What the threshold is chosen for: f1, recall-at-precision=0.5 or cost=9:1 (a leaver missed : a false alarm).",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of all chance.")
def train(data: Path | None, target: str | None, out: Path | None, objective: str, seed: int) -> None:
    """Train a model, evaluate it and make it the one that is served by default."""
    try:
        from churn.training.data import public_data, read_file  # noqa: PLC0415
        from churn.training.evaluation import Plan  # noqa: PLC0415
        from churn.training.train import train as run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        # Serving does without the trainer, so it is not installed everywhere.
        raise click.ClickException(f"{error.name} is missing: install churn[train]") from error

    models_dir = out or Path(settings_or_exit().models_dir)
    try:
        employees = public_data() if data is None else read_file(data, target=target)
        click.echo(f"{employees.name}: {len(employees.left)} employees, {employees.left.sum()} left", err=True)
        manifest = run(
            employees,
            models_dir=models_dir,
            now=datetime.now(UTC),
            objective=objective,
            plan=Plan(seed=seed),
            progress=_show,
        )
    except ChurnError as error:
        raise click.ClickException(str(error)) from error
    click.echo(models_dir / manifest.version)


def _show(stage: str, done: int, total: int) -> None:
    click.echo(f"\r{stage}: fold {done} of {total}", nl=done == total, err=True)
