"""Basic authentication, as a client meets it."""

import asyncio
import base64

import httpx
import pytest

from churn.domain.account import Role
from churn.domain.errors import InvalidCredentials
from churn.http.authentication import credentials

CHALLENGE = 'Basic realm="churn", charset="UTF-8"'


def basic(credential):
    """The header for `credential`, which is text or bytes."""
    raw = credential if isinstance(credential, bytes) else credential.encode()
    return {"authorization": f"Basic {base64.b64encode(raw).decode()}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic "},
        {"authorization": "Bearer YW5uZTp3cm9uZw=="},
        {"authorization": "BasicYW5uZTp3cm9uZw=="},
        {"authorization": "Basic YW5uZTp3cm9uZw"},
        {"authorization": "Basic YW5u ZTp3cm9uZw=="},
        {"authorization": "Basic YW5uZTp3cm9uZw==, Basic YW5uZTp3cm9uZw=="},
        {"authorization": "Basic éé"},
        basic("no colon"),
        basic(b"anne:\xff\xfe"),
        basic(":"),
        basic("x" * 65 + ":password"),
        basic("anne:" + "x" * 257),
    ],
    ids=str,
)
async def test_who_cannot_be_told_is_challenged(stranger, headers):
    """401 with the challenge of RFC 7617, whatever is wrong with the header."""
    raw = {name: value.encode() for name, value in headers.items()}
    response = await stranger.get("/users/me", headers=raw)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == CHALLENGE
    assert response.headers["content-type"] == "application/problem+json"
    assert "x" * 20 not in response.text


def test_two_credentials_are_none():
    """A request that says two things about who it is from is not believed."""
    header = (b"authorization", b"Basic YW5uZTp3cm9uZw==")
    assert credentials([header]) == ("anne", "wrong")
    with pytest.raises(InvalidCredentials):
        credentials([header, header])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Basic YW5uZTp3cm9uZw==", ("anne", "wrong")),
        (b"basic YW5uZTp3cm9uZw==", ("anne", "wrong")),
        (b"BASIC   YW5uZTp3cm9uZw==  ", ("anne", "wrong")),
        (b"Basic " + base64.b64encode("anne:é:🐎:".encode()), ("anne", "é:🐎:")),
        (b"Basic Og==", ("", "")),
    ],
)
def test_a_credential_is_read_as_rfc_7617_writes_it(header, expected):
    """The scheme has no case, the password may have colons, and the text is UTF-8."""
    assert credentials([(b"accept", b"*/*"), (b"authorization", header)]) == expected


async def test_the_account_is_the_one_that_signed_in(client, admin):
    """A request acts as the account whose credential it carries, and learns nothing it could be attacked with."""
    for who, username, role in [(client, "anne", "analyst"), (admin, "root", "admin")]:
        response = await who.get("/users/me")
        assert response.status_code == 200
        assert response.json() == {"username": username, "role": role, "disabled": False} | {
            "created_at": response.json()["created_at"]
        }


async def test_wrong_and_unknown_are_answered_alike(serve):
    """Nothing in the answer tells whether the account exists."""
    async with serve() as client:
        answers = [
            await client.get("/users/me", auth=(username, "not the password"), headers={"x-request-id": "same"})
            for username in ["anne", "nobody"]
        ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers == answers[1].headers


async def test_guessing_is_throttled_and_the_owner_goes_on(serve):
    """After its failures an account answers 429 with the wait, and still 200 to who is signed in."""
    async with serve(failed_logins_per_account=2) as client:
        assert (await client.get("/users/me")).status_code == 200
        for number in range(2):
            assert (await client.get("/users/me", auth=("anne", f"guess {number}"))).status_code == 401
        throttled = await client.get("/users/me", auth=("anne", "guess"))
        assert throttled.status_code == 429
        assert 1 <= int(throttled.headers["retry-after"]) <= 31
        assert (await client.get("/users/me")).status_code == 200


async def test_one_address_runs_out_of_guesses(serve):
    """Names are free, so the address counts too."""
    async with serve(failed_logins_per_address=2) as client:
        statuses = [(await client.get("/users/me", auth=(f"user-{n}", "guess"))).status_code for n in range(4)]
    assert statuses == [401, 401, 429, 429]


async def test_more_sign_ins_than_can_be_verified_are_told_to_come_back(serve):
    """503 with Retry-After at once, and nobody is throttled for it."""
    async with serve(hash_concurrency=1, hash_queue_size=0) as client:
        answers = await asyncio.gather(*(client.get("/users/me", auth=(f"user-{n}", "guess")) for n in range(4)))
        assert sorted(answer.status_code for answer in answers) == [401, 503, 503, 503]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)


async def test_who_did_not_try_did_not_fail(serve):
    """Refused credentials are counted by kind; a request without one, which browsers send first, is not."""
    async with serve() as client:
        await client.get("/users/me", auth=("nobody", "guess"))
        anonymous = httpx.AsyncClient(transport=client._transport, base_url=client.base_url)
        assert (await anonymous.get("/users/me")).status_code == 401
        lines = [line for line in (await client.get("/metrics")).text.splitlines() if "auth_failures_total{" in line]
    assert lines == ['churn_auth_failures_total{reason="InvalidCredentials"} 1.0']


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/docs", "/openapi.json"])
async def test_what_is_public_asks_nobody(stranger, path):
    """Health and documentation need no account, and a broken credential does not matter to them."""
    assert (await stranger.get(path)).status_code == 200
    assert (await stranger.get(path, headers={"authorization": "Basic !!!"})).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/users"), ("POST", "/users"), ("PATCH", "/users/anne")])
async def test_what_is_for_admins_is_forbidden_to_others(client, admin, method, path):
    """403 before the body is looked at; an admin gets further."""
    response = await client.request(method, path, content=b"{")
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert "www-authenticate" not in response.headers
    assert (await admin.request(method, path, content=b"{")).status_code != 403


async def test_a_change_by_one_replica_is_felt_by_the_other(serve, admin):
    """A credential that one process remembers is void as soon as another has disabled the account."""
    async with serve() as replica:
        account = {"username": "replicated", "password": "cheval agrafe pile", "role": Role.ANALYST}
        assert (await admin.post("/users", json=account)).status_code == 201
        replica.auth = ("replicated", "cheval agrafe pile")
        assert (await replica.get("/users/me")).status_code == 200
        assert (await admin.patch("/users/replicated", json={"disabled": True})).status_code == 200
        async with asyncio.timeout(10):
            while (await replica.get("/users/me")).status_code == 200:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0)  # a request that waits for nothing does not let the announcement in
        assert (await replica.get("/users/me")).status_code == 401
