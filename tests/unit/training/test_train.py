"""From data to a version that serves, is described, and is what the manifest says."""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import churn.training.train
from churn.adapters.joblib_model.bundle import active_version, list_versions, read_manifest
from churn.adapters.joblib_model.predictor import load_predictor
from churn.cli.train import train as command
from churn.domain.employee import DEMONSTRATION
from churn.domain.manifest import Recipe
from churn.settings import read_settings
from churn.training.card import render_card, write_page
from churn.training.data import public_data
from churn.training.estimator import GLASS_BOX
from churn.training.evaluation import InvalidObjective, Plan
from churn.training.train import histogram, train

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
#: The glass box with a fraction of its rounds: what is tested here is the way, not the model.
LIGHT = Recipe(
    estimator=GLASS_BOX.estimator,
    parameters={**GLASS_BOX.parameters, "outer_bags": 2, "max_rounds": 100},
    seed=0,
)
QUICK = {"logistic": Recipe(estimator="LogisticRegression", parameters={"C": 1.0}, seed=0)}
light = partial(train, recipe=LIGHT, plan=Plan(folds=2, repeats=2, jobs=1), baselines=QUICK)


@pytest.fixture(scope="module")
def public():
    return public_data()


@pytest.fixture(scope="module")
def models(public, tmp_path_factory):
    """A folder with one version, trained lightly."""
    folder = tmp_path_factory.mktemp("models") / "new"
    light(public, models_dir=folder, now=NOW)
    return folder


@pytest.fixture(scope="module")
def manifest(models):
    return read_manifest(models, active_version(models))[0]


def test_what_was_trained_is_served(models, manifest, public):
    """The new version is active, loads, and scores its own data as its manifest says."""
    predictor = load_predictor(models)
    assert predictor.info.version == manifest.version
    assert manifest.version.startswith("20260102-030405-")
    assert manifest.version.endswith(manifest.numbers_sha256[:8])
    scores = predictor.predict_matrix(public.features)
    assert not scores.out_of_range.any()
    assert scores.probability.mean() == pytest.approx(public.left.mean(), abs=0.02)
    assert predictor.predict(DEMONSTRATION).probability == pytest.approx(manifest.golden.probabilities[0], abs=1e-12)


def test_the_same_data_give_the_same_numbers(models, manifest, public, tmp_path):
    """At another time and place, all but the name and the time is equal, figures included."""
    later = light(public, models_dir=tmp_path, now=NOW.replace(year=2027))
    assert later.numbers_sha256 == manifest.numbers_sha256
    assert later.version > manifest.version
    for field in ("decision", "evaluation", "features", "fairness", "reliability", "golden", "data", "score_histogram"):
        assert getattr(later, field) == getattr(manifest, field), field


def test_the_manifest_describes_the_data(manifest, public):
    """Rows, leavers, base rate, ranges and histograms are those of the data."""
    assert (manifest.data.rows, manifest.data.leavers) == (1470, 237)
    assert manifest.data.sha256 == public.sha256
    assert manifest.base_rate == pytest.approx(237 / 1470)
    for feature, column in zip(manifest.features, public.features.T, strict=True):
        assert (feature.low, feature.high) == (column.min(), column.max())
        assert sum(feature.histogram.counts) == 1470
        assert feature.histogram == histogram(column)
    assert sum(manifest.score_histogram.counts) == 1470
    assert {fairness.trait for fairness in manifest.fairness} == {"age band", "gender", "marital status"}


def test_a_histogram_counts_every_value_in_its_bin():
    """Values on an edge belong to the bin above it, and no bin is empty."""
    counted = histogram(np.array([1.0, 1, 1, 1, 2, 3, 3, 4, 4, 4]))
    assert counted.edges == (2.0, 3.0, 4.0)
    assert counted.counts == (4, 1, 2, 3)
    assert histogram(np.zeros(5)).counts == (5,)


def test_baselines_are_measured_on_the_same_folds(manifest):
    """Each baseline comes with the model's gain over it; the model itself has none."""
    assert [baseline.name for baseline in manifest.evaluation.baselines] == ["logistic"]
    assert manifest.evaluation.model.roc_auc_gain is None
    assert manifest.evaluation.baselines[0].roc_auc_gain is not None


def test_the_own_recipe_is_not_run_twice(public, tmp_path):
    """When the active model's recipe is the same, its figures are the model's own, at no cost."""
    steps = []
    result = light(
        public,
        models_dir=tmp_path,
        now=NOW,
        baselines={"active": LIGHT},
        progress=lambda name, done, total: steps.append((name, done, total)),
    )
    assert steps == [("model", done, 4) for done in (1, 2, 3, 4)]
    assert result.evaluation.baselines[0].roc_auc == result.evaluation.model.roc_auc
    assert result.evaluation.baselines[0].roc_auc_gain.estimate == 0


