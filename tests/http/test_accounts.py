"""`/users`, as an admin and as anyone uses it."""

from itertools import count

import pytest

PASSWORD = "cheval agrafe pile"
_numbers = count(1)


@pytest.fixture
async def account(admin):
    """A new analyst's name; nobody else uses it."""
    username = f"analyst-{next(_numbers)}"
    response = await admin.post("/users", json={"username": username, "password": PASSWORD, "role": "analyst"})
    assert response.status_code == 201, response.text
    return username


def errors(response, status=422):
    """The errors of a problem, by pointer."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {error.get("pointer"): error for error in response.json().get("errors", ())}


async def test_a_new_account_can_sign_in(admin, stranger):
    """What is created is what is answered, listed, and let in."""
    body = {"username": "new.account@example", "password": "élève très âgé 🐎", "role": "analyst"}
    created = await admin.post("/users", json=body)
    assert created.status_code == 201
    view = created.json()
    assert view == {
        "username": body["username"],
        "role": "analyst",
        "disabled": False,
        "created_at": view["created_at"],
    }
    assert view in (await admin.get("/users")).json()
    me = await stranger.get("/users/me", auth=(body["username"].encode(), body["password"].encode()))
    assert me.json() == view


async def test_no_answer_has_a_hash_or_a_password(admin, account):
    """Neither the list nor an account shows what could be attacked."""
    answers = [
        await admin.get("/users"),
        await admin.get("/users/me"),
        await admin.patch(f"/users/{account}", json={"password": "another " + PASSWORD}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert "argon2" not in answer.text
        assert PASSWORD not in answer.text


async def test_accounts_are_listed_by_name(admin, account):
    """All of them, in one order."""
    names = [view["username"] for view in (await admin.get("/users")).json()]
    assert names == sorted(names)
    assert {"anne", "root", account} <= set(names)


async def test_a_name_is_taken_once(admin, account):
    """409, and the first account keeps its password."""
    body = {"username": account, "password": "another " + PASSWORD, "role": "admin"}
    assert errors(await admin.post("/users", json=body), 409)[None]["code"] == "taken"
    assert (await admin.get("/users/me", auth=(account, PASSWORD))).json()["role"] == "analyst"


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"username": "Anne"}, {"/username"}),
        ({"username": "me"}, {"/username"}),
        ({"username": "a:b:c"}, {"/username"}),
        ({"username": "anne\n"}, {"/username"}),
        ({"username": 7, "role": "root", "password": None}, {"/username", "/role", "/password"}),
        ({"password": "too short"}, {"/password"}),
        ({"password": "x" * 257}, {"/password"}),
        ({"passwort": PASSWORD}, {"/passwort"}),
    ],
)
async def test_what_no_account_can_be_is_named_field_by_field(admin, change, pointers):
    """422 with each field, and never with its value."""
    body = {"username": "refused", "password": PASSWORD, "role": "analyst"} | change
    response = await admin.post("/users", json=body)
    assert errors(response).keys() == pointers
    assert PASSWORD not in response.text


@pytest.mark.parametrize(
    ("password", "french", "english"),
    [
        ("azertyuiop123", "Figure parmi les mots de passe les plus courants.", "Is among the most common passwords."),
        ("i am refused!", "Ne doit pas contenir le nom du compte.", "Must not contain the username."),
        ("tabs\tare\tkeys", "Ne doit pas contenir de caractère de contrôle.", "Must not have control characters."),
        ("e\u0301" * 6, "Doit compter de 12 à 256 caractères.", "Must have 12 to 256 characters."),
    ],
)
async def test_a_weak_password_is_refused_with_the_reason(admin, account, password, french, english):
    """In both languages, for a new account and for an old one, on the field that the password came in."""
    for language, detail in [("fr", french), ("en", english)]:
        headers = {"accept-language": language}
        body = {"username": "refused", "password": password, "role": "analyst"}
        answer = await admin.post("/users", json=body, headers=headers)
        assert errors(answer)["/password"] == {"detail": detail, "code": "weak", "pointer": "/password"}
        answer = await admin.patch(
            f"/users/{account}", json={"password": password.replace("refused", account)}, headers=headers
        )
        assert errors(answer)["/password"]["detail"] == detail
        body = {"current": PASSWORD, "new": password.replace("refused", account)}
        answer = await admin.put("/users/me/password", json=body, headers=headers, auth=(account, PASSWORD))
        assert errors(answer)["/new"]["detail"] == detail


async def test_a_role_is_felt_at_once(admin, account):
    """Also by who is signed in: promoted, they may manage accounts; demoted, no longer."""
    for role, status in [("analyst", 403), ("admin", 200), ("analyst", 403)]:
        changed = await admin.patch(f"/users/{account}", json={"role": role})
        assert changed.json()["role"] == role
        assert (await admin.get("/users", auth=(account, PASSWORD))).status_code == status


async def test_a_disabled_account_is_out_at_once(admin, account):
    """Also if it was just signed in; enabled again, it is back with the password it had."""
    for disabled, status in [(False, 200), (True, 401), (False, 200)]:
        changed = await admin.patch(f"/users/{account}", json={"disabled": disabled})
        assert changed.json()["disabled"] is disabled
        assert (await admin.get("/users/me", auth=(account, PASSWORD))).status_code == status


async def test_a_password_given_by_an_admin_replaces_the_old_one(admin, account):
    """From the answer on, the old one is wrong."""
    assert (await admin.get("/users/me", auth=(account, PASSWORD))).status_code == 200
    assert (await admin.patch(f"/users/{account}", json={"password": "another " + PASSWORD})).status_code == 200
    assert (await admin.get("/users/me", auth=(account, PASSWORD))).status_code == 401
    assert (await admin.get("/users/me", auth=(account, "another " + PASSWORD))).status_code == 200


async def test_nothing_given_changes_nothing(admin, account):
    """An empty change answers the account as it is."""
    before = [view for view in (await admin.get("/users")).json() if view["username"] == account]
    assert [(await admin.patch(f"/users/{account}", json={})).json()] == before


@pytest.mark.parametrize("username", ["nobody", "Anne", "an%00ne", "%20", "é"])
async def test_an_account_that_is_not_there_is_not_found(admin, username):
    """404, also for a name that nobody can have."""
    assert errors(await admin.patch(f"/users/{username}", json={"disabled": True}), 404) == {}


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "analyst"}])
async def test_the_last_admin_stays(admin, change):
    """409, and the admin still is one."""
    assert errors(await admin.patch("/users/root", json=change), 409)[None]["code"] == "last-admin"
    assert (await admin.get("/users")).status_code == 200


async def test_anyone_can_change_their_own_password(admin, account):
    """With the current one; from the answer on it is the new one that counts."""
    body = {"current": PASSWORD, "new": "another " + PASSWORD}
    changed = await admin.put("/users/me/password", json=body, auth=(account, PASSWORD))
    assert changed.status_code == 204
    assert changed.content == b""
    assert (await admin.get("/users/me", auth=(account, PASSWORD))).status_code == 401
    assert (await admin.get("/users/me", auth=(account, "another " + PASSWORD))).status_code == 200


async def test_a_borrowed_session_does_not_change_the_password(serve, account):
    """Without the current password nothing changes, and guessing it is throttled like any sign-in."""
    async with serve(failed_logins_per_account=2) as client:
        client.auth = (account, PASSWORD)
        for status in [401, 401, 429]:
            body = {"current": f"guess {status}", "new": "another " + PASSWORD}
            errors(await client.put("/users/me/password", json=body), status)
        assert (await client.get("/users/me")).status_code == 200
