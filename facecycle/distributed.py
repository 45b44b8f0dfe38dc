"""The processes of a run, as a launcher such as torchrun started them: which one this is, and what they agree on.

Without a launcher there is one process, which agrees with itself, and needs no torch for it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def join() -> None:
    """Meet the other processes of the launcher, over NCCL where there are GPUs and over gloo elsewhere."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _met():
        import torch
        from torch import distributed

        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # Nobody is given up for lost while the first one fits a probe; the launcher sees who has ended.
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(days=1))
        atexit.register(_leave)


def _leave() -> None:
    """Leave the others while Python is whole: threads of gloo that outlive it end the process with SIGABRT."""
    if _met():
        from torch import distributed

        distributed.destroy_process_group()
        gc.collect()  # networks of `data_parallel` lie in cycles, and hold what the threads belong to


def end(code: int) -> None:
    """End this process, where it is one of several, without the destructors of C++ that may abort one that did well."""
    if _met():
        _leave()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _met() -> bool:
    if "torch" not in sys.modules:  # they can have met only through it
        return False
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def ended_elsewhere(error: RuntimeError) -> bool:
    """Tell whether an error says that another process has ended, or cannot be reached."""
    if not _met():
        return False
    from torch import distributed

    return isinstance(error, distributed.DistError) or "Connection closed by peer" in str(error)


def world_size() -> int:
    """Return the number of processes."""
    if not _met():
        return 1
    from torch import distributed

    return distributed.get_world_size()


def rank() -> int:
    """Return this process's number, from 0."""
    if not _met():
        return 0
    from torch import distributed

    return distributed.get_rank()


def is_main() -> bool:
    """Tell whether this is the process that writes and speaks."""
    return rank() == 0


def broadcast(compute: Callable[[], Any]) -> Any:
    """Have the first process compute something, and return it in every process."""
    if not _met():
        return compute()
    from torch import distributed

    found = [compute() if is_main() else None]
    distributed.broadcast_object_list(found)
    return found[0]


def all_gather(value: Any) -> list[Any]:
    """Return every process's value, in their order."""
    if not _met():
        return [value]
    from torch import distributed

    found = [None] * world_size()
    distributed.all_gather_object(found, value)
    return found


def reduce_mean(values: Tensor) -> Tensor:
    """Return the mean over the processes, without gradients."""
    if not _met():
        return values
    from torch import distributed

    total = values.clone()
    distributed.all_reduce(total)
    return total / world_size()


def reduce_max(value: int) -> int:
    """Return the largest of the processes' values."""
    if not _met():
        return value
    import torch
    from torch import distributed

    found = torch.tensor(value, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return int(found)


def share(length: int) -> slice:
    """Return this process's part of so many items; the parts follow each other in the order of the processes."""
    return slice(*(part * length // world_size() for part in (rank(), rank() + 1)))


def sync_batch_norm(network: nn.Module) -> nn.Module:
    """Let batch norm see the batch of all processes, where there are several and torch can: on GPUs.

    Subclasses, such as timm's batch norm with an activation, stay as they are: torch would convert a part of them.
    """
    import torch
    from torch import nn

    kinds = {type(module) for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    if world_size() > 1 and torch.cuda.is_available() and kinds and kinds <= {nn.BatchNorm1d, nn.BatchNorm2d}:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network


def data_parallel(network: nn.Module) -> nn.Module:
    """Return a network whose gradients are averaged over the processes; its parameters become the first one's."""
    from torch.nn.parallel import DistributedDataParallel

    # A stage need not use all that its cycle trains. (`static_graph` would allow that too: its gradients were wrong.)
    return DistributedDataParallel(network, find_unused_parameters=True) if world_size() > 1 else network


def no_sync(network: nn.Module) -> AbstractContextManager[None]:
    """Keep the gradients of a `data_parallel` network to this process meanwhile; a later pass averages their sum."""
    from torch.nn.parallel import DistributedDataParallel

    return network.no_sync() if isinstance(network, DistributedDataParallel) else contextlib.nullcontext()