def test_a_failed_run_writes_nothing(public, tmp_path):
    """An objective that does not exist leaves the folder as it was."""
    with pytest.raises(InvalidObjective):
        light(public, models_dir=tmp_path, now=NOW, objective="luck")
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_the_manifest_says(models, manifest):
    """Data and licence, use, metrics, threshold, fairness, limits and every feature are in the card."""
    card = (models / manifest.version / "CARD.md").read_text()
    assert card == render_card(manifest)
    for text in (manifest.data.licence, manifest.data.sha256, *manifest.forbidden_use, *manifest.intended_use):
        assert text in card
    for text in (*manifest.limits, *(finding for trait in manifest.fairness for finding in trait.findings)):
        assert text in card
    assert f"**{manifest.decision.threshold:.3f}**" in card
    assert f"{manifest.evaluation.model.roc_auc.estimate:.3f}" in card
    assert all(f"`{feature.name}`" in card for feature in manifest.features)


def test_the_figures_are_drawn_from_the_effects(models, manifest):
    """Both figures are well-formed SVG, with one panel and one line per feature."""
    svg = "{http://www.w3.org/2000/svg}"
    effects = ET.fromstring((models / manifest.version / "effects.svg").read_text())
    assert len(effects.findall(f"{svg}g")) == len(manifest.features)
    assert len(effects.findall(f".//{svg}path[@class='line']")) == len(manifest.features)
    reliability = ET.fromstring((models / manifest.version / "reliability.svg").read_text())
    assert len(reliability.findall(f".//{svg}circle")) == len(manifest.reliability)


def test_the_page_of_the_documentation_is_that_of_the_active_model(tmp_path):
    """docs/model.md and its figures are what the card of the shipped version says."""
    shipped = Path(read_settings({}).models_dir)
    docs = shipped.parent / "docs"
    write_page(shipped, tmp_path)
    for path in [tmp_path / "model.md", *(tmp_path / "model").iterdir()]:
        assert path.read_bytes() == (docs / path.relative_to(tmp_path)).read_bytes(), path.name


def test_the_shipped_model_reaches_its_figures():
    """Cross-validated on the public data: ROC AUC, average precision, log loss and calibration as promised."""
    shipped = Path(read_settings({}).models_dir)
    evaluation = read_manifest(shipped, active_version(shipped))[0].evaluation
    assert (evaluation.repeats, evaluation.folds) == (10, 5)
    assert evaluation.model.roc_auc.estimate >= 0.80
    assert evaluation.model.average_precision.estimate >= 0.53
    assert evaluation.model.log_loss.estimate <= 0.352
    assert evaluation.model.ece.estimate <= 0.03
    assert len(evaluation.baselines) >= 3


class TestTheCommand:
    @pytest.fixture
    def run(self, monkeypatch, tmp_path):
        """The command, training lightly into a new folder."""
        quick = partial(train, recipe=LIGHT)
        monkeypatch.setattr(
            churn.training.train,
            "train",
            lambda data, **options: quick(
                data, **(options | {"plan": Plan(folds=2, repeats=1, jobs=1, seed=options["plan"].seed)})
            ),
        )
        return lambda *options: CliRunner().invoke(command, ["--out", str(tmp_path / "models"), *options])

    def test_it_trains_on_a_file(self, run, tmp_path, public):
        """The new version's folder is the only thing on stdout, and it is active; the next one is compared with it."""
        columns = dict(zip((feature.name for feature in read_shipped().features), public.features.T, strict=True))
        columns["heures_supp"] = np.where(columns["heures_supp"] == 1, "Oui", "Non")
        frame = pl.DataFrame(columns | {"Gone": public.left})
        frame.write_csv(tmp_path / "staff.csv")
        options = ("--data", str(tmp_path / "staff.csv"), "--target", "Gone", "--objective", "cost=9:1", "--seed", "3")
        result = run(*options)
        assert result.exit_code == 0, result.output
        folder = Path(result.stdout.strip())
        assert folder.parent == tmp_path / "models"
        assert active_version(tmp_path / "models") == folder.name
        manifest, _ = read_manifest(tmp_path / "models", folder.name)
        assert manifest.decision.objective == "cost=9:1"
        assert manifest.recipe.seed == 3
        assert manifest.data.name == "staff.csv"
        assert [each.name for each in manifest.evaluation.baselines] == [
            "logistic regression",
            "random forest",
            "gradient boosting",
        ]

    def test_it_names_every_mistake_and_writes_nothing(self, run, tmp_path):
        """Bad data end the command with all reasons."""
        (tmp_path / "staff.csv").write_text("age,Attrition\n12,Yes\n30,maybe\n")
        result = run("--data", str(tmp_path / "staff.csv"))
        assert result.exit_code == 1
        assert "row 1, age: expected `int` >= 18" in result.stderr
        assert "row 2, Attrition" in result.stderr
        assert "column pee or StockOptionLevel is missing" in result.stderr
        assert not (tmp_path / "models").exists()

    def test_it_refuses_an_unknown_objective_at_once(self, run, tmp_path):
        """A typo costs no training."""
        result = run("--objective", "luck")
        assert result.exit_code == 1
        assert "recall-at-precision" in result.stderr
        assert not (tmp_path / "models").exists()

    def test_it_says_what_is_missing_without_the_trainer(self, run, monkeypatch):
        """Where only serving is installed, the command names the extra to install."""
        monkeypatch.setitem(sys.modules, "churn.training.evaluation", None)
        result = run()
        assert result.exit_code == 1
        assert "churn[train]" in result.stderr


def read_shipped():
    """The manifest of the version that ships."""
    shipped = Path(read_settings({}).models_dir)
    assert list_versions(shipped)
    return read_manifest(shipped, active_version(shipped))[0]
