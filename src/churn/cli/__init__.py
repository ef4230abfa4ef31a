"""The command `churn`."""

import click

from churn.cli.audit import audit
from churn.cli.employees import employees
from churn.cli.history import history
from churn.cli.migrate import migrate
from churn.cli.models import models
from churn.cli.monitor import monitor
from churn.cli.score import score
from churn.cli.serve import serve
from churn.cli.train import train
from churn.cli.users import users


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="churn")
def main() -> None:
    """Predict employee turnover, say why, and remember every prediction.

    Settings come from the environment, as CHURN_*; the README lists them all.
    """


main.add_command(audit)
main.add_command(employees)
main.add_command(history)
main.add_command(migrate)
main.add_command(models)
main.add_command(monitor)
main.add_command(score)
main.add_command(serve)
main.add_command(train)
main.add_command(users)
