"""The page at `/docs`: addresses, options and examples. It loads nothing from other servers."""

from collections.abc import Sequence
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
pre { background: #8882; border-radius: 6px; overflow-x: auto; padding: .75rem; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
table { border-collapse: collapse; margin-bottom: 1rem; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .75rem .25rem 0;
  text-align: left; vertical-align: top; }
section { border-top: 1px solid #8886; margin-top: 1.5rem; } h2 code { font-size: 1rem; }
.table { overflow-x: auto; }
"""
EXAMPLES = """curl -F image=@shirt.png '{address}'
curl -F image=@shirt.png -F image=@shoe.png '{address}?top=5'
curl -H 'Content-Type: application/json' -d '{{"images": ["BASE64"]}}' '{address}'
curl -H 'Accept: image/png' --data-binary @shirt.png -H 'Content-Type: image/png' '{address}?explain=1' -o map.png"""


def page(description: dict[str, Any], models: Sequence[str], base: str) -> HTMLResponse:
    """Return the page.

    Args:
        description: The service as OpenAPI describes it.
        models: Names of the models.
        base: Address of the service, as http://127.0.0.1:8000.
    """
    address = "/predict" if len(models) == 1 else f"/models/{models[0]}/predict"
    examples = EXAMPLES.format(address=f"{base}{address}")
    sections = "".join(
        _section(path, method, facts)
        for path, methods in description["paths"].items()
        for method, facts in methods.items()
    )
    body = (
        f"<main><h1>Convwright service</h1><p>Models: {escape(', '.join(models))}. The same as JSON for programs: "
        '<a href="openapi.json">openapi.json</a> (OpenAPI). With a token, add '
        "<code>-H 'Authorization: Bearer TOKEN'</code>.</p>"
        f"<h2>Examples</h2><pre tabindex=0><code>{escape(examples)}</code></pre>{sections}</main>"
    )
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    html = (
        f'<!doctype html><html lang="en"><head>{head}<title>Convwright service</title></head><body>{body}</body></html>'
    )
    return HTMLResponse(html, headers=HEADERS)


def _section(path: str, method: str, facts: dict[str, Any]) -> str:
    options = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each.get('description', 'Name of the model.'))}"
        "</td></tr>"
        for each in facts.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in sorted(facts["responses"].items())
        if answer["description"] != "Validation Error"
    )
    kinds = ", ".join(facts.get("requestBody", {}).get("content", ()))
    body = f"<p>Body: {escape(kinds)}</p>" if kinds else ""
    table = f"<table><tr><th>option</th><th>meaning</th></tr>{options}</table>" if options else ""
    return (
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(facts['description'])}</p>{body}"
        f'<div class="table">{table}<table><tr><th>status</th><th>meaning</th></tr>{answers}</table></div></section>'
    )
