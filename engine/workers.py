"""Who does the work of a sweep: this process, others on this machine, or a Dask cluster.

Dask (the extra `dask`) does without an adapter, shows its own progress page, and gives the work of
a worker that has died to another one. Its workers need the same holdfast and the same Python as
here: with another one a seed is another run.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from multiprocessing import get_context
from typing import Any, Final
from urllib.parse import urlsplit

import click

CONNECT_SECONDS: Final = 10


class ClusterError(Exception):
    """The cluster can not be used; the text says why, and what would help."""


def workers_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--jobs` and `--cluster`, for a command that asks for `workers`."""
    for option in (
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Run on the Dask cluster whose scheduler is at tcp://…",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1),
            help="Processes. Default: one for each processor.",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def workers(
    *, jobs: int | None, cluster: str | None, pieces: int, again: str
) -> Iterator[Executor | None]:
    """What `pieces` of work are done on; None: this process.

    :param again: how to begin anew, for whoever reads that the workers are gone.
    :raises click.ClickException: the cluster can not be used, or the workers are gone.
    """
    if cluster is not None and jobs is not None:
        raise click.BadParameter("a cluster has workers of its own", param_hint="--jobs")
    try:
        if cluster is not None:
            with executor_of(cluster) as executor:
                yield executor
        elif (count := min(jobs or os.cpu_count() or 1, pieces)) == 1:
            yield None
        else:
            # Spawned, not forked: a worker that shares nothing with this process repeats exactly.
            with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
                yield pool
    except ClusterError as error:
        raise click.BadParameter(str(error), param_hint="--cluster") from None
    except (BrokenExecutor, CancelledError) as error:
        raise click.ClickException(f"the workers are gone ({error!r}); again: {again}") from None


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
