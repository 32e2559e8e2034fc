"""Whom alerts are told: a command on its input, a webhook in a request."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from threading import Event
from typing import Any

from rescore.trainer.alert_rules import Tell

LOOK_SECONDS = 0.2  # at a command that runs


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses to be sent elsewhere: that would ask for another page, without what is told."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_POSTING = urllib.request.build_opener(_NoRedirects)


def tell(whom: Tell, text: str, done: set[str], stop: Event) -> str:
    """Run the command and post to the webhook; return why one failed, empty when none did.

    Parameters
    ----------
    done: which of the two have been told; those are not told again, and who is told now is added.
    stop: once set, the command is ended; it is told again when the runner is back.
    """
    failed = []
    for name, way in _WAYS.items():
        if getattr(whom, name) is None or name in done:
            continue
        try:
            way(whom, text.encode(), stop)
            done.add(name)
        # An address that is none is a ValueError, an answer that is none an HTTPException.
        except (OSError, subprocess.SubprocessError, HTTPException, ValueError) as error:
            failed.append(f"could not tell: {error}")
    return "; ".join(failed)


def _run(whom: Tell, text: bytes, stop: Event) -> None:
    """Run the command; raise when it fails, or is not done in time."""
    command: Sequence[str] = whom.command or ()
    until, given = time.monotonic() + whom.timeout, text or None
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while process.returncode is None:
            left = until - time.monotonic()
            if left <= 0 or stop.is_set():
                process.kill()
                raise subprocess.TimeoutExpired(command, whom.timeout)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(given, timeout=min(left, LOOK_SECONDS))
            given = None  # it has been given, or is about to be
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _post(whom: Tell, text: bytes, stop: Event) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(whom.webhook or "", text, headers)
    _POSTING.open(request, timeout=whom.timeout).close()


_WAYS = {"command": _run, "webhook": _post}
