"""The settings: from the environment, checked at once, documented in the README."""

import re
from pathlib import Path

import msgspec
import pytest

from churn.settings import Settings, SettingsError, read_settings


def test_default_when_nothing_is_set() -> None:
    """An empty environment gives the defaults."""
    assert read_settings({}) == Settings()


def test_are_converted_and_bounded() -> None:
    """A value becomes its field's type; other variables are none of our business."""
    settings = read_settings({"CHURN_PORT": "7860", "CHURN_METRICS_PUBLIC": "false", "PATH": "/bin"})
    assert (settings.port, settings.metrics_public) == (7860, False)


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    """`CHURN_X_FILE` names a file whose content is the value, without the newline at its end."""
    secret = tmp_path / "secret"
    secret.write_text("a long enough password\n")
    assert read_settings({"CHURN_ADMIN_PASSWORD_FILE": str(secret)}).admin_password == "a long enough password"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"CHURN_PORT": "0"}, "CHURN_PORT"),
        ({"CHURN_PORT": "eighty"}, "CHURN_PORT"),
        ({"CHURN_PROT": "80"}, "CHURN_PROT"),
        ({"CHURN_ADMIN_PASSWORD_FILE": "/nowhere"}, "CHURN_ADMIN_PASSWORD_FILE"),
        ({"CHURN_HOST": "a", "CHURN_HOST_FILE": "/dev/null"}, "CHURN_HOST"),
        ({"CHURN_LOG_LEVEL": "loud"}, "CHURN_LOG_LEVEL"),
    ],
)
def test_a_mistake_is_named(environ: dict[str, str], named: str) -> None:
    """A variable that is unknown or unusable is named."""
    with pytest.raises(SettingsError, match=named):
        read_settings(environ)


def test_every_mistake_is_named_and_no_value_is() -> None:
    """All mistakes are told at once, and a value, which may be a secret, never is."""
    with pytest.raises(SettingsError) as caught:
        read_settings({"CHURN_PORT": "hunter2", "CHURN_WORKERS": "hunter2", "CHURN_FOO": "hunter2"})
    message = str(caught.value)
    assert all(name in message for name in ("CHURN_PORT", "CHURN_WORKERS", "CHURN_FOO"))
    assert "hunter2" not in message


def test_the_readme_lists_every_setting() -> None:
    """The README's table has a row for every setting, with its default and its description, and none else."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(CHURN_[A-Z_]+)` \| (.+) \|$", readme, re.MULTILINE))
    packaged = {"models_dir": "models", "migrations_dir": "migrations"}
    expected = {}
    for field in msgspec.structs.fields(Settings):
        default = packaged.get(field.name, field.default)
        spelled = str(default).lower() if isinstance(default, bool) else str(default)
        shown = f"`{spelled}`" if spelled else ""
        expected[f"CHURN_{field.name.upper()}"] = (
            f"{shown} | {msgspec.inspect.type_info(field.type).extra_json_schema['description']}"
        )
    assert rows == expected
