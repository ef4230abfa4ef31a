"""Takes the pictures of the console for the documentation: `python -m tests.browser.screenshots`."""

import random
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.browser.conftest import ARGUMENTS, CHROMIUM, ROOT, running_service

FOLDER = ROOT / "docs/console"
TITLES = (
    "employee_ref;age;revenu_mensuel;distance_domicile_travail;satisfaction_environnement;heures_supp;annees_promo;"
    "satisfaction_equilibre;pee;poste_actuel;anciennete;exp_totale"
)
PERSON = ("E-1024", 34, 4200, 18, 2, "Oui", 3, 2, 0, 2, 4, 9)


def people(number: int) -> bytes:
    """A file of people made up, the same each time."""
    draw = random.Random(7)
    lines = [TITLES, ";".join(map(str, PERSON))]
    for n in range(number):
        age = draw.randint(20, 60)
        experience = draw.randint(0, age - 19)
        tenure = draw.randint(0, experience)
        row = (
            f"E-{2000 + n}",
            age,
            round(draw.lognormvariate(8.6, 0.5)),
            draw.randint(1, 29),
            draw.randint(1, 4),
            draw.choice(("Oui", "Non", "Non")),
            draw.randint(0, min(tenure, 15)),
            draw.randint(1, 4),
            draw.randint(0, 3),
            draw.randint(0, min(tenure, 18)),
            tenure,
            experience,
        )
        lines.append(";".join(map(str, row)))
    return "\n".join(lines).encode()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    model = (ROOT / "models/ACTIVE").read_text(encoding="utf-8").strip()
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as service, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB", base_url=service.url)

        def picture(
            name: str, address: str = "", *, height: int = 900, width: int = 1280, scheme: str = "light"
        ) -> None:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            if address:
                page.goto(address)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=FOLDER / f"{name}.png", scale="css")

        picture("sign-in", "/console/sign-in", height=640)
        page.locator("#username").fill(service.username)
        page.locator("#password").fill(service.password)
        page.locator("main button").click()
        picture("form", "/console", height=1100)
        page.goto("/console/file")
        page.locator("#file").set_input_files({"name": "people.csv", "mimeType": "text/csv", "buffer": people(300)})
        page.locator("[data-preview] table").wait_for()
        picture("file")
        page.locator("main form button").click()
        page.locator("#ranking").wait_for()
        picture("ranking", height=1100)
        page.goto("/console/history?ref=E-1024")
        page.locator(".gauge a").click()
        picture("person", height=1000)
        picture("person-phone", height=844, width=390, scheme="dark")
        picture("history", "/console/history", scheme="dark")
        picture("monitoring", "/console/monitoring", height=1200)
        picture("model", f"/console/models/{model}", height=1000)
        browser.close()


if __name__ == "__main__":
    main()
