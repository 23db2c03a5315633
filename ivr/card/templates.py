"""Jinja2 as the model card and the report's pages take it: an undefined name is an error, and blocks leave no lines."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def strict_environment(folder: Path, finalize: Callable[[Any], Any], html: bool) -> "Environment":
    """The templates of a folder.

    Args:
        folder: where they are.
        finalize: asked for every expression, before it is escaped.
        html: escape for HTML; without it `finalize` is the only way a value comes in, and must escape it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,  # noqa: S701 Markdown is escaped by `finalize`
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
