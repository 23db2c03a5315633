"""Jinja2 for the pages: every string is escaped, what no screen shows is made visible, an unknown name is an error."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from ivr.card.templates import strict_environment
from ivr.report.page.parts import Document, Figure, Shown, Token, Tokens

HERE = Path(__file__).parent


def visible(value: Any) -> Any:
    """Text with control characters and lone line ends spelt out; anything else as it is.

    >>> visible("a\\x00b\\u202e")
    'a\\\\x00b\ufffd'
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" if ord(character) < 256 else "\ufffd"
        for character in value
    )


@cache
def environment() -> Environment:
    """The templates of this folder. `finalize` is asked for every expression, before it is escaped."""
    made = strict_environment(HERE / "templates", finalize=visible, html=True)
    made.globals["kind_of"] = kind_of
    return made


def kind_of(cell: Any) -> str:
    """How the templates show a cell."""
    kinds = {Figure: "figure", Shown: "shown", Token: "token", Tokens: "tokens"}
    return kinds.get(type(cell), "text")


def render(document: Document) -> str:
    """The page, self-contained: a policy in it lets no script run but its own, and nothing be loaded."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            document=document,
            style=Markup(style),  # noqa: S704 - files of this package
            script=Markup(script),  # noqa: S704
            policy=policy,
        )
    )
