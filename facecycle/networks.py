"""A configuration or a checkpoint to networks, through the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from facecycle import registry
from facecycle.api import Kind, Parts
from facecycle.checkpoints import header, model_file
from facecycle.checkpoints.header import Checkpoint
from facecycle.checkpoints.places import SHIPPED, Name, said_of
from facecycle.config.settings import Choice, RunConfig, ours
from facecycle.errors import CheckpointError, ConfigError, FacecycleError, PluginError, UnfitEncoder, did_you_mean


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


FIRST_WEIGHTS = {"pretrained": False, "weights": None}
"""Options that say where an encoder's first weights come from, and their values where a checkpoint's follow."""
LAYOUT = "img_size"
"""The option of an encoder that is laid out for one size of image."""
LARGEST_TRIED = 512


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
        if weights_follow:  # first weights are neither fetched nor looked for, only to be overwritten
            options = {**options, **{key: FIRST_WEIGHTS[key] for key in FIRST_WEIGHTS if key in options}}
        return registry.build("encoder", config.encoder.name, options)

    def pretrained_encoder(name: str) -> nn.Module:
        return registry.build("encoder", name, {"pretrained": True})

    method = registry.build("method", config.method.name, config.method.options)
    for name, stage in config.stages.items():
        if stage.cycle not in method.view_names:
            raise ConfigError(
                f"stages.{name}.cycle = {stage.cycle!r}: the method has {', '.join(method.view_names)}",
                hint=did_you_mean(stage.cycle, method.view_names) or None,
            )
    warper = registry.build("warper", config.warper.name, config.warper.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        named = registry.failures_named(registry.find("method", config.method.name), "assembled")
        with torch.device(device), _Undrawn() if device == "meta" else contextlib.nullcontext(), named:
            try:
                method.assemble(Parts(encoder, warper, config.size, None if weights_follow else pretrained_encoder))
            except UnfitEncoder as error:
                hint = error.hint or (None if weights_follow else _size_hint(config))
                raise UnfitEncoder(f"{config.encoder.name}: {error.message}", hint=hint) from error
    return method


def laid_out(config: RunConfig) -> RunConfig:
    """Return a configuration whose encoder is laid out for the run's images, where it takes a size at all.

    It is written down for a new run alone: a checkpoint goes on with what it was trained with.

    Raises:
        PluginError: the encoder cannot be found or loaded.
    """
    options = config.encoder.options
    if (
        LAYOUT in options
        or LAYOUT not in registry.load(registry.find("encoder", config.encoder.name)).Options.model_fields
    ):
        return config
    encoder = config.encoder.model_copy(update={"options": {**options, LAYOUT: config.size}})
    return config.model_copy(update={"encoder": encoder})


def _size_hint(config: RunConfig) -> str:
    """Name the next size of images that the encoder reads, found by trying."""
    options = {key: value for key, value in config.encoder.options.items() if key != LAYOUT}
    encoder = config.encoder.model_copy(update={"options": options})
    for size in range(config.size + 16 - config.size % 16, LARGEST_TRIED + 1, 16):
        with contextlib.suppress(FacecycleError, NotImplementedError, RuntimeError):
            tried = laid_out(config.model_copy(update={"encoder": encoder, "size": size}))
            build_method(tried, weights_follow=True, device="meta")
            return f"It reads images of {size} pixels: --set size={size}."
    return f"It was tried at every size up to {LARGEST_TRIED} pixels. Choose another encoder."


class _Undrawn(TorchFunctionMode):
    """Skips drawing initial weights: tensors without numbers do it in Python, behind seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in {"normal_", "uniform_", "trunc_normal_"}:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def provenance(config: RunConfig) -> dict[str, dict[str, str]]:
    """Return which distribution and version each component of a run came from, by kind and name."""
    chosen: list[tuple[Kind, Choice]] = [("method", config.method), ("encoder", config.encoder)]
    chosen += [("warper", config.warper), *(("dataset", data) for data in config.data)]
    losses = {loss.name for stage in config.trained_stages.values() for loss in stage.losses.values()}
    chosen += [("loss", Choice(name=name)) for name in sorted(losses)]
    plugins = {f"{kind}:{choice.name}": registry.find(kind, choice.name) for kind, choice in chosen}
    kept = ("distribution", "version", "entry_point")
    return {name: {key: getattr(plugin, key) for key in kept} for name, plugin in plugins.items()}


RUNS = Path("runs")


@dataclass(frozen=True)
class Loaded:
    """Networks in evaluation mode, without gradients; their checkpoint, with the configuration they were built with."""

    method: Any
    checkpoint: Checkpoint


def origin(found: Checkpoint) -> str:
    """Say where weights come from, and under which terms where they came with the package."""
    return said_of(found.path, found.metadata.get("licence"))


def load(name: Name | None, warper: str | None = None) -> Loaded:
    """Load a checkpoint; None takes the one that comes with the package.

    Args:
        name: of weights; see `checkpoints/places.py`.
        warper: takes the place of the warper that it was trained with.

    Raises:
        CheckpointError: it cannot be read, does not fit, or needs a plugin that is not installed.
    """
    found = header.read(SHIPPED if name is None else name)
    config = found.config
    if ours(config.warper.name) == "fused":
        # Trained where Triton runs, used anywhere: the demand for it belongs to that run, not to its weights.
        warper = warper or "auto"
    if warper is not None:
        config = config.model_copy(update={"warper": Choice(name=warper)})
    try:
        method = _with_weights(config, found)
    except PluginError as error:
        message = f"{found.path} needs a plugin that cannot be used here. {error.message}"
        known = [c for c in found.components().values() if {"distribution", "version"} <= c.keys()]
        made_with = {f"{c['distribution']} {c['version']}" for c in known}
        hint = f"It was made with {', '.join(sorted(made_with))}; install what is missing." if made_with else error.hint
        raise CheckpointError(message, hint=hint) from error
    return Loaded(method.requires_grad_(False).eval(), replace(found, config=config))


def _with_weights(config: RunConfig, found: Checkpoint) -> Any:
    """Build networks without numbers and assign the checkpoint's; drawing numbers to replace them takes longer."""
    method = None
    # A plugin that computes with its tensors while it is built may fail in any way at all. With numbers it is built, or
    # what it fails of is named.
    with contextlib.suppress(Exception):
        method = build_method(config, weights_follow=True, device="meta")
    if method is not None:
        model_file.load_weights(method, found, assign=True)
    if method is None or any(t.is_meta for t in [*method.parameters(), *method.buffers()]):
        # Buffers that no checkpoint holds have to be made as their network makes them.
        method = build_method(config, weights_follow=True)
        model_file.load_weights(method, found)
    return method


def trained_of(method: Any, trained: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the panels and the features of a method whose cycle was trained."""
    panels, features = (
        tuple(name for name, cycle in named.items() if cycle in trained)
        for named in (method.panels_from, method.features_from)
    )
    return panels, features


def shown_of(
    method: Any, features: Sequence[str]
) -> tuple[tuple[str, ...], Mapping[str, tuple[str, str]], tuple[str, ...]]:
    """Return the panels that a method shows of a face, their captions, and which trained features are its codes."""
    codes = tuple(name for name in getattr(method, "codes", ()) if name in features)
    figure = tuple(getattr(method, "figure", method.panels_from))
    return figure, getattr(method, "captions", {}), codes or tuple(features[:1])
