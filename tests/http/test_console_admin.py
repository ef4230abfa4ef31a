"""What admins do in the console: accounts, and which model answers."""

import hashlib
import re
import shutil

import pytest
from msgspec.structs import replace
from tests.builders import LEAVER, add_version
from tests.http.conftest import ACCOUNTS, PASSWORD, lifespan, new_database
from tests.http.console import Browser

from churn.container import build_container
from churn.domain.account import Role
from churn.domain.audit import Action, AuditEvent
from churn.domain.language import Language
from churn.http.app import create_app
from churn.http.console.words import TEXTS

NEW = "another battery staple"


@pytest.fixture(scope="module")
async def own(postgres_url, migrations_dir, tmp_path_factory, settings):
    """An application over a database and models of its own."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(settings.models_dir, models, dirs_exist_ok=True)
    add_version(models, "shifted", shift=1.0)
    database = await new_database(postgres_url, migrations_dir, "console_admin")
    settings = replace(database, models_dir=str(models), trusted_models=_all_manifests(models))
    app = create_app(settings)
    container = build_container(settings)
    async with lifespan(app):
        yield app, container
    await container.engine().dispose()


def _all_manifests(models):
    return ",".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in models.glob("*/manifest.json"))


@pytest.fixture(scope="module")
async def root(own):
    browser = Browser(own[0])
    await browser.sign_in(ACCOUNTS[Role.ADMIN], PASSWORD)
    return browser


@pytest.fixture(scope="module")
async def anne(own):
    browser = Browser(own[0])
    await browser.sign_in(ACCOUNTS[Role.ANALYST], PASSWORD)
    return browser


def errors_of(answer):
    return set(re.findall(r'class="error" id="error-([a-z_]+)"', answer.text))


async def test_what_is_for_admins_is_refused_to_others(anne):
    """The pages are neither shown nor linked, and their forms change nothing."""
    for path in ("/console/accounts", "/console/accounts/root", "/console/models/shifted/activate"):
        assert (await anne.get(path)).status_code == 403
    for path in (
        "/console/accounts",
        "/console/accounts/root",
        "/console/models/shifted/activate",
        "/console/models/rollback",
    ):
        assert (await anne.post(path, {"role": "analyst", "reason": "x"})).status_code == 403
    page = (await anne.get("/console/models")).text
    assert "/console/accounts" not in page.replace('/console/account"', "")
    assert "/activate" not in page


async def test_an_account_is_created(own, root):
    """It can sign in, and is in the list."""
    answer = await root.post("/console/accounts", {"username": "bruno", "password": PASSWORD, "role": "analyst"})
    assert answer.status_code == 303
    assert "Le compte est créé." in (await root.get(answer.headers["location"])).text
    assert ">bruno</a>" in (await root.get("/console/accounts")).text
    browser = Browser(own[0])
    assert (await browser.sign_in("bruno", PASSWORD)).status_code == 303


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"username": "anne"}, {"username"}),
        ({"username": "Ann"}, {"username"}),
        ({"username": "x"}, {"username"}),
        ({"password": "short"}, {"password"}),
        ({"password": "passwordpassword"}, {"password"}),
        ({"password": "zoe-zoe-zoe-zoe"}, {"password"}),
        ({"role": "king"}, {"role"}),
        ({"username": "", "role": ""}, {"username", "role"}),
    ],
)
async def test_an_account_that_cannot_be_is_asked_for_again(root, changes, wrong):
    """At the field, without the password."""
    form = {"username": "zoe", "password": PASSWORD, "role": "analyst"} | changes
    answer = await root.post("/console/accounts", form)
    assert answer.status_code == 422
    assert errors_of(answer) == wrong
    assert f'value="{form["password"]}"' not in answer.text


async def test_an_account_is_changed(own, root):
    """Its role, its state and its password, each alone."""
    _, container = own
    users = container.users()
    await container.create_account()("carla", PASSWORD, Role.ANALYST, by="root")
    for form, expected in [
        ({"role": "admin"}, (Role.ADMIN, False)),
        ({"disabled": "1"}, (Role.ADMIN, True)),
        ({"disabled": "0"}, (Role.ADMIN, False)),
        ({"role": "analyst"}, (Role.ANALYST, False)),
        ({}, (Role.ANALYST, False)),
    ]:
        assert (await root.post("/console/accounts/carla", form)).status_code == 303
        account = await users.get("carla")
        assert (account.role, account.disabled) == expected
    before = (await users.get("carla")).password_hash
    assert errors_of(await root.post("/console/accounts/carla", {"password": "short"})) == {"password"}
    assert (await users.get("carla")).password_hash == before
    await root.post("/console/accounts/carla", {"password": NEW})
    assert (await users.get("carla")).password_hash != before


async def test_the_last_admin_stays(root):
    """Neither disabled nor demoted, and told why."""
    for form in ({"disabled": "1"}, {"role": "analyst"}):
        answer = await root.post("/console/accounts/root", form)
        assert answer.status_code == 422
        assert "dernier administrateur" in answer.text


async def test_an_account_that_is_none_is_not_found(root):
    """To read or to change."""
    assert (await root.get("/console/accounts/nobody")).status_code == 404
    assert (await root.post("/console/accounts/nobody", {"disabled": "1"})).status_code == 404


async def test_ones_own_password(own):
    """Takes the old one, keeps this browser signed in and ends every other session."""
    app, container = own
    await container.create_account()("diane", PASSWORD, Role.ANALYST, by="root")
    here, there = Browser(app), Browser(app)
    for browser in (here, there):
        await browser.sign_in("diane", PASSWORD)
    assert errors_of(await here.post("/console/account", {"current": "wrong", "new": NEW})) == {"current"}
    assert errors_of(await here.post("/console/account", {"current": PASSWORD, "new": "short"})) == {"new"}
    answer = await here.post("/console/account", {"current": PASSWORD, "new": NEW})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/account?done")
    assert "Le mot de passe est remplacé" in (await here.get("/console/account?done")).text
    assert (await there.get("/console")).status_code == 303
    assert (await Browser(app).sign_in("diane", NEW)).status_code == 303


async def test_a_model_is_put_into_service_and_taken_back(own, root, anne):
    """After a question, with a reason that stays; what answers follows."""
    _, container = own
    default = await container.catalogue().default()
    question = await root.get("/console/models/shifted/activate")
    assert question.status_code == 200
    assert default in question.text
    refused = await root.post("/console/models/shifted/activate", {"reason": " "})
    assert refused.status_code == 422
    assert errors_of(refused) == {"reason"}
    answer = await root.post("/console/models/shifted/activate", {"reason": "Un <essai>."})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/models")
    page = (await anne.get("/console/models")).text
    assert "Un &lt;essai&gt;." in page
    assert "root" in page

    question = await root.get("/console/models/rollback")
    assert default in question.text
    assert (await root.post("/console/models/rollback", {"reason": ""})).status_code == 422
    assert (await root.post("/console/models/rollback", {"reason": "Retour."})).status_code == 303
    assert (await container.registry().current()).version == default
    nothing = await root.get("/console/models/rollback")
    assert nothing.status_code == 409
    assert (await root.post("/console/models/nothing/activate", {"reason": "x"})).status_code == 404


async def test_a_card_says_what_a_model_is_worth(own, anne):
    """Its measures with their intervals, what each fact weighs, and what it must not be used for."""
    version = await own[1].catalogue().default()
    manifest = await own[1].catalogue().manifest(version)
    page = (await anne.get(f"/console/models/{version}")).text
    assert f"{manifest.evaluation.model.roc_auc.estimate:.3f}".replace(".", ",") in page
    assert page.count('class="curve effect"') == len(manifest.features)
    assert page.count('class="point"') == len(manifest.reliability)
    assert "Toute décision sur une personne qui repose sur le seul score" in page
    assert (await anne.get("/console/models/nothing")).status_code == 404


async def test_a_prediction_of_another_model_says_so(own, root, anne):
    """What if is answered by the model in service, and the page owns up to it."""
    answer = await anne.post("/console", LEAVER)
    path = answer.headers["location"]
    caution = TEXTS[Language.FR]["prediction"]["changed_model"]
    assert caution not in (await anne.get(path)).text
    container = own[1]
    last = await container.registry().current()
    await root.post("/console/models/shifted/activate", {"reason": "x"})
    assert (await container.registry().current()).number > last.number
    for _ in range(200):
        page = (await anne.get(path)).text
        if caution in page:
            break
    assert caution in page
    await root.post("/console/models/rollback", {"reason": "x"})


async def test_the_audit_trail_is_read(own, root, anne):
    """By admins, newest first, page by page, in words; what has been done here is in it."""
    assert (await anne.get("/console/audit")).status_code == 403
    page = (await root.get("/console/audit")).text
    assert "compte créé" in page
    assert "modèle mis en service" in page
    assert "rôle\u00a0: administrateur" in page
    container = own[1]
    texts = TEXTS[Language.FR]["audit"]
    assert {action.value.replace("-", "_") for action in Action} <= texts.keys()
    at = container.clock().now()
    await container.trail().append(
        [AuditEvent(at=at, account=None, action="later-release", details={"n": n}) for n in range(60)]
    )
    page = (await root.get("/console/audit")).text
    assert page.count("<time") == 50
    older = re.search(r'href="(/console/audit\?before=\d+)" rel="next"', page)[1]
    # Passwords that were wrong in other tests are told some time later, and may be among them.
    assert (page + (await root.get(older)).text).count("later-release") == 60
    for before in ("x", "-1", "9" * 30, "²"):
        assert (await root.get(f"/console/audit?before={before}")).status_code == 200
