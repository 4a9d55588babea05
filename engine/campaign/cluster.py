"""A Dask cluster as what a campaign runs on: other machines, by Dask's own executor.

Dask (the extra `dask`) does without an adapter, shows its own progress page, and gives the work of
a worker that has died to another one. Its workers need the same holdfast and the same Python as
here: with another one a seed is another run.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import metadata
from typing import Final
from urllib.parse import urlsplit

CONNECT_SECONDS: Final = 10


class ClusterError(Exception):
    """The cluster can not be used; the text says why, and what would help."""


@contextmanager
def executor_of(address: str) -> Iterator[Executor]:
    """The executor of the cluster whose scheduler is there, for as long as it is used.

    :param address: such as `tcp://10.0.0.7:8786`.
    :raises ClusterError: Dask is not installed here, nobody answers, or the workers are none or
        not alike.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"Dask is not installed ({error.name} is missing): pip install 'holdfast[dask]'"
        ) from None
    try:
        _ask_whether_anybody_listens(address)
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no scheduler of Dask answers at {address}: {error}") from None
    with client:
        try:
            found = client.run(code_of_this_process)
        except Exception as error:  # whatever it was, they can not run this
            raise ClusterError(
                f"the workers at {address} can not run holdfast; install it there: {error!r}"
            ) from None
        if not found:
            raise ClusterError(f"the scheduler at {address} has no workers; start some")
        here = code_of_this_process()
        for worker, code in found.items():
            if code != here:
                raise ClusterError(f"the worker {worker} runs {code}, and here it is {here}")
        yield client.get_executor()


def _ask_whether_anybody_listens(address: str) -> None:
    """Asked before there is a client: one that has not come up closes itself whenever it is
    collected as garbage, and waits for that in whatever thread this happens to be.

    :raises OSError: nobody listens there.
    :raises ValueError: not an address.
    """
    host, port = urlsplit(address).hostname, urlsplit(address).port
    if host is None or port is None:
        raise ValueError("give scheme, host and port, such as tcp://10.0.0.7:8786")
    socket.create_connection((host, port), CONNECT_SECONDS).close()


def code_of_this_process() -> str:
    """What has to be the same for a seed to be the same run."""
    major, minor = sys.version_info[:2]
    return f"holdfast {metadata.version('holdfast')} on Python {major}.{minor}"
