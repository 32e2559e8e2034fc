"""Generated functions that run as their owner (SECURITY DEFINER), and only as their owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

# Trigger functions need no guard: they run for whoever writes the tables, as other triggers do.
_DEFINER = re.compile(
    r"^(?P<head>CREATE OR REPLACE FUNCTION (?P<name>(?:\.?\"(?:[^\"]|\"\")+\")+)\([^\n]*\n"
    r"RETURNS (?!trigger)[^\n]*\n[^\n]* SECURITY DEFINER [^\n]*\nAS \$rescore\$\n"
    r"(?:#variable_conflict \w+\n)?)(?P<body>.*?)\n\$rescore\$;",
    re.MULTILINE | re.DOTALL,
)


def guarded(sql: str, guard: Callable[[str, str], str], inner: Collection[str]) -> str:
    """Return the SQL with a guard in every function that runs as its owner.

    An owner may alter such a function so that it runs as its caller, with a search_path of the
    owner's choice; a superuser who then rebuilds the profile would run the owner's code.

    Parameters
    ----------
    sql: what the templates printed.
    guard: returns the guarded body of a function, given its name and its own body.
    inner: names of functions that nobody but their owner may call.
    """

    def add(found: re.Match[str]) -> str:
        if found["name"] in inner:
            return found[0]
        return f"{found['head']}{guard(found['name'], found['body'])}$rescore$;"

    return _DEFINER.sub(add, sql)
