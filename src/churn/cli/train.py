"""`churn train`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from churn.cli.database import settings_or_exit
from churn.domain.errors import ChurnError, ModelUnavailable


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or Parquet file, with the wire names or those of the IBM HR data; that public data without it.",
)
@click.option("--target", help="Column that says who left.  [default: a_quitte_l_entreprise or Attrition]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the models.")
@click.option(
    "--objective",
    default="f1",
    show_default=True,
    help="What the threshold is chosen for: f1, recall-at-precision=0.5 or cost=9:1 (a leaver missed : a false alarm).",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of all chance.")
@click.option("--folds", type=click.IntRange(2, 20), default=5, show_default=True, help="Folds of a cross-validation.")
@click.option("--repeats", type=click.IntRange(1, 100), default=10, show_default=True, help="Its repetitions.")
def train(
    *, data: Path | None, target: str | None, out: Path | None, objective: str, seed: int, folds: int, repeats: int
) -> None:
    """Train a model, evaluate it and make it the one that is served by default."""
    try:
        from churn.training.data import public_data, read_file  # noqa: PLC0415
        from churn.training.estimator import BASELINES, can_fit  # noqa: PLC0415
        from churn.training.evaluation import Plan, check_objective  # noqa: PLC0415
        from churn.training.train import train as run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        # Serving does without the trainer, so it is not installed everywhere.
        raise click.ClickException(f"{error.name} is missing: install churn[train]") from error
    from churn.adapters.joblib_model.bundle import active_version, read_manifest  # noqa: PLC0415

    models_dir = out or Path(settings_or_exit().models_dir)
    baselines = dict(BASELINES)
    try:
        active, _ = read_manifest(models_dir, active_version(models_dir))
        if can_fit(active.recipe):
            baselines["active model's recipe"] = active.recipe
    except ModelUnavailable:
        click.echo("no model is active yet: there is none to compare with", err=True)
    try:
        check_objective(objective)
        employees = read_file(data, target=target) if data else public_data()
        click.echo(f"{employees.name}: {len(employees.left)} employees, of whom {employees.left.sum()} left", err=True)
        with click.progressbar(length=1, label="Cross-validation", file=sys.stderr) as bar:

            def show(name: str, done: int, total: int) -> None:
                bar.label, bar.length = name, total
                bar.update(done - bar.pos)

            manifest = run(
                employees,
                models_dir=models_dir,
                now=datetime.now(UTC),
                objective=objective,
                plan=Plan(folds=folds, repeats=repeats, seed=seed),
                baselines=baselines,
                progress=show,
            )
    except ChurnError as error:
        raise click.ClickException(str(error)) from error
    click.echo(models_dir / manifest.version)
