"""Makes domain objects for tests: every argument has a value that is fine, and a test names what matters to it."""

import hashlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import uuid_utils.compat

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.adapters.joblib_model.bundle import active_version, dump_model, load_bundle, trusted_manifests, write_bundle
from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.manifest import Golden
from churn.domain.prediction import RISKS, Prediction, Risk, Score
from churn.domain.predictions import Employees, Predictions, ScoreMatrix
from churn.http.predictions import EXAMPLE
from churn.ports import HistoryRepository

#: The employee of the README, on the wire.
LEAVER: dict[str, Any] = dict(EXAMPLE)


def employee(**changes: Any) -> Employee:
    values: dict[str, Any] = {
        "age": 41,
        "monthly_income": 5993.0,
        "commute_distance": 1.5,
        "environment_satisfaction": 2,
        "overtime": Overtime.YES,
        "years_since_promotion": 0,
        "work_life_balance": 1,
        "stock_option_level": 0,
        "years_in_role": 4,
        "years_at_company": 6,
        "total_working_years": 8.5,
    }
    return Employee(**values | changes)


def prediction(**changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "id": uuid_utils.compat.uuid7(),
        "created_at": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC),
        "account": "anne",
        "model_version": "2026-01-01-abc",
        "threshold": 0.3,
        "intercept": -1.7,
        "risk": Risk.HIGH,
        "employee": employee(),
        "score": Score(0.8125, tuple(0.1 * n - 0.37 for n in range(len(FEATURES))), (1, 10)),
    }
    return Prediction(**values | changes)


def in_columns(*predictions: Prediction) -> list[Predictions]:
    """The same, in columns: each alone, unless it has everything in common with the one before that a column has."""

    def common(item: Prediction) -> tuple[object, ...]:
        described = item.score.contributions is not None
        return item.created_at, item.account, item.model_version, item.threshold, item.intercept, described

    blocks = []
    for (created_at, account, version, threshold, intercept, described), group in groupby(predictions, common):
        items = list(group)
        blocks.append(
            Predictions(
                ids=np.frombuffer(b"".join(item.id.bytes for item in items), np.uint8).reshape(-1, 16),
                created_at=created_at,
                account=account,
                model_version=version,
                threshold=threshold,
                intercept=intercept,
                risk=np.array([RISKS.index(item.risk) for item in items], np.int8),
                employees=Employees.of([item.employee for item in items]),
                scores=ScoreMatrix(
                    np.array([item.score.probability for item in items]),
                    np.array([item.score.contributions for item in items]) if described else None,
                    np.array([[n in item.score.out_of_range for n in range(len(FEATURES))] for item in items]),
                ),
            )
        )
    return blocks


async def stored_together(history: HistoryRepository, *predictions: Prediction, run_id: UUID | None = None) -> bool:
    """`append_many` of `predictions`."""

    async def blocks() -> AsyncIterator[Predictions]:
        for block in in_columns(*predictions):
            yield block

    return await history.append_many(blocks(), run_id=run_id)


def add_version(models: Path, version: str, *, shift: float = 0.0, **changes: Any) -> None:
    """Write a bundle beside the default one of `models`: the same tables, every log-odds moved by `shift`."""
    default = load_bundle(models, active_version(models), trusted=trusted_manifests(models))
    tables: AdditiveClassifier = default.estimator
    estimator = AdditiveClassifier(tables.cuts, tables.scores, tables.intercept + shift)
    model = dump_model(estimator)
    rows = default.manifest.golden.rows
    values: dict[str, Any] = {
        "version": version,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "numbers_sha256": estimator.numbers_sha256(),
        "intercept": estimator.intercept,
        "golden": Golden(rows, tuple(estimator.predict_proba(np.array(rows))[:, 1].tolist())),
    }
    manifest = msgspec.structs.replace(default.manifest, **values | changes)
    write_bundle(models, manifest, model=model, documents={}, activate=False)


def dask_cluster(workers: int, *, processes: bool = True) -> Any:
    """A Dask cluster on this machine, with one thread for each worker."""
    from distributed import LocalCluster  # noqa: PLC0415  # takes a while, for a few tests

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )
