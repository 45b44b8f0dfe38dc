"""What couples the images of a batch is the same for one process and for several, and so are its gradients."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from facecycle_plugins.methods.pair_hinge import somebody_else
from safetensors.torch import load_file, save_file
from torch import Tensor

from facecycle import distributed
from facecycle.errors import DataError
from facecycle.registry import build
from facecycle.whole_batch import gather

ROWS = 12
COUPLED: dict[str, dict[str, Any]] = {
    "nt-xent": {},
    "variance": {},
    "covariance": {},
    "l1": {"low": 0.25, "high": 0.75},
    "mse": {"low": 0.0, "high": 0.5},
}


def losses_of_a_batch() -> dict[str, Tensor]:
    """Return losses, and gradients averaged over the processes, of a linear network and this process's rows."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, ROWS, 6, generator=generator, dtype=torch.float64)
    mine = distributed.share(ROWS)
    found: dict[str, Tensor] = {}
    for name, options in COUPLED.items():
        weights = torch.linspace(-1, 1, 24, dtype=torch.float64).view(6, 4).sin().requires_grad_()
        loss = build("loss", name, options)
        target = 0.5 * first[mine] @ weights if loss.needs_target else None
        value = loss(0.5 * (second[mine] @ weights)[None], target).sum()
        value.backward()
        assert weights.grad is not None
        found[name] = distributed.reduce_mean(value.detach())
        found[f"{name}.gradient"] = distributed.reduce_mean(weights.grad)
    return found


def one_of_two(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = losses_of_a_batch()
    assert gather(torch.tensor([rank])).tolist() == [0, 1]
    if rank == 0:
        save_file(found, folder / "two")
    torch.distributed.destroy_process_group()


def test_two_processes_see_the_batch_of_one(tmp_path: Path) -> None:
    expected = losses_of_a_batch()
    # Forked, because torch takes seconds to import.
    processes = [multiprocessing.get_context("fork").Process(target=one_of_two, args=(r, tmp_path)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = load_file(tmp_path / "two")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.norm() > 0, name
        assert (found[name] - value).norm() <= 1e-9 * value.norm(), name


def test_one_process_is_the_whole_batch() -> None:
    x = torch.randn(3, 2)
    assert gather(x) is x


def test_the_next_row_that_shows_somebody_else_is_taken() -> None:
    assert somebody_else(torch.tensor([4, 4, 7, 9, 7])).tolist() == [2, 2, 3, 4, 0]
    with pytest.raises(DataError, match="one person"):
        somebody_else(torch.tensor([3, 3, 3]))
