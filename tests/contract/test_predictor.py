"""What every predictor keeps, and what a bundle must be before it becomes one."""

import hashlib
import io
import math
import shutil
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.adapters.joblib_model.bundle import (
    active_version,
    dump_model,
    list_versions,
    load_bundle,
    read_manifest,
    trusted_manifests,
    write_bundle,
)
from churn.adapters.joblib_model.predictor import JoblibPredictor, load_predictor
from churn.adapters.memory import MemoryPredictor
from churn.domain.employee import DEMONSTRATION, FEATURES, Employee, Overtime
from churn.domain.errors import ModelUnavailable
from churn.domain.manifest import Golden, Manifest
from churn.domain.prediction import Risk
from churn.ports import Predictor
from churn.settings import read_settings

MODELS = Path(read_settings({}).models_dir)
FIELDS = [field for field in Employee.__struct_fields__ if field != "employee_ref"]


def employee(row) -> Employee:
    """The employee whose features are `row`."""
    values = dict(zip(FIELDS, row, strict=True))
    return Employee(**{**values, "overtime": Overtime.YES if values["overtime"] else Overtime.NO})


def rows(predictor: Predictor, count: int = 500) -> np.ndarray:
    """Random rows within and around the training ranges, and rows exactly on their edges."""
    low, high = np.array(predictor.info.ranges).T
    span = high - low
    random = np.random.default_rng(7).uniform(low - span / 4, high + span / 4, (count, len(FEATURES)))
    random[:, 4] = random[:, 4] > 0.5
    return np.vstack([np.maximum(np.round(random * 2) / 2, 0), low, high])


def arbitrary_pipeline(folder: Path) -> tuple[str, str]:
    """A bundle around a scikit-learn pipeline that churn knows nothing of: its version and manifest digest."""
    random = np.random.default_rng(0)
    manifest, _ = read_manifest(MODELS, active_version(MODELS))
    low, high = np.array(manifest.info().ranges).T
    features = random.uniform(low, high, (200, len(FEATURES)))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, random.integers(0, 2, 200))
    return bundle(folder, pipeline, version="pipeline")


def bundle(folder: Path, classifier, /, **changes) -> tuple[str, str]:
    """Write `classifier` as a bundle: its version and manifest digest."""
    manifest, _ = read_manifest(MODELS, active_version(MODELS))
    model = dump_model(classifier)
    probabilities = classifier.predict_proba(np.array(manifest.golden.rows[1:]))[:, 1]
    values = {
        "estimator": type(classifier).__name__,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "intercept": None,
        "golden": Golden(manifest.golden.rows[1:], tuple(probabilities.tolist())),
    }
    manifest = replace(manifest, **(values | changes))
    return manifest.version, write_bundle(folder, manifest, model=model, documents={}, activate=True)


@pytest.fixture(params=["memory", "tables", "pipeline"])
def predictor(request, tmp_path) -> Predictor:
    if request.param == "memory":
        return MemoryPredictor()
    if request.param == "tables":
        return load_predictor(MODELS)
    arbitrary_pipeline(tmp_path)
    return load_predictor(tmp_path)


