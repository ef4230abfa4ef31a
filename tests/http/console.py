"""A browser without a window: keeps cookies, says where its requests come from, and reads forms."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
from litestar.types import ASGIApp

ORIGIN = "https://churn.test"


class Browser:
    """Visits the console of `app`; over HTTPS, as `__Host-` cookies want it."""

    def __init__(self, app: ASGIApp, **headers: str) -> None:
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, headers=headers)
        self.form_token = ""

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return self._read(await self.client.get(path, **options))

    async def post(self, path: str, data: Mapping[str, object] | None = None, **options: Any) -> httpx.Response:
        """Send a form of the page that was read last."""
        options.setdefault("headers", {"sec-fetch-site": "same-origin", "origin": ORIGIN})
        form = {"form_token": self.form_token} | dict(data or {})
        return self._read(await self.client.post(path, data=form, **options))

    async def sign_in(self, username: str, password: str) -> httpx.Response:
        answer = await self.post("/console/sign-in", {"username": username, "password": password})
        await self.get("/console")
        return answer

    def _read(self, answer: httpx.Response) -> httpx.Response:
        if found := re.search(r'name="form_token" value="([0-9a-f]+)"', answer.text):
            self.form_token = found[1]
        return answer
