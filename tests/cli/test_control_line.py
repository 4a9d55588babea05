"""The client end of the control socket, with servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.cli import operator
from holdfast.cli.operator import ControlClient, EngineRefused, NoEngine
from holdfast.control_address import LONGEST_BYTES, control_address
from holdfast.errors import ConfigError, HoldfastError

Serve = Callable[[Path, bytes | None], None]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers every question with the same bytes; None: never."""
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(state_dir: Path, answer: bytes | None) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(control_address(state_dir))
        listener.listen()
        opened.append(listener)

        def once() -> None:
            connection, _ = listener.accept()
            opened.append(connection)
            connection.makefile("rb").readline()
            if answer is not None:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_RDWR)

        threads.append(threading.Thread(target=once))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(10)
    for one in opened:
        one.close()


def test_nobody_listens(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        with pytest.raises(NoEngine):
            ControlClient(folder).ask("status")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(control_address(tmp_path))
    with pytest.raises(NoEngine):
        ControlClient(tmp_path).ask("status")


def test_an_answer_and_a_refusal(tmp_path: Path, serve: Serve) -> None:
    serve(tmp_path, b'{"ok": true, "result": {"state": "HEALTHY"}}\n')
    assert ControlClient(tmp_path).ask("status") == {"state": "HEALTHY"}
    (tmp_path / "control.sock").unlink()
    serve(tmp_path, b'{"ok": false, "error": "the venue is away"}\n')
    with pytest.raises(EngineRefused, match="the venue is away"):
        ControlClient(tmp_path).ask("flatten", symbol=None)


def test_an_engine_that_dies_before_it_answers(tmp_path: Path, serve: Serve) -> None:
    serve(tmp_path, b'{"ok": tr')
    with pytest.raises(HoldfastError, match=r"ended before it answered.*not known"):
        ControlClient(tmp_path).ask("halt", reason="x")


def test_an_engine_that_hangs(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "ANSWER_TIMEOUT_SECONDS", 0.1)
    serve(tmp_path, None)
    with pytest.raises(HoldfastError, match=r"did not answer.*not known"):
        ControlClient(tmp_path).ask("halt", reason="x")


def test_a_short_folder_holds_its_socket_and_a_long_one_a_link_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert control_address(Path("/s")) == "/s/control.sock"
    long = tmp_path.joinpath(*["x" * 60] * 3)
    long.mkdir(parents=True)
    address = Path(control_address(long))
    assert len(str(address)) <= LONGEST_BYTES
    assert address.parent.resolve() == long.resolve()
    assert control_address(long) == str(address)
    monkeypatch.chdir(long)
    assert control_address(Path()) == str(address)
    address.parent.unlink()


def test_a_link_of_another_hand_is_not_followed(tmp_path: Path) -> None:
    long = tmp_path.joinpath(*["y" * 60] * 3)
    long.mkdir(parents=True)
    link = Path(control_address(long)).parent
    link.unlink()
    link.symlink_to(tmp_path)
    try:
        with pytest.raises(ConfigError, match="is in the way"):
            control_address(long)
    finally:
        link.unlink()
