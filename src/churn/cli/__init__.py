"""The command `churn`."""

from importlib import import_module
from typing import Final, cast, override

import click

#: Each is a module beside this one, with a command of its name.
_COMMANDS: Final = (
    "audit",
    "employees",
    "history",
    "migrate",
    "models",
    "monitor",
    "score",
    "serve",
    "train",
    "users",
)


class _ImportedWhenAskedFor(click.Group):
    """Of all that the commands import, which takes half a second, each waits only for its own."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return cast("click.Command", getattr(import_module(f"churn.cli.{cmd_name}"), cmd_name))


@click.group(
    cls=_ImportedWhenAskedFor, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="churn")
def main() -> None:
    """Predict employee turnover, say why, and remember every prediction.

    Settings come from the environment, as CHURN_*; the README lists them all.
    """
