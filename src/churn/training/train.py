"""From checked data to a new version in the models folder."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.adapters.joblib_model.bundle import dump_model, write_bundle
from churn.domain.employee import DEMONSTRATION, FEATURES
from churn.domain.errors import ChurnError
from churn.domain.manifest import (
    Data,
    Effect,
    Evaluation,
    Feature,
    Golden,
    Histogram,
    Interval,
    Manifest,
    Metrics,
    Recipe,
)
from churn.training.card import FORBIDDEN_USE, INTENDED_USE, limits, render_documents
from churn.training.data import TrainingData
from churn.training.estimator import BASELINES, GLASS_BOX, MONOTONE, compile_tables, fit
from churn.training.evaluation import (
    Plan,
    cross_validate,
    decide,
    gain,
    importances,
    measure,
    out_of_fold,
    reliability,
)
from churn.training.fairness import examine

#: Whose versions the manifest names beside Python's; `load_bundle` asks for that of scikit-learn.
LIBRARIES: Final = ("scikit-learn", "numpy", "joblib", "interpret-core")
#: Bins of the reference histograms: ten are usual for the population stability index.
HISTOGRAM_BINS: Final = 10


class NotMonotone(ChurnError):
    """The trained model breaks a direction that its manifest would declare."""


def train(
    data: TrainingData,
    *,
    models_dir: Path,
    now: datetime,
    objective: str = "f1",
    plan: Plan | None = None,
    recipe: Recipe = GLASS_BOX,
    baselines: Mapping[str, Recipe] | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Manifest:
    """Fit, evaluate and write a new version, and make it the default.

    Equal data, plan and objective give equal numbers, whatever the time and the number of cores.

    Args:
        data: whom to learn from.
        models_dir: folder of the bundles.
        now: the moment, in UTC; the version's name starts with it.
        objective: what the threshold is chosen for, see `choose_threshold`.
        plan: how to cross-validate.
        recipe: of the glass box; its seed is that of the plan.
        baselines: recipes to compare with, by name; `BASELINES` when None.
        progress: called with the name of a recipe, the folds done and the folds of all recipes.

    Raises:
        InvalidObjective: there is no such objective.
        NotMonotone: the model breaks a declared direction.
        FileExistsError: the version exists.
    """
    plan = plan or Plan()
    recipe = replace(recipe, seed=plan.seed)
    rivals = BASELINES if baselines is None else baselines
    done = 0
    total = (1 + sum(rival != recipe for rival in rivals.values())) * plan.folds * plan.repeats

    def step(name: str) -> None:
        nonlocal done
        done += 1
        progress(name, done, total)

    folds = cross_validate(recipe, data, plan, objective=objective, progress=partial(step, "model"))
    evaluated: list[Metrics] = []
    for name, rival in rivals.items():
        # The model's own recipe, as that of the active model often is, would give the same folds again.
        others = folds if rival == recipe else cross_validate(rival, data, plan, progress=partial(step, name))
        evaluated.append(replace(measure(name, others, data.left), roc_auc_gain=gain(folds, others, data.left)))
    unseen = out_of_fold(folds, len(data.left))
    decision = decide(folds, data.left, objective)
    model = compile_tables(fit(recipe, data.features, data.left))
    check_monotone(model)
    content = dump_model(model)
    numbers = model.numbers_sha256()
    manifest = Manifest(
        version=f"{now:%Y%m%d-%H%M%S}-{numbers[:8]}",
        created_at=now.replace(microsecond=0),
        estimator=type(model).__name__,
        model_sha256=hashlib.sha256(content).hexdigest(),
        numbers_sha256=numbers,
        libraries={"python": python_version(), **{name: installed_version(name) for name in LIBRARIES}},
        recipe=recipe,
        data=Data(
            name=data.name,
            source=data.source,
            licence=data.licence,
            sha256=data.sha256,
            rows=len(data.left),
            leavers=int(data.left.sum()),
        ),
        features=_features(data, model, importances(folds, len(data.left))),
        base_rate=float(data.left.mean()),
        intercept=model.intercept,
        decision=decision,
        evaluation=Evaluation(
            folds=plan.folds,
            repeats=plan.repeats,
            model=measure("model", folds, data.left),
            baselines=tuple(evaluated),
        ),
        # One repetition: each probability is that of a single model, as in service.
        reliability=reliability(data.left, unseen[0]),
        score_histogram=histogram(unseen[0]),
        fairness=examine(data, unseen, decision.threshold, plan.seed),
        intended_use=INTENDED_USE,
        forbidden_use=FORBIDDEN_USE,
        limits=limits(data),
        golden=_golden(data, model),
    )
    write_bundle(models_dir, manifest, model=content, documents=render_documents(manifest), activate=True)
    return manifest


def check_monotone(model: AdditiveClassifier) -> None:
    """Make sure that `model` keeps the directions of `MONOTONE` over the whole range of every feature.

    Raises:
        NotMonotone: naming the features that do not.
    """
    broken = [
        name
        for name, scores in zip(FEATURES, model.scores, strict=True)
        if name in MONOTONE and np.any(np.diff(scores) * MONOTONE[name] < 0)
    ]
    if broken:
        raise NotMonotone(f"the model does not keep its declared direction in {', '.join(broken)}")


def histogram(values: NDArray[np.float64]) -> Histogram:
    """How `values`, shape (n,), are spread over at most `HISTOGRAM_BINS` bins of about equal size."""
    quantiles = np.quantile(values, np.linspace(0, 1, HISTOGRAM_BINS + 1)[1:-1], method="higher")
    # An edge at the smallest value would leave the first bin empty, which the drift measures cannot use.
    edges = np.unique(quantiles[quantiles > values.min()])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _features(data: TrainingData, model: AdditiveClassifier, importance: list[Interval]) -> tuple[Feature, ...]:
    kinds: dict[str, Literal["number", "boolean"]] = {
        "revenu_mensuel": "number",
        "distance_domicile_travail": "number",
        "exp_totale": "number",
        "heures_supp": "boolean",
    }
    directions: dict[int, Literal[-1, 0, 1]] = {-1: -1, 0: 0, 1: 1}
    return tuple(
        Feature(
            name=name,
            kind=kinds.get(name, "integer"),
            low=float(column.min()),
            high=float(column.max()),
            monotone=directions[MONOTONE.get(name, 0)],
            histogram=histogram(column),
            effect=Effect(tuple(cuts.tolist()), tuple(scores.tolist())),
            importance=fall,
        )
        for name, column, cuts, scores, fall in zip(
            FEATURES, data.features.T, model.cuts, model.scores, importance, strict=True
        )
    )


def _golden(data: TrainingData, model: AdditiveClassifier) -> Golden:
    # The running example, both ends of every range and the middle: between them they touch every table.
    rows = np.vstack(
        [
            DEMONSTRATION.features(),
            data.features.min(axis=0),
            data.features.max(axis=0),
            np.median(data.features, axis=0),
        ]
    )
    return Golden(tuple(tuple(row) for row in rows.tolist()), tuple(model.predict_proba(rows)[:, 1].tolist()))
