"""Every setting, and the only place that reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

PREFIX: Final = "CHURN_"


def _packaged(name: str) -> str:
    """The folder `name` that ships with churn: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    inside = package / name
    return str(inside if inside.is_dir() else package.parents[1] / name)


class SettingsError(Exception):
    """An environment variable is unknown or has a value that cannot be used; the message names each."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can set.

    Each field is read from `CHURN_<FIELD>`, or from the file that `CHURN_<FIELD>_FILE` names.
    """

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 8000
    workers: Annotated[int, Meta(ge=1, le=64, description="Server processes; `churn serve --workers` wins.")] = 1
    database_url: Annotated[
        str,
        Meta(description="`postgresql+asyncpg://…`; without it an embedded PostgreSQL runs in the data folder."),
    ] = ""
    data_dir: Annotated[str, Meta(description="Folder of the embedded PostgreSQL.")] = ".churn"
    admin_username: Annotated[str, Meta(description="Account created at the first start.")] = "admin"
    admin_password: Annotated[
        str, Meta(description="Its password, 12 to 256 characters; generated and printed once when empty.")
    ] = ""
    models_dir: Annotated[str, Meta(description="Folder of the model bundles.")] = msgspec.field(
        default_factory=lambda: _packaged("models")
    )
    model_version: Annotated[
        str,
        Meta(description="Bundle to serve until one is activated; the one that `models/ACTIVE` names when empty."),
    ] = ""
    migrations_dir: Annotated[str, Meta(description="Folder of the database migrations.")] = msgspec.field(
        default_factory=lambda: _packaged("migrations")
    )
    trusted_models: Annotated[
        str,
        Meta(description="SHA-256 of the manifests that may be loaded, comma-separated; `models/TRUSTED` when empty."),
    ] = ""
    pool_size: Annotated[int, Meta(ge=2, le=100, description="Database connections per process.")] = 5
    history_queue_size: Annotated[
        int, Meta(ge=1, le=100_000, description="Predictions waiting for their commit before new ones get a 503.")
    ] = 4096
    history_flush_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds that one commit may take before its requests get a 503.")
    ] = 5.0
    model_poll_interval: Annotated[
        float,
        Meta(gt=0, le=60, description="Seconds between two looks at which model is active, should no word of it come."),
    ] = 1.0
    shadow_queue_size: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Predictions waiting for the shadow model before new ones are left out."),
    ] = 16_384
    outcome_horizon: Annotated[
        int, Meta(ge=1, le=120, description="Months within which leaving counts as what a prediction spoke of.")
    ] = 12
    drift_distance: Annotated[
        float,
        Meta(gt=0, lt=1, description="Difference from the reference, from 0 to 1, from which a feature may drift."),
    ] = 0.08
    monitor_interval: Annotated[
        float,
        Meta(ge=0, le=604_800, description="Seconds between two checks of the model by each process; 0 makes none."),
    ] = 3600.0
    alert_webhook_url: Annotated[
        str, Meta(description="Where a change between well and alarm is told; `https://…`, or `http://` on loopback.")
    ] = ""
    alert_webhook_secret: Annotated[
        str, Meta(description="Key that signs it: 24 to 64 bytes in Base64, as in `whsec_…`.")
    ] = ""
    credential_ttl: Annotated[
        float,
        Meta(ge=0, le=3600, description="Seconds before a verified password is verified again; 0 remembers none."),
    ] = 60.0
    hash_concurrency: Annotated[
        int,
        Meta(
            ge=1, le=64, description="Password verifications at once; each takes 64 MiB, all of them half of the cores."
        ),
    ] = 2
    hash_queue_size: Annotated[
        int, Meta(ge=0, le=10_000, description="Password verifications waiting before new ones get a 503.")
    ] = 64
    failed_logins_per_account: Annotated[
        int, Meta(ge=1, le=10_000, description="Failed sign-ins on one account per minute before 429.")
    ] = 10
    failed_logins_per_address: Annotated[
        int, Meta(ge=1, le=100_000, description="Failed sign-ins from one address per minute before 429.")
    ] = 30
    session_idle: Annotated[
        int, Meta(ge=60, le=604_800, description="Seconds without a request before the console signs out.")
    ] = 3600
    session_absolute: Annotated[
        int, Meta(ge=60, le=2_592_000, description="Seconds before the console signs out in any case.")
    ] = 43_200
    session_secure: Annotated[
        bool,
        Meta(
            description="Whether the console's cookie travels over HTTPS alone (and to `localhost`); "
            "`false` only for plain HTTP on a network that you trust."
        ),
    ] = True
    request_timeout: Annotated[
        float,
        Meta(gt=0, le=3600, description="Seconds that a request may take to arrive before its connection is closed."),
    ] = 60.0
    max_body_size: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest request body, in bytes, before 413.")
    ] = 1 << 20
    batch_max_rows: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Most employees in one request to `/predict/batch`, before 413.")
    ] = 10_000
    batch_max_body_size: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest body of a request to `/predict/batch`, in bytes.")
    ] = 10 << 20
    batch_concurrency: Annotated[
        int, Meta(ge=1, le=1000, description="Requests to `/predict/batch` at once per process before 503.")
    ] = 8
    idempotency_lifetime: Annotated[
        float, Meta(ge=1, le=2_592_000, description="Seconds that an `Idempotency-Key` is remembered.")
    ] = 86_400.0
    metrics_public: Annotated[bool, Meta(description="Whether `/metrics` answers without an account.")] = True
    forwarded_allow_ips: Annotated[
        str, Meta(description="Addresses or networks of proxies whose `X-Forwarded-For` is believed, comma-separated.")
    ] = "127.0.0.1"
    tracing: Annotated[
        bool,
        Meta(description="Whether traces are sent, as the variables `OTEL_…` say; needs the extra `churn[otel]`."),
    ] = False
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$", description="Least severe log line.")] = (
        "info"
    )
    shutdown_delay: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="Seconds between SIGTERM and the stop, in which `/readyz` is 503 and a proxy turns away.",
        ),
    ] = 0
    shutdown_timeout: Annotated[
        int, Meta(ge=1, le=300, description="Seconds that requests under way get to finish at a stop.")
    ] = 8


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environ`, by default the process's environment.

    Raises:
        SettingsError: naming every variable that is unknown or cannot be used, without its value.
    """
    environ = os.environ if environ is None else environ
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    problems: list[str] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX).lower()
        text = environ[variable]
        if name not in fields and name.endswith("_file"):
            name = name.removesuffix("_file")
            try:
                text = Path(text).read_text(encoding="utf-8").rstrip("\r\n") if name in fields else ""
            except (OSError, ValueError):
                problems.append(f"{variable}: the file it names cannot be read")
                continue
        if name not in fields:
            problems.append(f"{variable}: there is no such setting")
            continue
        if name in values:
            problems.append(f"{variable}: {PREFIX}{name.upper()} is set as well")
            continue
        try:
            values[name] = msgspec.convert(text, fields[name].type, strict=False)
        except msgspec.ValidationError as error:
            # The message of msgspec names the bound or the type, never the value.
            problems.append(f"{variable}: {str(error).lower()}")
    if problems:
        raise SettingsError("; ".join(problems))
    return msgspec.convert(values, Settings, strict=False)
