"""The command line: what it offers, and how it refuses. Nothing here starts a service."""

import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from churn.cli import main


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group below `command`, as words."""
    found = [path]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            found += commands(inner, (*path, name))
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `churn` with words and settings, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **settings: str) -> Result:
        environ = {f"CHURN_{name.upper()}": value for name, value in settings.items()}
        return CliRunner().invoke(main, words, env=environ)

    return run


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_every_command_explains_itself(run, words: tuple[str, ...]) -> None:
    """`--help` of every command says what it does and describes each of its options."""
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_what_needs_no_model_does_not_wait_for_scikit_learn() -> None:
    """A command that loads no model, such as `--help`, does not import scikit-learn, which takes most of a second."""
    program = "import sys, churn.cli; print('sklearn' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_tells_its_version(run) -> None:
    """`--version` names the version of the installed package."""
    result = run("--version")
    assert result.exit_code == 0
    assert version("churn") in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fly",), "No such command 'fly'"),
        (("serve", "--port", "0"), "0 is not in the range 1<=x<=65535"),
        (("serve", "--port", "eighty"), "'eighty' is not a valid integer range"),
        (("serve", "--workers", "0"), "0 is not in the range 1<=x<=64"),
        (("serve", "--reload"), "No such option"),
        (("serve", "now"), "unexpected extra argument"),
        (("migrate", "--downgrade"), "requires an argument"),
        (("users", "add"), "Missing argument 'USERNAME'"),
        (("users", "add", "anne", "--role", "king"), "'king' is not one of"),
        (("train", "--data", "/nowhere.csv"), "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_on_the_command_line_is_explained(run, words: tuple[str, ...], message: str) -> None:
    """A word that is not understood ends the command with 2 and a message, before anything is started."""
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"log_level": "loud"}, "CHURN_LOG_LEVEL"),
        ({"pool_sise": "5"}, "CHURN_POOL_SISE"),
        ({"port": "x"}, "CHURN_PORT"),
    ],
)
def test_a_mistake_in_the_settings_is_named(run, command: str, settings: dict[str, str], name: str) -> None:
    """A setting that is unknown or cannot be used is named, before anything is started."""
    result = run(command, **settings)
    assert result.exit_code == 2
    assert name in result.output


def test_a_data_folder_that_cannot_be_is_named(run) -> None:
    """Where the embedded database cannot keep its data, the message says so and which settings help."""
    result = run("migrate", data_dir="/dev/null/data")
    assert result.exit_code == 1
    assert "/dev/null/data" in result.output
    assert "CHURN_DATA_DIR" in result.output
    assert "CHURN_DATABASE_URL" in result.output


def test_a_database_that_does_not_answer_is_told(run) -> None:
    """Without its database a command ends with a message, and not with a traceback."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        result = run("migrate", database_url=f"postgresql+asyncpg://x@127.0.0.1:{closed.getsockname()[1]}/x")
    assert result.exit_code == 1
    assert result.output == "Error: the database does not answer\n"
