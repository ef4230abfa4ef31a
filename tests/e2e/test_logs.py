"""Log lines: one for each request, and nothing about anybody."""

import base64
import json

import httpx
import uuid_utils.compat
from tests.builders import LEAVER
from tests.e2e.service import PASSWORD, Service, eventually


def lines(service: Service) -> list[dict[str, object]]:
    """Standard error, of which each line must be JSON with a time, a level and an event."""
    parsed = [json.loads(line) for line in service.errors.splitlines()]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in parsed)
    return parsed


async def test_a_log_line_names_the_request_and_nobody(service: Service) -> None:
    """Each request leaves one JSON line with the id of its answer, its template and its status; and no value of
    its body, its path or its query, no name and no credential, whatever becomes of it."""
    body = LEAVER | {"revenu_mensuel": 5431.75, "employee_ref": "Zoe-77"}
    stranger = httpx.BasicAuth("nobody-42", "hunter2hunter2")
    json_type = {"content-type": "application/json"}
    async with service.client() as client:
        responses = [
            await client.post("/predict", json=body),
            await client.post("/predict", json=body | {"heures_supp": "hunter2hunter2"}),
            await client.post("/predict", content=b'{"whose-key":', headers=json_type),
            await client.post("/predict", json=body, headers={"x-request-id": "trace-1"}),
            await client.get("/predictions", params={"employee_ref": "Zoe-77", "account": "nobody-42"}),
            await client.get("/predictions", params={"since": "whose-key"}),
            await client.get("/predictions/nobody-42"),
            await client.get(f"/predictions/{uuid_utils.compat.uuid7()}"),
            await client.get("/predictions", auth=stranger),
            await client.get("/Zoe-77"),
        ]
    by_id = {response.headers["x-request-id"]: response for response in responses}

    def logged() -> list[dict[str, object]]:
        return [line for line in lines(service) if line.get("request_id") in by_id]

    await eventually(lambda: len(logged()) == len(responses), within=5)
    for line in logged():
        response = by_id[str(line["request_id"])]
        assert (line["event"], line["status"], line["method"]) == (
            "request",
            response.status_code,
            response.request.method,
        )
        assert line["route"] in {"/predict", "/predictions", "/predictions/{prediction_id}", "unmatched"}
    credentials = [
        base64.b64encode(text).decode() for text in (f"admin:{PASSWORD}".encode(), b"nobody-42:hunter2hunter2")
    ]
    private = ["Zoe-77", "5431.75", "nobody-42", "hunter2hunter2", "whose-key", PASSWORD, *credentials]
    assert [text for text in private if text in service.errors] == []
