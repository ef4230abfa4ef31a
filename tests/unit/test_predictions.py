"""Many employees and predictions in columns are those in rows, to the last bit and byte."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import LEAVER
from tests.http.test_predict import employees

from churn.adapters.joblib_model.predictor import load_predictor
from churn.adapters.memory import MemoryPredictor
from churn.adapters.uuids import new_ids
from churn.domain.employee import Employee
from churn.domain.language import Language
from churn.domain.prediction import RISKS
from churn.domain.predictions import Employees, Predictions, ScoreMatrix, joined
from churn.http.answers import answer_to
from churn.http.json_answers import json_answers
from churn.http.metrics import Metrics
from churn.ports import Predictor
from churn.settings import Settings


class Mute(MemoryPredictor):
    """A model that does not explain itself."""

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        matrix = super().predict_matrix(features)
        return ScoreMatrix(matrix.probability, None, matrix.out_of_range)


class Mixed(MemoryPredictor):
    """A model that is not additive: what a value adds depends on the others, some of which add the same."""

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        matrix = super().predict_matrix(features)
        shares = np.round(features + features[:, ::-1], 1) % 3 - 1.5
        return ScoreMatrix(matrix.probability, shares, matrix.out_of_range)


PREDICTORS: dict[str, Predictor] = {
    "shipped": load_predictor(Settings().models_dir),
    "mute": Mute(threshold=0.3),
    "mixed": Mixed(threshold=0.3),
}


def predictions_of(predictor: Predictor, rows: list[Employee]) -> Predictions:
    columns = Employees.of(rows)
    return Predictions.made(
        predictor.info,
        columns,
        predictor.predict_matrix(columns.features),
        ids=new_ids(len(rows)),
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        account="anne",
    )


def workforces(*, min_size: int = 0) -> st.SearchStrategy[list[Employee]]:
    def struct(row: dict[str, Any]) -> Employee:
        return msgspec.json.decode(msgspec.json.encode(row), type=Employee)

    return st.lists(employees().map(struct), min_size=min_size, max_size=12)


@given(rows=workforces())
def test_employees_in_columns_are_those_in_rows(rows: list[Employee]) -> None:
    """Each comes back equal, and so do its features."""
    columns = Employees.of(rows)
    assert list(columns) == rows
    assert columns.features.tolist() == [list(map(float, row.features())) for row in rows]


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
@given(rows=workforces())
def test_predictions_in_columns_are_those_in_rows(predictor: Predictor, rows: list[Employee]) -> None:
    """Each is what the model says of that employee, under an id of its own; ids ascend."""
    predictions = predictions_of(predictor, rows)
    scores = predictions.scores
    assert len(predictions) == len(rows)
    for number, one in enumerate(predictions):
        assert one.employee == rows[number]
        assert one.score.probability == scores.probability[number]
        assert one.score.probability == pytest.approx(predictor.predict(rows[number]).probability, abs=1e-12)
        shares = None if scores.contributions is None else tuple(scores.contributions[number].tolist())
        assert one.score.contributions == shares
        assert one.score.out_of_range == tuple(np.flatnonzero(scores.out_of_range[number]).tolist())
        assert one.risk is predictor.info.risk(one.score.probability)
    assert [predictions[-n] for n in range(1, len(rows) + 1)] == list(predictions)[::-1]
    ids = [one.id for one in predictions]
    assert ids == sorted(set(ids))
    assert all(identifier.version == 7 for identifier in ids)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
@given(rows=workforces())
def test_answers_made_by_column_are_those_made_by_row(
    predictor: Predictor, language: Language, rows: list[Employee]
) -> None:
    """To the byte what is written of each prediction alone."""
    predictions = predictions_of(predictor, rows)
    assert json_answers(predictions, language) == [
        msgspec.json.encode(answer_to(prediction, language)) for prediction in predictions
    ]


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
@given(rows=workforces(min_size=1), cut=st.integers(0, 12))
def test_parts_joined_are_the_whole(predictor: Predictor, rows: list[Employee], cut: int) -> None:
    """Cut anywhere and joined again, predictions are the same, with or without pseudonyms in a part."""
    predictions = predictions_of(predictor, rows)
    assert list(joined([predictions[:cut], predictions[cut:]])) == list(predictions)


def test_a_risk_in_a_column_is_the_risk() -> None:
    """Also at the very threshold and at the base rate."""
    model = MemoryPredictor(threshold=0.5, base_rate=0.16).info
    probabilities = np.array([0.0, 0.16, np.nextafter(0.16, 1), np.nextafter(0.5, 0), 0.5, 1.0])
    assert [RISKS[number] for number in model.risks(probabilities)] == [model.risk(p) for p in probabilities.tolist()]


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
@given(rows=workforces(min_size=1))
def test_a_column_is_observed_as_its_rows_are(predictor: Predictor, rows: list[Employee]) -> None:
    """The histogram of probabilities has the same buckets, count and sum, whether told at once or one by one."""
    predictions = predictions_of(predictor, rows)
    expected = observed_by_the_library(predictions)
    for observed in (told_at_once(predictions), told_one_by_one(predictions)):
        assert observed == {name: pytest.approx(value, rel=1e-12) for name, value in expected.items()}


def told_at_once(predictions: Predictions) -> dict[tuple[object, ...], float]:
    metrics = Metrics()
    metrics.predicted_many(predictions)
    return probabilities(metrics.expose()[0])


def told_one_by_one(predictions: Predictions) -> dict[tuple[object, ...], float]:
    """Some in one turn of an event loop, the rest in another."""
    metrics = Metrics()

    async def tell() -> None:
        for number, prediction in enumerate(predictions):
            if number == len(predictions) // 2:
                await asyncio.sleep(0)
            metrics.predicted(prediction)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(tell())
    loop.close()
    return probabilities(metrics.expose()[0])


def observed_by_the_library(predictions: Predictions) -> dict[tuple[object, ...], float]:
    registry = CollectorRegistry()
    tenths = [step / 10 for step in range(1, 11)]
    labels = ("model_version", "prediction")
    histogram = Histogram("churn_prediction_probability", "", labels, buckets=tenths, registry=registry)
    for prediction in predictions:
        histogram.labels(prediction.model_version, int(prediction.leaves)).observe(prediction.score.probability)
    return probabilities(generate_latest(registry))


def probabilities(exposed: bytes) -> dict[tuple[object, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed.decode())
        for sample in family.samples
        if sample.name.startswith("churn_prediction_probability") and not sample.name.endswith("_created")
    }


def test_a_probability_at_the_edge_of_a_bucket_is_in_it() -> None:
    """`le` is less than or equal: a probability on an edge is counted in the bucket that it closes."""
    edges = np.arange(1, 11) / 10
    row = msgspec.convert(LEAVER, Employee)
    predictions = replace(
        predictions_of(PREDICTORS["shipped"], [row] * len(edges)),
        scores=ScoreMatrix(edges, None, np.zeros((len(edges), 11), bool)),
    )
    expected = observed_by_the_library(predictions)
    assert told_at_once(predictions) == told_one_by_one(predictions) == expected