class TestEveryPredictor:
    def test_it_fills_the_port(self, predictor):
        """The adapter is a Predictor, and its info is complete and plausible."""
        info = predictor.info
        assert isinstance(predictor, Predictor)
        assert info.version
        assert 0 < info.threshold < 1
        assert 0 < info.base_rate < 1
        assert len(info.ranges) == len(FEATURES)
        assert all(low < high for low, high in info.ranges)

    def test_a_batch_equals_singles_in_order(self, predictor):
        """Row i of a matrix is scored as the employee of row i: probability, contributions and range."""
        matrix = rows(predictor)
        scores = predictor.predict_matrix(matrix)
        assert scores.probability.shape == (len(matrix),)
        assert scores.out_of_range.shape == matrix.shape
        assert scores.out_of_range.any()
        for i, row in enumerate(matrix.tolist()):
            single = predictor.predict(employee(row))
            assert single.probability == pytest.approx(scores.probability[i], abs=1e-12, rel=0)
            assert single.out_of_range == tuple(np.flatnonzero(scores.out_of_range[i]))
            if single.contributions is None:
                assert scores.contributions is None
            else:
                assert single.contributions == pytest.approx(scores.contributions[i], abs=1e-12, rel=0)

    def test_order_is_kept(self, predictor):
        """Reversing the rows reverses the scores, and so does scoring more rows than fit one block."""
        matrix = np.tile(rows(predictor), (20, 1))
        there = predictor.predict_matrix(matrix).probability
        back = predictor.predict_matrix(matrix[::-1]).probability
        assert len(set(there.tolist())) > 100
        assert np.array_equal(there, back[::-1])

    def test_no_rows_give_no_scores(self, predictor):
        """An empty matrix is scored, to empty arrays."""
        scores = predictor.predict_matrix(np.empty((0, len(FEATURES))))
        assert scores.probability.shape == (0,)
        assert scores.out_of_range.shape == (0, len(FEATURES))

    def test_probabilities_are_probabilities(self, predictor):
        """Every probability lies in [0, 1], also for values far outside the training range."""
        matrix = np.vstack([rows(predictor), np.full(len(FEATURES), 1e9), np.full(len(FEATURES), -1e9)])
        probability = predictor.predict_matrix(matrix).probability
        assert np.all((probability >= 0) & (probability <= 1))

    def test_beyond_the_edge_counts_as_the_edge(self, predictor):
        """A value outside the training range scores as the nearest value inside, and is named."""
        low, high = np.array(predictor.info.ranges).T
        outside = predictor.predict_matrix(np.vstack([low - 1, high + 1]))
        inside = predictor.predict_matrix(np.vstack([low, high]))
        assert outside.probability == pytest.approx(inside.probability, abs=1e-12, rel=0)
        assert outside.out_of_range.all()
        assert not inside.out_of_range.any()

    def test_contributions_explain_the_probability(self, predictor):
        """Contributions are there exactly when the intercept is; together they give the logit within 1e-9."""
        for row in rows(predictor).tolist():
            score = predictor.predict(employee(row))
            assert (score.contributions is None) == (predictor.info.intercept is None)
            if score.contributions is not None:
                logit = math.log(score.probability / (1 - score.probability))
                assert predictor.info.intercept + sum(score.contributions) == pytest.approx(logit, abs=1e-9, rel=0)


def test_the_demonstration_profile_is_classed_as_leaving():
    """The model that ships gives the running example more than 0.8 and a high risk."""
    predictor = load_predictor(MODELS)
    score = predictor.predict(DEMONSTRATION)
    assert score.probability > 0.8
    assert predictor.info.risk(score.probability) is Risk.HIGH
    assert score.out_of_range == (FEATURES.index("distance_domicile_travail"),)


def test_the_golden_rows_keep_their_probabilities():
    """The model that ships gives the probabilities that its manifest promises, to the last digits."""
    manifest, _ = read_manifest(MODELS, active_version(MODELS))
    scores = load_predictor(MODELS).predict_matrix(np.array(manifest.golden.rows))
    assert scores.probability == pytest.approx(manifest.golden.probabilities, abs=1e-12, rel=0)


def test_the_shipped_directions_hold_over_the_whole_range():
    """No step of the shipped model goes against the direction that its manifest declares."""
    manifest, _ = read_manifest(MODELS, active_version(MODELS))
    declared = [feature for feature in manifest.features if feature.monotone]
    assert {feature.name for feature in declared} >= {"revenu_mensuel", "heures_supp"}
    for feature in declared:
        assert np.all(np.diff(feature.effect.scores) * feature.monotone >= 0), feature.name


