"""Batch norms of frozen networks, folded into the convolutions before them: the same numbers in fewer passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EXACT = 1e-5
"""Largest difference that folding may make, relative to the largest number of a result."""


def fold_batch_norms(network: nn.Module, compute: Callable[[], list[Tensor]]) -> None:
    """Fold every batch norm that reads a convolution's output, in place; the network is in evaluation mode.

    Which reads which is seen in one pass. Another one checks the results: where they differ by more than rounding, as
    where something else reads the convolution too, nothing is folded.

    Args:
        network: has no gradients and is trained no more.
        compute: runs it on some images and returns what it computes.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return
    pairs, before = _read_by_batch_norms(network, compute)
    places = {module: name for name, module in network.named_modules()}
    kept: dict[str, nn.Module] = {}
    for conv, norm in pairs:
        # timm's batch norms carry the activation that follows.
        after = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
        kept |= {places[conv]: conv, places[norm]: norm}
        _put(network, places[conv], fuse_conv_bn_eval(conv, norm))
        _put(network, places[norm], nn.Sequential(*after) if after else nn.Identity())
    if kept and not _same(before, compute()):
        for place, module in kept.items():
            _put(network, place, module)


def _read_by_batch_norms(
    network: nn.Module, compute: Callable[[], list[Tensor]]
) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], list[Tensor]]:
    """Return each convolution whose output a batch norm reads, with that batch norm, and what was computed."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the tensor, so that no other one gets its identity
    read: dict[nn.Conv2d, nn.BatchNorm2d] = {}
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, output
        elif id(inputs[0]) in made:
            read[made[id(inputs[0])][0]] = module  # type: ignore[assignment]

    watched = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(note) for module in watched]
    try:
        before = [found.clone() for found in compute()]
    finally:
        for hook in hooks:
            hook.remove()
    # A layer that is used twice, or keeps no statistics of its own, stays.
    once = {module for module, count in calls.items() if count == 1}
    pairs = [(conv, norm) for conv, norm in read.items() if {conv, norm} <= once and norm.running_mean is not None]
    return pairs, before


def _put(network: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, name = place.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _same(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(
        bool((a - b).abs().max() <= EXACT * b.abs().max().clamp(min=torch.finfo(b.dtype).tiny))
        for a, b in zip(after, before, strict=True)
    )
