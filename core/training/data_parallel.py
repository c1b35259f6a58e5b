"""Data parallelism: several processes train one model, each on its share of every batch (DDP, Li 2020).

The leader (rank 0) writes the run's files and handles commands. It announces each step, evaluation and setting change,
and the followers repeat it. Weights stay equal because every process applies the same update with the summed gradient.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.errors import RunError

_MESSAGE_BYTES = 512
_END = "end"
_PATIENCE = timedelta(hours=1)  # timeout of a follower while its run is paused; the end of a process is noticed at once


class ProcessLost(RunError):
    """Another process of the run has ended, so no further step can be taken."""


class ProcessGroup:
    """The processes that train one model; this base class stands for a single process."""

    rank, size = 0, 1

    def announce(self, name: str, *args: Any) -> None:
        """Make each follower call its trainer's method `name` with these arguments, which JSON can represent."""

    def sum_gradients(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:  # noqa: ARG002
        """Replace the gradients by their sums over all processes, and return the sum of the losses (a scalar)."""
        return loss

    def sum(self, values: Tensor) -> Tensor:
        """Return the elementwise sum of a few numbers over all processes; they are on the CPU."""
        return values


SINGLE = ProcessGroup()


class JoinedProcesses(ProcessGroup):
    """Several processes that train together. The methods raise ProcessLost if one of them has ended.

    The process groups are made without `torch.distributed.init_process_group`: it imports torch's compiler, like
    DistributedDataParallel, which takes seconds in each process. All gradients are summed in one call.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, device: str):
        """Join the other processes; this blocks until all have joined."""
        self.rank, self.size = rank, size
        with _noticing_loss():
            self._gloo: Any = dist.ProcessGroupGloo(dist.PrefixStore("gloo", store), rank, size, _PATIENCE)
            self._of_gradients: Any = self._gloo
            if device == "cuda":
                nccl: Any = dist.ProcessGroupNCCL  # only builds for GPUs have it
                self._of_gradients = nccl(dist.PrefixStore("nccl", store), rank, size)

    def announce(self, name: str, *args: Any) -> None:
        if self.rank == 0:
            self._broadcast(json.dumps([name, *args]).encode())

    def announcement(self) -> list[Any] | None:
        """Return the method and arguments of the leader's next announcement; None at the end."""
        name, *args = json.loads(self._broadcast(b""))
        return None if name == _END else [name, *args]

    def end(self) -> None:
        """Make the followers stop, unless they have ended already."""
        with suppress(ProcessLost):
            self.announce(_END)

    @torch.no_grad()
    def sum_gradients(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([loss.reshape(1), *(p.grad.flatten() for p in trained if p.grad is not None)])
        with _noticing_loss():
            self._of_gradients.allreduce([flat]).wait()
        total, *sums = flat.split([1, *(parameter.numel() for parameter in trained)])
        for parameter, gradient in zip(trained, sums, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return total[0]

    def sum(self, values: Tensor) -> Tensor:
        total = values.clone()
        with _noticing_loss():
            self._gloo.allreduce([total]).wait()
        return total

    def _broadcast(self, message: bytes) -> bytes:
        buffer = torch.frombuffer(bytearray(message.ljust(_MESSAGE_BYTES)), dtype=torch.uint8)
        with _noticing_loss():
            self._gloo.broadcast([buffer], dist.BroadcastOptions()).wait()
        return buffer.numpy().tobytes().rstrip()


@contextmanager
def _noticing_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost("One of the processes that train this run together has ended.") from error
