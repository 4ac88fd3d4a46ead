"""Settings of where the work is done."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from rockglacier.config.section import Section
from rockglacier.errors import InputError


class ComputeConfig(Section):
    """Where blocks are worked on; changes nothing in the products."""

    cluster: str = Field(
        "threads",
        description="threads, local (worker processes on this machine), the address of a Dask "
        "scheduler (tcp://HOST:8786, tls://HOST:8786), or a service: gateway, kubernetes, coiled. "
        "`--cluster` wins over it.",
    )
    priority: float = Field(
        0, description="Of several basins, those with a higher number are run first."
    )
    workers: int | None = Field(
        None, ge=1, description="Workers; default: what cores and memory allow, 2 of a service."
    )
    threads: int | None = Field(None, ge=1, description="Threads of a worker; default: 1.")
    memory: str | None = Field(
        None,
        pattern=r"^[0-9]+(\.[0-9]+)? ?([kMGT]i?)?B$",
        description="Memory of a worker, e.g. 4GiB; default: an equal share of this machine, 4GiB "
        "of a service.",
    )
    adaptive: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="Least and most workers, in place of a fixed number, e.g. [2, 40]: they come "
        "and go with the work.",
    )
    gpu: int = Field(
        0, ge=0, description="GPUs of a worker, which it declares as the Dask resource GPU."
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        description="Longest time for a block on a worker, seconds; a worker that takes longer is "
        "ended, and the block tried on another. Default: none.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="What the service is asked for beside that: options of a Gateway's cluster, "
        "arguments of coiled.Cluster, or namespace, image, secret and service_account on "
        "Kubernetes. No keys: they are taken from the environment.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ComputeConfig:
        if self.adaptive and self.adaptive[0] > self.adaptive[1]:
            raise ValueError(f"adaptive {list(self.adaptive)} is not least, most")
        return self


def parse_bytes(amount: str) -> int:
    """Return an amount of memory such as ``4GiB`` in bytes."""
    found = re.fullmatch(r"([0-9.]+) ?([kMGT]?)(i?)B", amount)
    if not found:
        raise InputError(f"an amount of memory {amount!r}", expected="for example 4GiB")
    number, prefix, binary = found.groups()
    step = 1024 if binary else 1000
    return int(float(number) * step ** " kMGT".index(prefix or " "))
