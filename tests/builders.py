"""Makes domain objects for tests: every argument has a value that is fine, and a test names what matters to it."""

from datetime import UTC, datetime
from typing import Any

import uuid_utils.compat

from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.prediction import Prediction, Risk, Score

#: The employee of the README, on the wire.
LEAVER: dict[str, Any] = {
    "age": 18,
    "revenu_mensuel": 1500,
    "distance_domicile_travail": 100,
    "satisfaction_environnement": 1,
    "heures_supp": "Oui",
    "annees_promo": 0,
    "satisfaction_equilibre": 1,
    "pee": 0,
    "poste_actuel": 2,
    "anciennete": 3,
    "exp_totale": 5,
}


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
