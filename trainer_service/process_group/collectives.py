"""What the processes of a group exchange: `Collectives`, on top of torch.distributed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog
import torch
from torch import Tensor, distributed

log = structlog.get_logger(__name__)

_PATIENCE = timedelta(days=365)
"""How long a process waits for the others: a question may follow the last one after hours, when a
mentor has answered. The death of a process is noticed by other means."""


class Collectives(Protocol):
    """Operations that all processes of a group perform together, in the same order."""

    number: int
    """This process's number; 0: the leader."""
    size: int
    """Number of processes."""

    def broadcast(self, tensor: Tensor) -> None:
        """Overwrites a tensor, contiguous and of the same shape everywhere, by the leader's."""
        ...

    def total(self, tensor: Tensor) -> None:
        """Overwrites the leader's tensor by the sum of all; the others' is undefined then."""
        ...

    def greatest(self, numbers: Sequence[int]) -> list[int]:
        """The maximum of each number over the processes."""
        ...


class TorchCollectives:
    """Collectives of processes on this host: gloo for the CPU's tensors, NCCL for those of NVIDIA
    devices.

    Args:
        number: This process's number.
        size: Number of processes.
        folder: Where they meet: a private folder that is the same for all and new for each group.
        device: This process's device.
        on_lost: Called if an operation fails because another process has died; ends this one.
    """

    def __init__(
        self,
        number: int,
        size: int,
        folder: Path,
        device: torch.device,
        on_lost: Callable[[], None],
    ) -> None:
        self.number = number
        self.size = size
        self._on_lost = on_lost
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        with self._others():
            distributed.init_process_group(
                backend,
                init_method=f"file://{folder}/meeting",
                rank=number,
                world_size=size,
                timeout=_PATIENCE,
            )

    @contextmanager
    def _others(self) -> Iterator[None]:
        """A block that needs the other processes."""
        try:
            yield
        except RuntimeError as error:
            log.error("group_lost", process=self.number, error=str(error).splitlines()[0])
            self._on_lost()
            raise

    def broadcast(self, tensor: Tensor) -> None:
        """See `Collectives`."""
        with self._others():
            distributed.broadcast(tensor, 0)

    def total(self, tensor: Tensor) -> None:
        """See `Collectives`."""
        with self._others():
            distributed.reduce(tensor, 0)

    def greatest(self, numbers: Sequence[int]) -> list[int]:
        """See `Collectives`."""
        most = torch.tensor(numbers)
        with self._others():
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
        found: list[int] = most.tolist()
        return found

    def close(self) -> None:
        """Leaves the group, when all processes do."""
        with self._others():
            distributed.destroy_process_group()
