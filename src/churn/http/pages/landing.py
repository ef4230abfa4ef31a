"""The first page: what the service does, and how to try it."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, get

from churn.domain.language import Language
from churn.http.language import language_of
from churn.http.pages.assets import asset_url
from churn.http.pages.response import public_page
from churn.http.predictions import EXAMPLE

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["asset"] = asset_url

_TEXTS: Final[dict[Language, dict[str, Any]]] = {
    Language.FR: {
        "title": "churn · Qui pourrait partir, et pourquoi",
        "skip": "Aller au contenu",
        "question": "Qui pourrait partir, et pourquoi\u00a0?",
        "lead": "churn estime la probabilité qu’une personne quitte l’entreprise et montre ce qui pèse dans cette "
        "estimation, pour que vous puissiez en parler à temps.",
        "console": "Ouvrir la console",
        "try": "Essayer en une commande",
        "read": "Lire la documentation",
        "figure": "À quoi ressemble une réponse",
        "risk": "Risque de départ élevé",
        "lowers": "réduit le risque",
        "raises": "augmente le risque",
        "factors": (
            ("Heures supplémentaires", 44),
            ("Revenu mensuel", 30),
            ("Environnement de travail", 21),
            ("Années au poste actuel", -14),
            ("Distance domicile-travail", 9),
        ),
        "caption": "Illustration. Chaque vraie réponse donne la probabilité et la part exacte de chaque variable.",
        "does": "Ce que fait le service",
        "features": (
            ("Il prédit", "Onze informations que les RH ont déjà suffisent à estimer le risque de départ."),
            (
                "Il explique",
                "Chaque variable a sa part, et les parts s’additionnent exactement\u00a0: pas de boîte noire.",
            ),
            ("Il se souvient", "Chaque prédiction est enregistrée avant la réponse, et se relit telle qu’elle était."),
            (
                "Il doute",
                "Une valeur que le modèle n’a jamais vue est signalée\u00a0: c’est là qu’il faut moins le croire.",
            ),
        ),
        "notice": "Une aide à la décision, jamais une décision",
        "notice_text": "Une prédiction est une probabilité, pas un fait sur une personne. Elle invite à un "
        "échange\u00a0; elle ne justifie à elle seule aucune mesure. La décision, et son motif, restent humains.",
        "curl": "Essayer en une commande",
        "curl_text": "curl demandera le mot de passe du compte. La réponse contient la prédiction, la probabilité, le "
        "message et la part de chaque variable.",
        "command": "Commande curl",
        "copy": "Copier",
        "copied": "Copié",
        "links": "Aller plus loin",
        "pages": (
            ("/docs", "Swagger UI", "essayer chaque opération depuis le navigateur"),
            ("/scalar", "Scalar", "la même interface, avec des exemples dans chaque langage"),
            ("/redoc", "ReDoc", "la documentation de référence, à lire ou à imprimer"),
            ("/openapi.json", "OpenAPI 3.1", "le contrat, pour les machines"),
            ("/livez", "Vivant\u00a0?", "le processus répond"),
            ("/readyz", "Prêt\u00a0?", "base de données, migrations et modèle"),
        ),
        "licence": "logiciel libre, licence MIT",
    },
    Language.EN: {
        "title": "churn · Who might leave, and why",
        "skip": "Skip to content",
        "question": "Who might leave, and why?",
        "lead": "churn estimates the probability that a person leaves the company and shows what weighs in that "
        "estimate, so that you can talk about it in time.",
        "console": "Open the console",
        "try": "Try it in one command",
        "read": "Read the documentation",
        "figure": "What an answer looks like",
        "risk": "High risk of leaving",
        "lowers": "lowers the risk",
        "raises": "raises the risk",
        "factors": (
            ("Overtime", 44),
            ("Monthly income", 30),
            ("Work environment", 21),
            ("Years in current role", -14),
            ("Commute", 9),
        ),
        "caption": "An illustration. Each real answer gives the probability and the exact share of each feature.",
        "does": "What the service does",
        "features": (
            ("It predicts", "Eleven facts that HR already has are enough to estimate the risk of leaving."),
            ("It explains", "Each feature has its share, and the shares add up exactly: no black box."),
            ("It remembers", "Each prediction is stored before it is answered, and can be read again as it was."),
            ("It doubts", "A value that the model has never seen is pointed out: there it deserves less belief."),
        ),
        "notice": "Decision support, never a decision",
        "notice_text": "A prediction is a probability, not a fact about a person. It invites a conversation; it "
        "justifies no measure by itself. The decision, and its reason, stay human.",
        "curl": "Try it in one command",
        "curl_text": "curl will ask for the account’s password. The answer holds the prediction, the probability, the "
        "message and the share of each feature.",
        "command": "curl command",
        "copy": "Copy",
        "copied": "Copied",
        "links": "Go further",
        "pages": (
            ("/docs", "Swagger UI", "try every operation from the browser"),
            ("/scalar", "Scalar", "the same interface, with examples in every language"),
            ("/redoc", "ReDoc", "the reference, to read or to print"),
            ("/openapi.json", "OpenAPI 3.1", "the contract, for machines"),
            ("/livez", "Alive?", "the process answers"),
            ("/readyz", "Ready?", "database, migrations and model"),
        ),
        "licence": "free software, MIT licence",
    },
}


@get("/", include_in_schema=False, opt={"exclude_from_auth": True}, sync_to_thread=False)
def landing(request: Request[object, object, Any]) -> Response[str | bytes]:
    """The landing page in the language of the link that was followed, else in the browser's."""
    chosen = request.query_params.get("lang", "")
    language = Language(chosen) if chosen in Language else language_of(request)
    base_url = str(request.base_url).rstrip("/")
    content = _TEMPLATES.get_template("landing.html").render(
        _TEXTS[language],
        language=language,
        languages=((Language.FR, "Français"), (Language.EN, "English")),
        base_url=base_url,
        body=json.dumps(EXAMPLE),
        version=version("churn"),
    )
    return public_page(
        content,
        {"img-src": "'self'", "script-src": "'self'", "style-src": "'self'"},
        {"content-language": language, "vary": "Accept-Language"},
    )
