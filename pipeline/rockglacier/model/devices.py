"""One training on several devices: a process each, which works on its part of every batch."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, multiprocessing

from rockglacier.chips.ranks import ALONE, Rank
from rockglacier.errors import InputError, RemoteError

PATIENCE_S = 60.0
"""For the others to end once the training has."""


def check_devices(wanted: int) -> None:
    """Refuse to train on more GPUs than there are; processors are parted without limit.

    Raises
    ------
    InputError
        There are GPUs, but fewer.
    """
    found = torch.cuda.device_count()
    if found and wanted > found:
        raise InputError(
            f"train.devices is {wanted}, and this machine shows {found} GPU(s)",
            expected=f"at most {found}",
            todo="lower train.devices, or look at CUDA_VISIBLE_DEVICES",
        )


@contextmanager
def in_step(
    count: int, follow: Callable[..., None], arguments: Sequence[Any] = ()
) -> Iterator[Rank]:
    """Be the first of several processes of one training; the others run ``follow(rank, ...)``.

    Parameters
    ----------
    count
        Of processes; with one nothing is started.
    follow
        A function of a module, run by every other process in this same state of Lightning's
        environment.
    arguments
        What it gets after its rank; they travel by pickle.

    Raises
    ------
    RemoteError
        One of the others ended before its time.
    """
    if count == 1:
        yield ALONE
        return
    port = _free_port()
    context = multiprocessing.get_context("spawn")  # a fork after Zarr or CUDA hangs
    others = [
        context.Process(target=_run, args=(Rank(number, count), port, follow, tuple(arguments)))
        for number in range(1, count)
    ]
    try:
        for process in others:
            process.start()
        with _environment(Rank(0, count), port):
            yield Rank(0, count)
        for process in others:
            process.join(PATIENCE_S)
    except Exception as error:
        if ended := [process.exitcode for process in others if process.exitcode]:
            raise RemoteError(
                f"{len(ended)} of the {count - 1} other processes of the training ended "
                f"(exit {', '.join(map(str, ended))})",
                expected="one process a device, to the end",
                todo="look for its message above; often the memory was too small: lower "
                "train.batch. The same command goes on after the last epoch",
            ) from error
        raise
    finally:
        for process in others:
            if process.is_alive():
                process.terminate()


def _run(rank: Rank, port: int, follow: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # processors are shared by the processes; of GPUs each has its own
    torch.set_num_threads(max(1, torch.get_num_threads() // rank.count))
    with _environment(rank, port):
        follow(rank, *arguments)


@contextmanager
def _environment(rank: Rank, port: int) -> Iterator[None]:
    """Tell Lightning which process this is, so that it starts none."""
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank.number)}
    names = (*told, "NODE_RANK", "WORLD_SIZE", "RANK")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ.update(told)
    try:
        yield
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
