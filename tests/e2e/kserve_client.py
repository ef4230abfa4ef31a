"""What KServe's client makes of a service: `python kserve_client.py URL AUTHORIZATION`, with what to infer as JSON on
standard input, in the environment of `requirements/kserve.txt`. It wants older libraries than ours."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found,unused-ignore]
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)


async def main(url: str, authorization: str, columns: list[str], rows: list[list[float]]) -> dict[str, Any]:
    headers = {"Authorization": authorization}
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    matrix = np.array(rows, dtype=np.float64)
    tensor = InferInput("employees", list(matrix.shape), "FP64")
    tensor.set_data_from_numpy(matrix, binary_data=False)

    async def infer(names: list[str]) -> Any:
        request = InferRequest("churn", [tensor], request_id="42", parameters={"columns": ",".join(names)})
        return await client.infer(url, request, headers=headers, model_name="churn")

    answer = await infer(columns)
    try:
        refusal = str(await infer(columns[:1]))
    except Exception as error:  # noqa: BLE001 - whatever it makes of a refusal
        refusal = str(error)
    try:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, "churn", headers=headers),
            "id": answer.id,
            "outputs": {output.name: output.as_numpy().tolist() for output in answer.outputs},
            "refusal": refusal,
        }
    finally:
        await client.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:], **json.load(sys.stdin)))))  # noqa: T201
