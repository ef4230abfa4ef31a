"""`/models` and `/explain`: which versions there are, which of them serve, and what they say."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.types import ASGIApp
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from tests.builders import LEAVER, add_version
from tests.http.conftest import connect, lifespan, new_database
from tests.http.problem import problem_of

from churn.adapters.joblib_model.bundle import active_version, list_versions
from churn.adapters.postgres.engine import create_engine
from churn.domain.account import Role
from churn.http.app import create_app
from churn.settings import Settings

SHIPPED = Path(Settings().models_dir)
DEFAULT = active_version(SHIPPED)
#: Seconds within which a decision must have reached everybody.
PROMISED = 2.0
REASON = {"reason": "Meilleure calibration."}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ships, two others, and two that must be refused."""
    models = shutil.copytree(SHIPPED, tmp_path_factory.mktemp("models") / "models")
    for version, shift in {"milder": -8.0, "sterner": 1.0}.items():
        add_version(models, version, shift=shift)
    add_version(models, "misfit", libraries={"scikit-learn": "0.1.0"})
    add_version(models, "tampered")
    with (models / "tampered" / "model.joblib").open("ab") as model:
        model.write(b"\0")
    return models


@pytest.fixture(scope="module")
async def settings(postgres_url: str, migrations_dir: str, models_dir: Path) -> Settings:
    return replace(await new_database(postgres_url, migrations_dir, "models"), models_dir=str(models_dir))


@asynccontextmanager
async def replica(settings: Settings, **changes: object) -> AsyncIterator[ASGIApp]:
    app = create_app(replace(settings, **changes))
    async with lifespan(app):
        yield app


@pytest.fixture(scope="module")
async def app(settings: Settings) -> AsyncIterator[ASGIApp]:
    async with replica(settings) as app:
        yield app


@pytest.fixture(scope="module")
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(app, Role.ANALYST) as client:
        yield client


