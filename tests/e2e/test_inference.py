"""A client of the Open Inference Protocol that others made, against a running service."""

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from tests.builders import LEAVER
from tests.e2e.service import PASSWORD, USERNAME, Service
from tests.http.test_history import STAYER
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from churn.domain.employee import FEATURES

DTYPES = {"INT64": np.int64, "FP64": np.float64, "BYTES": np.object_}
HEADERS = {"Authorization": f"Basic {base64.b64encode(f'{USERNAME}:{PASSWORD}'.encode()).decode()}"}


@pytest.fixture
def triton(service: Service) -> Iterator[InferenceServerClient]:
    """NVIDIA's own client."""
    client = InferenceServerClient(service.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(name: str, datatype: str, data: list[object]) -> InferInput:
    values = np.array(data, dtype=DTYPES[datatype])
    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=False)
    return made


async def test_a_tensor_per_feature(triton: InferenceServerClient, service: Service) -> None:
    """Tensors of the names and datatypes that the metadata gives are answered as `POST /predict` answers."""
    metadata = triton.get_model_metadata("churn", headers=HEADERS)
    rows = [LEAVER, STAYER]
    inputs = [
        tensor(item["name"], item["datatype"], [row[item["name"]] for row in rows]) for item in metadata["inputs"]
    ]
    # Without `outputs` it asks for binary ones, and takes what it gets.
    result = triton.infer("churn", inputs, model_version=metadata["versions"][0], request_id="42", headers=HEADERS)
    assert result.get_response()["id"] == "42"
    async with service.client() as client:
        alone = [(await client.post("/predict", json=row)).json() for row in rows]
        for answer, identifier in zip(alone, result.as_numpy("prediction_id"), strict=True):
            remembered = (await client.get(f"/predictions/{identifier}")).json()
            assert remembered["probability"] == pytest.approx(answer["probability"], abs=1e-12)
    assert result.as_numpy("probability") == pytest.approx([answer["probability"] for answer in alone], abs=1e-12)
    assert result.as_numpy("risk").tolist() == [answer["risk"] for answer in alone]
    assert {output["name"]: (-1, *result.as_numpy(output["name"]).shape[1:]) for output in metadata["outputs"]} == {
        output["name"]: tuple(output["shape"]) for output in metadata["outputs"]
    }


def test_a_matrix(triton: InferenceServerClient) -> None:
    """One tensor of numbers, whose columns are named in the parameters of the request, will do."""
    numbers = [1.0 if value == "Oui" else float(value) for value in LEAVER.values()]
    result = triton.infer(
        "churn",
        [tensor("employees", "FP64", [numbers, numbers])],
        outputs=[InferRequestedOutput("prediction"), InferRequestedOutput("contributions", binary_data=False)],
        parameters={"columns": ",".join(LEAVER)},
        headers=HEADERS,
    )
    assert result.as_numpy("prediction").tolist() == [1, 1]
    assert result.as_numpy("contributions").shape == (2, len(FEATURES))
    assert result.as_numpy("probability") is None


def test_asks_after_the_server(triton: InferenceServerClient) -> None:
    """Health needs no account; metadata and the model do."""
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("churn", headers=HEADERS)
    assert not triton.is_model_ready("other", headers=HEADERS)
    assert not triton.is_model_ready("churn")
    assert triton.get_server_metadata(headers=HEADERS)["name"] == "churn"


def test_errors_come_through(triton: InferenceServerClient) -> None:
    """The client shows what is wrong, in words."""
    inputs = [tensor("age", "INT64", [17])]
    with pytest.raises(InferenceServerException, match="revenu_mensuel"):
        triton.infer("churn", inputs, headers=HEADERS)
    binary = InferInput("age", [1], "INT64")
    binary.set_data_from_numpy(np.array([41]))
    with pytest.raises(InferenceServerException, match="binary_data=False"):
        triton.infer("churn", [binary], headers=HEADERS)
