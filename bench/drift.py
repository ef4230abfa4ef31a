"""How often the drift rule is wrong: `python -m bench.drift`.

The population is the public IBM HR data. Each run draws a reference of 1,470 employees from it, as training did, and
a window, both with replacement; so the chance in the reference counts too. A shift is made in the window, which the
shipped model then scores. "Found" means that the shifted feature itself is said to drift.
"""

import argparse
import asyncio
from collections.abc import Callable
from datetime import date

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.domain.drift import DriftReport, DriftRule, Verdict, report_drift
from churn.domain.employee import FEATURES
from churn.domain.manifest import Manifest
from churn.domain.traffic import Binning
from churn.ports import Predictor
from churn.settings import Settings
from churn.training.data import public_data
from churn.training.train import histogram

type Matrix = NDArray[np.float64]

DAY = date(2026, 1, 1)
AGE, INCOME, OVERTIME = FEATURES.index("age"), FEATURES.index("revenu_mensuel"), FEATURES.index("heures_supp")


def nothing(_: Matrix, __: np.random.Generator) -> None:
    pass


def income(window: Matrix, _: np.random.Generator) -> None:
    window[:, INCOME] *= 1.25


def overtime(window: Matrix, rng: np.random.Generator) -> None:
    """From 28.3 % to 40 %: so many of those who had none now have some."""
    share = 416 / 1470
    window[:, OVERTIME] = np.maximum(window[:, OVERTIME], rng.random(len(window)) < (0.4 - share) / (1 - share))


def age(window: Matrix, _: np.random.Generator) -> None:
    window[:, AGE] = np.maximum(window[:, AGE] - 5, 18)


#: Shift, the feature it shifts, window size, and the least or (without a feature) the largest share demanded.
SCENARIOS: tuple[tuple[str, Callable[[Matrix, np.random.Generator], None], str | None, int, float], ...] = (
    ("no drift", nothing, None, 100, 0.05),
    ("no drift", nothing, None, 300, 0.05),
    ("no drift", nothing, None, 735, 0.05),
    ("income +25 %", income, "revenu_mensuel", 735, 0.98),
    ("income +25 %", income, "revenu_mensuel", 300, 0.95),
    ("overtime 28 → 40 %", overtime, "heures_supp", 735, 0.90),
    ("overtime 28 → 40 %", overtime, "heures_supp", 300, 0.75),
    ("age −5 years", age, "age", 735, 0.98),
    ("age −5 years", age, "age", 300, 0.95),
)


def referred(manifest: Manifest, predictor: Predictor, employees: Matrix) -> Manifest:
    """`manifest` as if the model had been trained on `employees`."""
    return replace(
        manifest,
        features=tuple(
            replace(feature, low=float(column.min()), high=float(column.max()), histogram=histogram(column))
            for feature, column in zip(manifest.features, employees.T, strict=True)
        ),
        score_histogram=histogram(predictor.predict_matrix(employees).probability),
    )


def simulate(
    model: tuple[Manifest, Predictor],
    population: Matrix,
    n: int,
    shift: Callable[[Matrix, np.random.Generator], None],
    rng: np.random.Generator,
) -> DriftReport:
    manifest, predictor = model
    reference = referred(manifest, predictor, rng.choice(population, size=len(population)))
    window = rng.choice(population, size=n)
    shift(window, rng)
    scored = np.column_stack([window, predictor.predict_matrix(window).probability])
    counts = Binning(reference).count(scored, without_reference=0)
    return report_drift(reference, {DAY: counts}, since=DAY, until=DAY, rule=DriftRule())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    catalogue = JoblibModelCatalogue(Settings().models_dir, default="", trusted="")

    async def load() -> tuple[Manifest, Predictor]:
        version = await catalogue.default()
        return await catalogue.manifest(version), await catalogue.load(version)

    model = asyncio.run(load())
    population = public_data().features
    print(f"{arguments.runs} runs each, seed {arguments.seed}; ± is the half width of a 95 % interval\n")
    print("shift                 window  alarm of                 share of runs   demanded   PSI > 0.1 would say")
    for name, shift, feature, n, demanded in SCENARIOS:
        rng = np.random.default_rng(arguments.seed)
        found = by_psi = 0
        for _ in range(arguments.runs):
            report = simulate(model, population, n, shift, rng)
            columns = [
                column for column in (*report.features, report.score) if feature is None or column.name == feature
            ]
            found += any(column.verdict is Verdict.DRIFT for column in columns)
            by_psi += any((column.psi or 0.0) > 0.1 for column in columns)
        share, psi = found / arguments.runs, by_psi / arguments.runs
        margin = 1.96 * (share * (1 - share) / arguments.runs) ** 0.5
        sign, met = ("≤", share <= demanded) if feature is None else ("≥", share >= demanded)
        print(
            f"{name:<20}  {n:>6}  {feature or 'any column':<22}  {share:>7.1%} ± {margin:.1%}"
            f"   {sign} {demanded:.0%} {'' if met else 'MISSED'}  {psi:>8.1%}"
        )


if __name__ == "__main__":
    main()
