"""The OpenAPI document and the three ways to read it, all from our own server."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from litestar import Request, Response, Router, get
from litestar.constants import OPENAPI_JSON_HANDLER_NAME
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import (
    JsonRenderPlugin,
    OpenAPIRenderPlugin,
    RedocRenderPlugin,
    ScalarRenderPlugin,
    SwaggerRenderPlugin,
)
from litestar.openapi.spec import Components, License, SecurityScheme, Tag
from litestar.types import ControllerRouterHandler

from churn.http.operation import true_document
from churn.http.pages.assets import asset_url
from churn.http.pages.response import public_page

_DESCRIPTION: Final = """\
Estime la probabilité qu'un employé quitte l'entreprise, dit ce qui pèse dans cette estimation, \
enregistre chaque prédiction avant d'y répondre, et signale quand il ne faut pas la croire.

**Une aide à la décision, jamais une décision.** Une prédiction se discute avec la personne concernée ; \
elle ne justifie à elle seule aucune mesure.

Les erreurs sont des problèmes au sens de la RFC 9457 (`application/problem+json`), en français, ou en \
anglais sous `Accept-Language: en`.
"""
_INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]* src=)[^>]*>(.*?)</script>", re.DOTALL)
_SCALAR_OPTIONS: Final = {
    "agent": {"disabled": True},
    "defaultHttpClient": {"targetKey": "shell", "clientKey": "curl"},
    "documentDownloadType": "json",
    "hideClientButton": True,
    "localization": {"locale": "fr"},
    "mcp": {"disabled": True},
    "showDeveloperTools": "never",
    "telemetry": False,
    "withDefaultFonts": False,
}


class _EmptyRouter(Router):
    """Stands in for the router that Litestar would fill, which takes `/` and answers every unknown path."""

    def register(self, value: ControllerRouterHandler) -> list[Any]:
        """Refuses every handler: `documentation_handlers` has what we serve."""
        return []


def openapi_config() -> OpenAPIConfig:
    """What the OpenAPI document says about the service as a whole."""
    return OpenAPIConfig(
        title="churn",
        version=version("churn"),
        summary="Prédire le départ d'un employé, et dire pourquoi.",
        description=_DESCRIPTION,
        license=License(name="MIT", identifier="MIT"),
        components=Components(
            security_schemes={
                "basic": SecurityScheme(
                    type="http", scheme="basic", description="Nom et mot de passe d'un compte du service."
                )
            }
        ),
        tags=[
            Tag(name="Prédictions", description="Prédire, et relire ce qui a été prédit."),
            Tag(name="Suivi", description="Ce qu'il est advenu, et ce que des personnes en concluent."),
            Tag(name="Surveillance", description="Peut-on encore croire le modèle ?"),
            Tag(name="Personnes", description="Tout ce qui est gardé d'une personne : l'exporter, l'effacer."),
            Tag(name="Comptes", description="Les comptes et leurs rôles, pour les administrateurs."),
            Tag(name="Modèles", description="Les versions du modèle : ce qu'elles valent, et laquelle répond."),
            Tag(name="Open Inference Protocol", description="Les mêmes prédictions, pour les clients de ce protocole."),
            Tag(name="Exploitation", description="Santé et mesures du service."),
        ],
        render_plugins=[JsonRenderPlugin()],
        openapi_router=_EmptyRouter("/", route_handlers=[]),
    )


def documentation_handlers() -> list[HTTPRouteHandler]:
    """`/openapi.json`, `/docs`, `/redoc` and `/scalar`."""
    # In place of Litestar's defaults, which come from other hosts.
    favicon = f'<link rel="icon" type="image/svg+xml" href="{asset_url("favicon.svg")}">'
    style = f'<link rel="stylesheet" href="{asset_url("documentation.css")}">'
    return [
        openapi_json,
        _documentation_page(
            SwaggerRenderPlugin(
                path="/docs",
                js_url=asset_url("swagger-ui.js"),
                css_url=asset_url("swagger-ui.css"),
                standalone_preset_js_url=asset_url("swagger-ui-preset.js"),
                favicon=favicon,
                style=f'{style}<script src="{asset_url("swagger-dark.js")}"></script>',
            ),
            {},
        ),
        _documentation_page(
            RedocRenderPlugin(
                path="/redoc", js_url=asset_url("redoc.js"), google_fonts=False, favicon=favicon, style=style
            ),
            # ReDoc and Scalar write style sheets at run time; ReDoc searches in a worker.
            {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"},
        ),
        _documentation_page(
            ScalarRenderPlugin(
                path="/scalar",
                js_url=asset_url("scalar.js"),
                css_url=asset_url("scalar.css"),
                options=_SCALAR_OPTIONS,
                favicon=favicon,
                style=style,
            ),
            {"style-src": "'self' 'unsafe-inline'"},
        ),
    ]


@get(
    "/openapi.json",
    name=OPENAPI_JSON_HANDLER_NAME,
    media_type=OpenAPIMediaType.OPENAPI_JSON,
    include_in_schema=False,
    opt={"exclude_from_auth": True},
    sync_to_thread=False,
)
def openapi_json(request: Request[object, object, Any]) -> bytes:
    """The OpenAPI 3.1 document."""
    return JsonRenderPlugin.render_json(request, true_document(request.app))


def _documentation_page(plugin: OpenAPIRenderPlugin, allowed: Mapping[str, str]) -> HTTPRouteHandler:
    @get(plugin.paths, include_in_schema=False, opt={"exclude_from_auth": True}, sync_to_thread=False)
    def documentation_page(request: Request[object, object, Any]) -> Response[str | bytes]:
        content = plugin.render(request, true_document(request.app))
        content = content.replace(b"<html>", b'<html lang="fr">', 1)
        # Litestar starts each library from an inline script; its digest lets that script run, and no other.
        digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(content))
        inline = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
        return public_page(
            content,
            {
                "connect-src": "'self'",
                "font-src": "'self' data:",
                "img-src": "'self' data:",
                "script-src": f"'self' {inline}",
                "style-src": "'self'",
                **allowed,
            },
        )

    return documentation_page
