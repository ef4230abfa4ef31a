"""A running service for the tests that only ask it things."""

from collections.abc import AsyncIterator

import pytest
from tests.e2e.service import Service, serving


@pytest.fixture(scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service that lets sign-ins fail often: some tests do that on purpose."""
    lenient = {"failed_logins_per_account": 10_000, "failed_logins_per_address": 100_000}
    async with serving(tmp_path_factory.mktemp("service"), **lenient) as service:
        yield service
