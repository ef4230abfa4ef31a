"""An export that cannot be finished does not look like one that is."""

import json

import httpx
import pytest
from tests.builders import LEAVER
from tests.e2e.service import Service, eventually, serving


async def store(client: httpx.AsyncClient, count: int) -> None:
    body = "\n".join([json.dumps(LEAVER)] * count)
    answer = await client.post("/predict/batch", content=body, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 200


def cut_off(service: Service) -> bool:
    """End the PostgreSQL process that feeds an export; whether there was one."""
    feeding = [
        process for process in service.postmaster.children() if "idle in transaction" in " ".join(process.cmdline())
    ]
    for process in feeding:
        process.terminate()
    return bool(feeding)


async def read_while_it_is_cut_off(service: Service, client: httpx.AsyncClient, wanted: str) -> None:
    async with client.stream("GET", "/predictions", params={"format": wanted}) as response:
        assert response.status_code == 200
        chunks = response.aiter_bytes()
        await anext(chunks)
        await eventually(lambda: cut_off(service), within=10)
        async for _ in chunks:
            pass


@pytest.mark.parametrize("wanted", ["csv", "ndjson"])
async def test_a_broken_export_is_seen_by_the_client(tmp_path_factory: pytest.TempPathFactory, wanted: str) -> None:
    """When PostgreSQL ends the export in the middle, the transfer is aborted; the service goes on."""
    async with serving(tmp_path_factory.mktemp("export")) as service, service.client() as client:
        await store(client, 10_000)
        await store(client, 10_000)
        with pytest.raises(httpx.RemoteProtocolError):
            await read_while_it_is_cut_off(service, client, wanted)
        whole = await client.get("/predictions", params={"format": wanted})
        assert whole.content.count(b"\n") == 20_000 + (wanted == "csv")
        assert "Traceback" not in service.errors
