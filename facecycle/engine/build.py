"""A configuration to networks and data sets, through the registry."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from facecycle import registry
from facecycle.api import Kind, Parts
from facecycle.config import Component, RunConfig
from facecycle.data.joined import JoinedTracks
from facecycle.engine.objective import check_cycles


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16() -> bool:
    """Tell whether this machine has instructions for bfloat16; without them it takes longer than float32."""
    if torch.cuda.is_available():
        return True
    known = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch lack it
    features = known() if known else {}
    return any(features.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def build_method(config: RunConfig, *, weights_follow: bool = False, device: str = "cpu") -> Any:
    """Build the method's networks with freshly initialised weights, seeded by the configuration.

    Args:
        config: names the components.
        weights_follow: a checkpoint's weights will be loaded, so no pretrained ones are fetched.
        device: `meta` builds networks without numbers, at no cost, for all of their tensors to be assigned.

    Raises:
        PluginError, ConfigError: a component cannot be found, loaded or configured.
    """

    def encoder() -> nn.Module:
        options = config.encoder.options
        if weights_follow and "pretrained" in options:
            options = {**options, "pretrained": False}
        return registry.build("encoder", config.encoder.name, options)

    def pretrained_encoder(name: str) -> nn.Module:
        return registry.build("encoder", name, {"pretrained": True})

    method = registry.build("method", config.method.name, config.method.options)
    check_cycles(config, method)
    warper = registry.build("warper", config.warper.name, config.warper.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        with torch.device(device), _Undrawn() if device == "meta" else contextlib.nullcontext():
            method.assemble(Parts(encoder, warper, config.size, None if weights_follow else pretrained_encoder))
    return method


class _Undrawn(TorchFunctionMode):
    """Skips drawing initial weights: tensors without numbers do it in Python, behind seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in {"normal_", "uniform_", "trunc_normal_"}:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def build_tracks(config: RunConfig) -> JoinedTracks:
    """Build the data sets of a run and join their tracks."""
    return JoinedTracks([registry.build("dataset", c.name, c.options) for c in config.data])


def provenance(config: RunConfig) -> dict[str, dict[str, str]]:
    """Return which distribution and version each component of a run came from, by kind and name."""
    named: list[tuple[Kind, Component]] = [
        ("method", config.method),
        ("encoder", config.encoder),
        ("warper", config.warper),
        *[("dataset", c) for c in config.data],
    ]
    losses = {loss.name for stage in config.stages.values() for loss in stage.losses.values()}
    named += [("loss", Component(name=name)) for name in sorted(losses)]
    found = {}
    for kind, component in named:
        plugin = registry.find(kind, component.name)
        found[f"{kind}:{component.name}"] = {
            "distribution": plugin.distribution,
            "version": plugin.version,
            "entry_point": plugin.entry_point,
        }
    return found