def test_the_shipped_numbers_are_those_of_the_manifest():
    """The tables have the digest, and the effects, that the manifest gives."""
    version = active_version(MODELS)
    loaded = load_bundle(MODELS, version, trusted=trusted_manifests(MODELS))
    assert isinstance(loaded.estimator, AdditiveClassifier)
    assert loaded.estimator.numbers_sha256() == loaded.manifest.numbers_sha256
    for feature, cuts, scores in zip(
        loaded.manifest.features, loaded.estimator.cuts, loaded.estimator.scores, strict=True
    ):
        assert feature.effect.cuts == tuple(cuts)
        assert feature.effect.scores == tuple(scores)


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder of models that may be tampered with."""
    return shutil.copytree(MODELS, tmp_path / "models")


@pytest.fixture
def version(models) -> str:
    return active_version(models)


class TestABundleIsRefused:
    def test_when_its_model_was_changed(self, models, version):
        """One bit more in model.joblib, and it is never unpickled."""
        path = models / version / "model.joblib"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelUnavailable, match="not the file that its manifest describes"):
            load_predictor(models)

    def test_when_its_manifest_was_changed(self, models, version):
        """A manifest adapted to another model is no longer the trusted one."""
        path = models / version / "manifest.json"
        path.write_bytes(path.read_bytes().replace(b'"f1"', b'"f2"'))
        with pytest.raises(ModelUnavailable, match="not among the trusted"):
            load_predictor(models)

    def test_when_no_one_trusts_it(self, models, version):
        """Without its digest in TRUSTED, or with other digests configured, it is not loaded."""
        with pytest.raises(ModelUnavailable, match="not among the trusted"):
            load_predictor(models, trusted="0" * 64)
        (models / "TRUSTED").unlink()
        with pytest.raises(ModelUnavailable, match="not among the trusted"):
            load_predictor(models)

    def test_before_a_pickle_can_do_harm(self, models, tmp_path):
        """The pickle of an untrusted bundle does not run, even if its digest is right."""
        mark = tmp_path / "harm"

        class Harm:
            def __reduce__(self):
                return Path.touch, (mark,)

        buffer = io.BytesIO()
        joblib.dump(Harm(), buffer)
        manifest, _ = read_manifest(models, active_version(models))
        evil = replace(manifest, version="evil", model_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
        folder = models / "evil"
        folder.mkdir()
        (folder / "model.joblib").write_bytes(buffer.getvalue())
        (folder / "manifest.json").write_bytes(msgspec.json.encode(evil))
        with pytest.raises(ModelUnavailable, match="not among the trusted"):
            load_predictor(models, version="evil")
        assert not mark.exists()

    @pytest.mark.parametrize("name", ["model.joblib", "manifest.json"])
    def test_when_a_file_is_missing(self, models, version, name):
        """The message names the version and the file."""
        (models / version / name).unlink()
        with pytest.raises(ModelUnavailable, match=f"{version}: {name} cannot be read"):
            load_predictor(models)

    def test_when_none_is_active(self, tmp_path):
        """An empty folder has no model to serve."""
        with pytest.raises(ModelUnavailable, match="no model is active"):
            load_predictor(tmp_path)

    @pytest.mark.parametrize("name", ["../models", "", ".hidden", "a/b", "x\n"])
    def test_when_its_name_leads_elsewhere(self, models, name):
        """A version is the name of a folder, never a path."""
        with pytest.raises(ModelUnavailable, match="1 to 64 letters"):
            load_bundle(models, name, trusted=frozenset())

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format": 2}', b"[]"])
    def test_when_its_manifest_is_none(self, models, version, content):
        """A manifest that cannot be read, or is of a later format, says so."""
        (models / version / "manifest.json").write_bytes(content)
        with pytest.raises(ModelUnavailable, match="cannot be read by this release"):
            load_predictor(models)

    def test_when_it_lies_in_another_folder(self, models, version):
        """A version renamed is not another version."""
        (models / version).rename(models / "renamed")
        with pytest.raises(ModelUnavailable, match=f"its manifest is that of {version}"):
            load_predictor(models, version="renamed")

    @staticmethod
    def write(models: Path, **changes) -> None:
        tables = load_bundle(models, active_version(models), trusted=trusted_manifests(models)).estimator
        bundle(models, tables, version="other", **changes)

    def test_when_it_takes_other_features(self, models, version):
        """The features must be those of this release, in its order."""
        manifest: Manifest = read_manifest(models, version)[0]
        self.write(models, features=manifest.features[::-1])
        with pytest.raises(ModelUnavailable, match="other features"):
            load_predictor(models)

    @pytest.mark.parametrize(
        ("estimator", "library"),
        [("AdditiveClassifier", "2.0.0"), ("Pipeline", "1.0.0"), ("AdditiveClassifier", ""), ("Pipeline", "2.0.0")],
    )
    def test_when_scikit_learn_does_not_fit(self, models, estimator, library):
        """Tables need the same major scikit-learn, anything else the same minor one too."""
        self.write(models, estimator=estimator, libraries={"scikit-learn": library})
        with pytest.raises(ModelUnavailable, match="needs scikit-learn"):
            load_predictor(models)

    def test_unless_tables_come_from_another_minor_scikit_learn(self, models):
        """Plain tables outlive a minor release of scikit-learn."""
        self.write(models, libraries={"scikit-learn": "1.0.0"})
        assert load_predictor(models).info.version == "other"

    def test_when_it_gives_other_probabilities(self, models, version):
        """A model that does not reproduce its golden rows is not the one that was evaluated."""
        golden = read_manifest(models, version)[0].golden
        self.write(models, golden=Golden(golden.rows, (0.5,) * len(golden.rows)))
        with pytest.raises(ModelUnavailable, match="does not give the probabilities"):
            load_predictor(models)

    def test_when_its_golden_rows_have_another_shape(self, models):
        """Rows of other features cannot prove anything."""
        self.write(models, golden=Golden(((1.0,),), (0.5,)))
        with pytest.raises(ModelUnavailable, match="golden rows"):
            load_predictor(models)

    def test_when_it_is_no_classifier_of_leavers(self, models):
        """The classes must be 0 and 1."""
        random = np.random.default_rng(0)
        words = np.where(random.integers(0, 2, 50), "left", "stayed")
        bundle(models, LogisticRegression().fit(random.random((50, len(FEATURES))), words), version="words")
        with pytest.raises(ModelUnavailable, match="classes"):
            load_predictor(models)

    def test_when_it_is_no_model_at_all(self, models, version):
        """A trusted pickle of something else is told apart from a model."""
        content = dump_model({"not": "a model"})
        manifest, _ = read_manifest(models, version)
        broken = replace(manifest, version="broken", model_sha256=hashlib.sha256(content).hexdigest())
        write_bundle(models, broken, model=content, documents={}, activate=True)
        with pytest.raises(ModelUnavailable, match="cannot be loaded here: AttributeError"):
            load_predictor(models)


class TestWritingABundle:
    def test_it_is_trusted_listed_and_active(self, tmp_path):
        """What was written can be loaded at once, by the digest that writing returned."""
        version, digest = arbitrary_pipeline(tmp_path)
        assert list_versions(tmp_path) == [version]
        assert active_version(tmp_path) == version
        assert trusted_manifests(tmp_path) == {digest}
        assert trusted_manifests(tmp_path, f" {digest.upper()} ,") == {digest}
        assert isinstance(load_predictor(tmp_path, trusted=digest), JoblibPredictor)

    def test_trust_is_kept_in_the_format_of_sha256sum(self, models):
        """Each line of TRUSTED is the digest of the file that it names."""
        for line in (models / "TRUSTED").read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256((models / name).read_bytes()).hexdigest() == digest

    def test_a_version_is_never_overwritten(self, models, version):
        """Writing a version again fails and changes nothing."""
        manifest, digest = read_manifest(models, version)
        with pytest.raises(FileExistsError):
            write_bundle(models, manifest, model=b"", documents={}, activate=True)
        assert read_manifest(models, version)[1] == digest

    def test_a_run_that_is_stopped_leaves_nothing(self, models, version, monkeypatch):
        """When writing fails half way there is no new folder, no new trust and no other active version."""
        before = {path.name: path.read_bytes() for path in models.iterdir() if path.is_file()}
        manifest, _ = read_manifest(models, version)

        def stop(self, target):
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(models, replace(manifest, version="half"), model=b"x", documents={}, activate=True)
        assert list_versions(models) == list_versions(MODELS)
        assert {path.name: path.read_bytes() for path in models.iterdir() if path.is_file()} == before
        assert not list(models.glob(".*"))

    def test_half_a_version_is_no_version(self, models):
        """A folder that a killed run left behind is neither listed nor loaded."""
        (models / ".half.x").mkdir()
        (models / ".half.x" / "manifest.json").write_bytes(b"{}")
        assert list_versions(models) == list_versions(MODELS)
