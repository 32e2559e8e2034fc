"""What Ctrl-C and SIGTERM do to a command; imports nothing heavy, to be in place at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Terminated(KeyboardInterrupt):
    """A command was told to end: what is done on Ctrl-C is done on SIGTERM, too."""


class Interrupted(KeyboardInterrupt):
    """A command was ended where there is something to say of how to go on."""

    def __init__(self, hint: str) -> None:
        super().__init__(hint)
        self.hint = hint


@contextmanager
def interrupted(hint: str) -> Iterator[None]:
    """Give who ends the block, by Ctrl-C or SIGTERM, this hint; an inner one goes first."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(hint) from stop


def hint_of(stop: BaseException | None) -> str:
    """Return the hint of what ended a command, or of what that came of; empty for none."""
    while stop is not None and not isinstance(stop, Interrupted):
        stop = stop.__cause__ or stop.__context__
    return "" if stop is None else stop.hint


@contextmanager
def terminable() -> Iterator[Event]:
    """Raise `Terminated` on SIGTERM; yield an event that tells it afterwards."""
    ended = Event()

    def told(number: int, frame: FrameType | None) -> None:
        ended.set()
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield ended
        return
    before = signal.signal(signal.SIGTERM, told)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


class Stop(Event):
    """Set when a command is told to stop, which it does by itself once it has `begun`."""

    begun = False


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Yield what SIGTERM and SIGINT set; the second of them interrupts at once.

    What has not begun is left at once by the first, and that is no failure.
    """
    stop = Stop()

    def told(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            earlier = before[number]
            if callable(earlier):  # which knows what SIGTERM ends with
                earlier(number, frame)
            raise KeyboardInterrupt
        stop.set()
        if not stop.begun:
            raise Terminated

    before = {each.value: signal.signal(each, told) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    except Terminated:
        if stop.begun:  # by a second signal
            raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
