"""Reads every file of a directory with little memory and time, and says what came of each.

Run as a program of its own: ``python bounded.py DIRECTORY``. One line of JSON for each file; a
file that takes the process down has no line.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rescore.errors import ArtefactRefused
from rescore.plpython import artifact

MEMORY = 3 * 2**30
"""Address space, of which the libraries alone take one."""
SECONDS = 60

# What Python itself reports of code that does more than compute. Names are imported by the
# unpickler only after they were compared with the list.
_DEEDS = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "exec", "open", "import")
_deeds: list[str] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_DEEDS) or event == "pickle.find_class":
        _deeds.append(f"{event} {arguments!r:.200}")


def _read(path: Path) -> str:
    try:
        loaded, _ = artifact.load_with_warnings(path.read_bytes(), path.suffix[1:])  # type: ignore[arg-type]
    except ArtefactRefused as error:
        return f"refused: {error.message}"
    return f"loaded {type(loaded).__name__}"


def _results(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        signal.alarm(SECONDS)  # nobody handles it: the process ends
        started = time.monotonic()
        _deeds.clear()
        outcome = _read(path)
        own = f"open ({str(path)!r}"
        yield {
            "name": path.name,
            "outcome": outcome,
            "deeds": [deed for deed in _deeds if not deed.startswith(own)],
            "seconds": time.monotonic() - started,
        }


def main(directory: Path) -> None:
    """Read the good files first: what the libraries import they import then."""
    paths = sorted(directory.iterdir())
    for path in paths:
        if path.name.startswith("good"):
            _read(path)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.addaudithook(_listen)
    for result in _results(paths):
        print(json.dumps(result), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"name": "", "peak": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
