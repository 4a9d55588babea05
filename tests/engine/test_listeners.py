"""Users' listeners: plain functions, told in turn, harmless whatever they do."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from holdfast.listeners import Listeners


class Asynchronous:
    async def method(self, told: Any) -> None: ...

    async def __call__(self, told: Any) -> None: ...


@pytest.mark.parametrize(
    "listener",
    [
        Asynchronous().method,
        Asynchronous(),
        functools.partial(Asynchronous().method),
    ],
    ids=["method", "object", "partial"],
)
def test_an_asynchronous_listener_is_refused_with_the_remedy(listener: Any) -> None:
    with pytest.raises(TypeError, match=r"asynchronous.*Bot"):
        Listeners[str]().add(listener)


def test_what_only_turns_out_to_be_asynchronous_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A lambda does not show it. Warnings are errors here: the coroutine must not be dropped."""
    listeners: Listeners[str] = Listeners()
    told: list[str] = []
    listeners.add(lambda word: Asynchronous().method(word))
    listeners.add(told.append)
    listeners.tell("a")
    assert "was not run" in caplog.text
    assert told == ["a"]


def test_a_listener_that_raises_keeps_nobody_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listeners: Listeners[str] = Listeners()
    told: list[str] = []

    def broken(word: str) -> None:
        raise LookupError(word)

    listeners.add(broken)
    listeners.add(told.append)
    listeners.tell("a")
    assert told == ["a"]
    assert "a listener failed" in caplog.text


def test_ending_is_for_one_listener_and_may_be_done_twice_or_while_being_told() -> None:
    listeners: Listeners[str] = Listeners()
    told: list[str] = []
    ends = [listeners.add(lambda word: ends[0]()), listeners.add(told.append)]
    listeners.tell("a")
    listeners.tell("b")
    assert told == ["a", "b"]
    ends[1]()
    ends[1]()
    listeners.tell("c")
    assert told == ["a", "b"]
