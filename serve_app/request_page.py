"""The page behind a request's link: what is asked, and a form to answer it. No script; everything shown is escaped."""

from collections.abc import Mapping
from html import escape
from typing import Any

from store.inbox import Asked
from workflow.answers import actions_of, link_is_enough
from workflow.waiting import RequestStatus, RequestType

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }}
h1 {{ font-size: 1.4rem }} pre {{ white-space: pre-wrap; font: inherit }}
label {{ display: block; margin: .8rem 0 .2rem }} input, textarea, select {{ font: inherit; width: 100%; box-sizing: border-box }}
input[type=checkbox] {{ width: auto }} button {{ font: inherit; padding: .5rem 1.2rem; margin: 1rem .5rem 0 0 }}
.error {{ background: #fde8e8; padding: .6rem 1rem }} .done {{ background: #e6f4ea; padding: .6rem 1rem }}
</style></head><body><h1>{title}</h1>
"""
FOOT = "</body></html>"
DATA = "data."
"""Before the names of the form's own fields, so that they cannot clash with the others."""
WORDS = {"approve": "Approve", "reject": "Reject"}


def page(asked: Asked, error: str = "") -> str:
    """Return the page; with what was wrong with the last answer, if it was refused."""
    title = escape(asked.title or "A question for you")
    parts = [HEAD.format(title=title)]
    if error:
        parts.append(f'<p class="error">{escape(error)}</p>')
    if asked.message:
        parts.append(f"<pre>{escape(asked.message)}</pre>")
    if asked.open.status is not RequestStatus.PENDING:
        parts.append(f'<p class="done">This is {escape(asked.open.status.value)}. Thank you.</p>')
    elif asked.open.type is RequestType.WEBHOOK:
        parts.append("<p>This link is for programs: it waits for a POST with JSON.</p>")
    elif not link_is_enough(asked.open):
        parts.append(
            "<p>Several people have to approve this, so it is not answered here, but by each of them in the API.</p>"
        )
    else:
        parts.append(_form(asked))
    return "".join([*parts, FOOT])


def filled_in(asked: Asked, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return `action`, `data` and `comment` of a form that was sent, its fields typed as the request's schema says."""
    data = {}
    for name, schema in _properties(asked).items():
        given = fields.get(DATA + name, "")
        if schema.get("type") == "boolean":
            data[name] = given == "on"
        elif given != "":
            data[name] = _typed(given, schema)
    return {"action": fields.get("action", ""), "data": data or None, "comment": fields.get("comment", "")}


def _form(asked: Asked) -> str:
    inputs = "".join(_input(name, schema, asked) for name, schema in _properties(asked).items())
    comment = '<label>Comment<textarea name="comment" rows="3"></textarea></label>'
    if asked.open.type is RequestType.FORM:
        comment = ""
    labels = {str(option["id"]): str(option.get("label") or option["id"]) for option in asked.open.options}
    buttons = "".join(
        f'<button name="action" value="{escape(action)}">{escape(labels.get(action, WORDS.get(action, action)))}</button>'
        for action in actions_of(asked.open)
    )
    return f'<form method="post">{inputs}{comment}{buttons or "<button>Send</button>"}</form>'


def _input(name: str, schema: Mapping[str, Any], asked: Asked) -> str:
    required = " required" if name in asked.open.form_schema.get("required", ()) else ""
    label, field = escape(str(schema.get("title") or name)), escape(DATA + name)
    options = schema.get("enum")
    if isinstance(options, list):
        chosen = "".join(f"<option>{escape(str(option))}</option>" for option in options)
        control = f'<select name="{field}"{required}><option></option>{chosen}</select>'
    elif schema.get("type") == "boolean":
        control = f'<input type="checkbox" name="{field}">'
    elif schema.get("type") in ("integer", "number"):
        step = "1" if schema["type"] == "integer" else "any"
        control = f'<input type="number" step="{step}" name="{field}"{required}>'
    else:
        control = f'<input type="text" name="{field}"{required}>'
    return f"<label>{label} {control}</label>"


def _properties(asked: Asked) -> dict[str, Mapping[str, Any]]:
    found = asked.open.form_schema.get("properties", {})
    return {str(name): schema for name, schema in found.items() if isinstance(schema, dict)}


def _typed(given: str, schema: Mapping[str, Any]) -> Any:
    """Return a field's value as its schema types it; what is no number stays text, for the check to say so."""
    for option in schema.get("enum") or ():
        if str(option) == given:
            return option
    if schema.get("type") in ("integer", "number"):
        try:
            return int(given) if schema["type"] == "integer" else float(given)
        except ValueError:
            return given
    return given
