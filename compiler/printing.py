"""The templates, and how they are filled in: names and values quoted, bodies that nothing ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined

from rescore.compiler.quoting import ident, literal
from rescore.errors import BadDefinition

QUOTE = "$rescore$"
# Stands for the quote until everything is filled in; no text of PostgreSQL or YAML can hold it.
_MARK = "\0rescore\0"


class _Marked(PackageLoader):
    """Templates whose own quotes can be told from those that a value brings along."""

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool] | None]:
        source, filename, uptodate = super().get_source(environment, template)
        return source.replace(QUOTE, _MARK), filename, uptodate


@cache
def _environment() -> Environment:
    loader: BaseLoader = _Marked("rescore.compiler", "templates")
    made = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters["ident"] = ident
    made.filters["literal"] = literal
    made.filters["path"] = lambda names: ident(*names)
    return made


def printed(template: str, **given: Any) -> str:
    """Return a template's SQL; identifiers and literals are quoted by psycopg, as filters.

    Raises
    ------
    BadDefinition: a name or condition holds the quote of function bodies.
    """
    text = _environment().get_template(template).render(**given).strip() + "\n"
    if QUOTE in text:
        raise BadDefinition(
            f"the definition holds the text {QUOTE}",
            detail="It quotes the bodies of the generated functions.",
            hint="Write the condition or name without it.",
        )
    return text.replace(_MARK, QUOTE)