@pytest.fixture(scope="module")
async def admin(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(app, Role.ADMIN) as client:
        yield client


@pytest.fixture(autouse=True)
async def nobody_has_decided(settings: Settings, client: httpx.AsyncClient) -> None:
    """Each test starts with an empty log, and the model that ships answers."""
    await execute(settings, "TRUNCATE model_activation", "NOTIFY model_activated")

    async def is_back() -> bool:
        serving = (await client.get("/models")).json()["serving"]
        return serving == {"version": DEFAULT, "shadow": None, "lagging": False}

    await within(5, is_back)


async def execute(settings: Settings, *statements: str) -> None:
    engine = create_engine(settings.database_url, pool_size=2)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def decide(admin: httpx.AsyncClient, path: str) -> dict[str, Any]:
    response = await admin.post(path, json=REASON)
    assert response.status_code == 200, response.text
    return response.json()


async def predict(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.post("/predict", json=LEAVER)
    assert response.status_code == 200, response.text
    return response.json()


async def within[T](seconds: float, look: Callable[[], Awaitable[T]]) -> T:
    """The first true value of `look`, which must come in time."""
    deadline = time.monotonic() + seconds
    while not (value := await look()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return value


async def answers(client: httpx.AsyncClient, version: str) -> None:
    """Return once `version` answers, which it must do as soon as promised."""

    async def does() -> bool:
        return (await predict(client))["model_version"] == version

    await within(PROMISED, does)


async def metrics(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels, in the order of their names."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return {(s.name, *dict(sorted(s.labels.items())).values()): s.value for family in families for s in family.samples}


async def test_lists_every_version_and_its_role(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, models_dir: Path
) -> None:
    """An analyst sees all versions, oldest first, what they are worth and which of them serve."""
    before = (await client.get("/models")).json()
    assert {item["version"] for item in before["items"]} == set(list_versions(models_dir)) > {DEFAULT, "tampered"}
    assert {item["version"] for item in before["items"] if item["role"]} == {DEFAULT}
    assert before["serving"] == {"version": DEFAULT, "shadow": None, "lagging": False}
    assert before["items"][0]["roc_auc"]["estimate"] > 0.7

    await decide(admin, "/models/sterner/activate")
    await decide(admin, "/models/milder/shadow")
    roles = {item["version"]: item["role"] for item in (await client.get("/models")).json()["items"]}
    assert {version: role for version, role in roles.items() if role} == {"sterner": "active", "milder": "shadow"}


async def test_shows_the_card_of_a_version(client: httpx.AsyncClient) -> None:
    """The card has data, metrics with intervals, threshold and the effect of every feature."""
    card = (await client.get(f"/models/{DEFAULT}")).json()
    assert card["version"] == DEFAULT
    assert card["data"]["licence"]
    assert card["decision"]["threshold"] == (await predict(client))["threshold"]
    assert len(card["features"]) == 11
    for version in ("nothing", "..%2F..", "a%00b", "x" * 300):
        problem_of(await client.get(f"/models/{version}"), 404)


async def test_decisions_are_audited(admin: httpx.AsyncClient) -> None:
    """Who decided, and about which version; the reason is in the log of activations."""
    for path in ("sterner/activate", "milder/activate", "rollback", "milder/shadow"):
        await decide(admin, f"/models/{path}")
    assert (await admin.delete("/models/shadow")).status_code == 200
    entries = (await admin.get("/audit", params={"limit": 5})).json()["items"]
    assert [(entry["action"], entry["account"], entry["subject"]) for entry in entries] == [
        ("model-shadowed", "root", None),
        ("model-shadowed", "root", "milder"),
        ("model-rolled-back", "root", "sterner"),
        ("model-activated", "root", "milder"),
        ("model-activated", "root", "sterner"),
    ]
    assert [entry["details"]["activation"] for entry in entries] == [5, 4, 3, 2, 1]
    assert REASON["reason"] not in str(entries)


async def test_an_activation_reaches_every_replica(settings: Settings, app: ASGIApp, admin: httpx.AsyncClient) -> None:
    """Every replica answers with the new version as soon as promised, rows carry it, and who decided is on record."""
    async with replica(settings) as other, connect(other, Role.ANALYST) as elsewhere:
        old = await predict(elsewhere)
        assert old["model_version"] == DEFAULT
        entry = await decide(admin, "/models/sterner/activate")
        await answers(elsewhere, "sterner")
        await answers(admin, "sterner")
        new = await predict(elsewhere)
        assert new["probability"] > old["probability"]
        rows = [(await admin.get(f"/predictions/{answer['id']}")).json() for answer in (old, new)]
        assert [row["model_version"] for row in rows] == [DEFAULT, "sterner"]
    assert (entry["account"], entry["previous"], entry["version"], entry["reason"]) == (
        "root", DEFAULT, "sterner", REASON["reason"],
    )  # fmt: skip
    assert abs(datetime.fromisoformat(entry["at"]) - datetime.now(UTC)).total_seconds() < 60
    assert (await admin.get("/models/activations")).json() == [entry]


async def test_a_process_that_starts_later_follows_too(settings: Settings, admin: httpx.AsyncClient) -> None:
    """A new process answers its first request with the active version, not with the one that it ships with."""
    await decide(admin, "/models/milder/activate")
    async with replica(settings) as other, connect(other, Role.ANALYST) as client:
        assert (await predict(client))["model_version"] == "milder"


async def test_polling_is_the_net(settings: Settings, client: httpx.AsyncClient) -> None:
    """An activation of which no word comes is found all the same, as soon as promised."""
    assert (await predict(client))["model_version"] == DEFAULT
    await execute(
        settings,
        "INSERT INTO model_activation (number, at, account, action, version, reason)"
        " VALUES (1, now(), 'root', 'activate', 'milder', 'without NOTIFY')",
    )
    await answers(client, "milder")


async def test_a_rollback_goes_back_and_further_back(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """Each rollback undoes one activation; with nothing left to undo it is a conflict."""
    for version in ("milder", "sterner"):
        await decide(admin, f"/models/{version}/activate")
    for version in ("milder", DEFAULT):
        entry = await decide(admin, "/models/rollback")
        assert (entry["action"], entry["version"]) == ("roll_back", version)
        await answers(client, version)
    problem = problem_of(await admin.post("/models/rollback", json=REASON), 409)
    assert problem["errors"][0]["code"] == "nothing-to-undo"


@pytest.mark.parametrize(
    ("version", "status", "code"),
    [("tampered", 409, "refused"), ("misfit", 409, "refused"), ("nothing", 404, None)],
)
@pytest.mark.parametrize("use", ["activate", "shadow"])
async def test_a_version_that_cannot_serve_is_refused(  # noqa: PLR0917
    client: httpx.AsyncClient, admin: httpx.AsyncClient, version: str, status: int, code: str | None, use: str
) -> None:
    """A bundle whose hash or library does not fit, or that is not there, changes nothing and is not recorded."""
    problem = problem_of(await admin.post(f"/models/{version}/{use}", json=REASON), status)
    assert [error["code"] for error in problem.get("errors", [])] == ([code] if code else [])
    assert "retry-after" not in problem
    assert (await client.get("/models/activations")).json() == []
    assert (await predict(client))["model_version"] == DEFAULT


async def test_the_active_version_is_neither_activated_nor_shadowed(admin: httpx.AsyncClient) -> None:
    """To decide what is so already is a conflict."""
    problem_of(await admin.post(f"/models/{DEFAULT}/shadow", json=REASON), 409)
    await decide(admin, "/models/milder/activate")
    for use in ("activate", "shadow"):
        problem = problem_of(await admin.post(f"/models/milder/{use}", json=REASON), 409)
        assert problem["errors"][0]["code"] == "already-active"


async def test_of_those_who_decide_at_once_one_is_first(admin: httpx.AsyncClient) -> None:
    """The others are told that something has changed meanwhile; the log has no gap."""
    responses = await asyncio.gather(
        *(admin.post(f"/models/{version}/activate", json=REASON) for version in ("milder", "sterner") * 3)
    )
    refused = [response for response in responses if response.status_code != 200]
    for response in refused:
        assert problem_of(response, 409)["errors"][0]["code"] in {"changed-meanwhile", "already-active"}
    log = (await admin.get("/models/activations")).json()
    assert [entry["number"] for entry in log] == list(range(1, len(responses) - len(refused) + 1))


@pytest.mark.parametrize("reason", [None, "", " ", "two\nlines", "nul\0", "x" * 501, "x\n", 7])
async def test_a_decision_needs_a_reason(admin: httpx.AsyncClient, reason: object) -> None:
    """A reason is one line of text, and must be there."""
    problem = problem_of(await admin.post("/models/milder/activate", json={"reason": reason}), 422)
    assert problem["errors"][0]["pointer"] == "/reason"
    problem_of(await admin.post("/models/rollback", json={}), 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/models/milder/activate"),
        ("POST", "/models/rollback"),
        ("POST", "/models/milder/shadow"),
        ("DELETE", "/models/shadow"),
    ],
)
async def test_only_an_admin_decides(client: httpx.AsyncClient, method: str, path: str) -> None:
    """An analyst is refused, and nothing changes."""
    problem_of(await client.request(method, path, json=REASON if method == "POST" else None), 403)
    assert (await client.get("/models/activations")).json() == []


async def test_a_replica_that_refuses_goes_on_and_says_so(
    settings: Settings, admin: httpx.AsyncClient, tmp_path: Path, models_dir: Path
) -> None:
    """Where the active version is not there or was tampered with, the old one goes on; readiness and metrics tell."""
    incomplete = shutil.copytree(models_dir, tmp_path / "models")
    shutil.rmtree(incomplete / "milder")
    (incomplete / "sterner" / "model.joblib").write_bytes(b"")
    async with replica(settings, models_dir=str(incomplete)) as other, connect(other, Role.ANALYST) as elsewhere:

        async def lags() -> bool:
            return (await elsewhere.get("/readyz")).json()["checks"]["model"] == "lagging"

        assert not await lags()
        for version in ("milder", "sterner"):
            await decide(admin, f"/models/{version}/activate")
            await answers(admin, version)
            await within(PROMISED, lags)
            assert (await elsewhere.get("/readyz")).status_code == 200
            assert (await predict(elsewhere))["model_version"] == DEFAULT
            samples = await metrics(elsewhere)
            assert samples["churn_model_lagging",] == 1
            assert samples["churn_model_info", "active", DEFAULT] == 1
        await decide(admin, f"/models/{DEFAULT}/activate")

        async def keeps_up() -> bool:
            return not await lags()

        await within(PROMISED, keeps_up)
        assert (await metrics(elsewhere))["churn_model_lagging",] == 0


async def test_a_new_process_that_refuses_serves_what_it_ships_with(
    settings: Settings, admin: httpx.AsyncClient
) -> None:
    """A process without the active version has no old one: its own default answers, and it says that it lags."""
    await decide(admin, "/models/milder/activate")
    async with replica(settings, models_dir=str(SHIPPED)) as other, connect(other, Role.ANALYST) as elsewhere:
        assert (await predict(elsewhere))["model_version"] == DEFAULT
        assert (await elsewhere.get("/readyz")).json()["checks"]["model"] == "lagging"


async def test_without_any_model_the_service_says_so(settings: Settings, tmp_path: Path) -> None:
    """No model is 503 on a prediction and in readiness, and everything else works."""
    async with replica(settings, models_dir=str(tmp_path)) as app, connect(app, Role.ANALYST) as client:
        for path in ("/predict", "/explain/what-if"):
            problem_of(await client.post(path, json=LEAVER), 503)
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["checks"]["model"]) == (503, "failed")
        assert (await client.get("/models")).json()["items"] == []


async def test_the_shadow_scores_what_was_answered(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """The shadow's probability is stored beside each prediction, and the comparison reports how both agree."""
    pair = {"a": DEFAULT, "b": "milder"}
    unseen = (await client.get("/models/compare", params=pair)).json()["agreement"]
    await decide(admin, "/models/milder/shadow")

    async def has_shadow() -> bool:
        return (await client.get("/models")).json()["serving"]["shadow"] == "milder"

    await within(PROMISED, has_shadow)
    answered = [await predict(client) for _ in range(5)]
    assert {answer["model_version"] for answer in answered} == {DEFAULT}

    async def scored() -> dict[str, Any] | None:
        agreement = (await client.get("/models/compare", params=pair)).json()["agreement"]
        return agreement if agreement["n"] == unseen["n"] + 5 else None

    agreement = await within(5, scored)
    assert 0 < agreement["mean_absolute_difference"] < 1
    assert agreement["equal_classes"] == 0
    samples = await metrics(client)
    assert samples["churn_model_info", "shadow", "milder"] == 1
    assert samples["churn_shadow_scores_total", "disagreed"] == 5

    response = await admin.delete("/models/shadow")
    assert (response.status_code, response.json()["shadow"]) == (200, None)
    assert problem_of(await admin.delete("/models/shadow"), 409)["errors"][0]["code"] == "nothing-to-undo"


async def test_a_shadow_that_is_activated_is_no_shadow_any_more(admin: httpx.AsyncClient) -> None:
    """Its promotion is one decision, and a rollback does not bring the shadow back."""
    await decide(admin, "/models/milder/shadow")
    assert (await decide(admin, "/models/milder/activate"))["shadow"] is None
    assert (await decide(admin, "/models/rollback"))["shadow"] is None


async def test_compares_what_was_measured(client: httpx.AsyncClient) -> None:
    """Figures of training stand side by side, with their difference; an unknown version is 404, none at all 422."""
    comparison = (await client.get("/models/compare", params={"a": DEFAULT, "b": "sterner"})).json()
    assert comparison["same_data"]
    assert {"roc_auc", "log_loss", "ece"} <= {metric["name"] for metric in comparison["metrics"]}
    assert all(metric["difference"] == 0 for metric in comparison["metrics"])
    problem_of(await client.get("/models/compare", params={"a": DEFAULT, "b": "nothing"}), 404)
    problem_of(await client.get("/models/compare", params={"a": DEFAULT}), 422)


@pytest.mark.parametrize(
    ("language", "raises"),
    [("fr", "Heures supplémentaires : augmente le risque"), ("en", "Overtime: raises the risk")],
)
async def test_each_factor_has_a_sentence(client: httpx.AsyncClient, language: str, raises: str) -> None:
    """A prediction says in words what each feature does, in either language, and so does the history."""
    headers = {"accept-language": language}
    answer = (await client.post("/predict", json=LEAVER, headers=headers)).json()
    sentences = {item["feature"]: item["sentence"] for item in answer["contributions"]}
    assert sentences["heures_supp"] == raises
    assert len(set(sentences.values())) == 11
    explained = (await client.post("/explain/what-if", json=LEAVER, headers=headers)).json()["explanation"]
    assert {factor["feature"]: factor["sentence"] for factor in explained["factors"]} == sentences
    remembered = await client.get(f"/predictions/{answer['id']}", headers=headers)
    assert remembered.json()["contributions"] == answer["contributions"]


async def test_says_what_would_lower_the_risk(client: httpx.AsyncClient) -> None:
    """Each lever, pulled, gives exactly the probability that was promised; the answer says what it does not promise,
    and nothing is remembered."""
    newest = (await client.get("/predictions", params={"limit": 1})).json()["items"]
    response = await client.post("/explain/what-if", json=LEAVER)
    assert response.status_code == 200
    answer = response.json()
    assert (await client.get("/predictions", params={"limit": 1})).json()["items"] == newest
    assert "pas des promesses" in answer["caveat"]
    assert answer["explanation"]["baseline"].startswith("Dans la population")
    assert answer["probability"] == (await predict(client))["probability"]
    assert {"heures_supp", "satisfaction_equilibre"} <= {change["feature"] for change in answer["changes"]}
    for change in answer["changes"]:
        changed = (await client.post("/predict", json=LEAVER | {change["feature"]: change["value"]})).json()
        assert changed["probability"] == change["probability"] < answer["probability"]
        assert changed["prediction"] == (not change["below_threshold"])
        assert change["sentence"]


async def test_a_wrong_employee_is_explained_to_nobody(client: httpx.AsyncClient) -> None:
    """The body is checked as that of a prediction."""
    assert problem_of(await client.post("/explain/what-if", json=LEAVER | {"age": 17}), 422)["errors"]
