"""What is refused before a run begins: stages that do not fit the method, the data, the losses or the processes."""

from __future__ import annotations

from collections.abc import Sequence, Set

from facecycle import distributed, registry
from facecycle.api import Method, Track
from facecycle.config.settings import LossConfig, RunConfig
from facecycle.data.pairs import long_enough
from facecycle.errors import ConfigError, PluginError, did_you_mean


def check_shares(config: RunConfig) -> None:
    """Raise `ConfigError` where the pairs of a batch cannot be dealt to the processes, and to their passes."""
    shares = distributed.world_size() * config.accumulate
    for name, stage in config.trained_stages.items():
        key, pairs = ("pairs", config.pairs) if stage.pairs is None else (f"stages.{name}.pairs", stage.pairs)
        if pairs % shares:
            raise ConfigError(
                f"{key} = {pairs} cannot be shared out evenly: {distributed.world_size()} processes of "
                f"{config.accumulate} passes each (accumulate)",
                hint=f"Set {key} to a multiple of {shares}.",
            )


def check_tracks(config: RunConfig, tracks: Sequence[Track]) -> list[str]:
    """Return what to say of tracks that are too short for a stage, and are left out of it.

    Raises:
        DataError: none is long enough.
    """
    said = []
    for name, stage in config.trained_stages.items():
        kept = long_enough(tracks, stage, name)
        if kept is not None:
            said.append(f"stage {name}: {len(tracks) - len(kept):,} tracks are too short for its sequences")
    return said


def check_stages(config: RunConfig, method: Method) -> None:
    """Refuse stages whose frames are not those that the method reads, or whose losses cannot be computed.

    A stage must have losses, and weights to train. The plugins, options and views of its losses must exist, and the
    batch must be large enough for them.

    Raises:
        ConfigError, PluginError: names the stage, the loss and the view.
    """
    for name, stage in config.trained_stages.items():
        known = method.view_names[stage.cycle]
        frames = getattr(method, "frames", {}).get(stage.cycle, 2)
        if stage.frames != frames:
            raise ConfigError(
                f"stages.{name}.frames = {stage.frames}: the cycle {stage.cycle} of the method {config.method.name} "
                f"reads {frames} frames",
                hint=f"Set stages.{name}.frames to {frames}.",
            )
        for label, loss in stage.losses.items():
            registry.configure("loss", loss.name, loss.options)
            key = f"stages.{name}.losses.{label}"
            if not loss.views:
                raise ConfigError(f"{key} looks at no view", hint=f"Remove it: {key}=none")
            for view in loss.views:
                if view not in known:
                    raise ConfigError(
                        f"{key}.views.{view}: the {stage.cycle} cycle has no such view",
                        hint=did_you_mean(view, known) or f"Views: {', '.join(sorted(known))}.",
                    )
            _check_batch(config, key, stage.pairs or config.pairs, loss)
        if not stage.losses:
            raise ConfigError(f"stages.{name} has no loss left to train with")
        if not [weights for network in method.trainable(stage.cycle) for weights in network.parameters()]:
            raise PluginError(
                f"stages.{name}: the method {config.method.name} names no network with weights that the cycle "
                f"{stage.cycle} trains"
            )


def _check_batch(config: RunConfig, key: str, pairs: int, loss: LossConfig) -> None:
    """Refuse a batch that a loss cannot be computed of, as far as the loss says so.

    Raises:
        ConfigError: the batch has too few pairs, or is computed in passes though the loss couples its images.
    """
    loaded = registry.load(registry.find("loss", loss.name))
    if not (hasattr(loaded, "couples_images") or hasattr(loaded, "fewest_images")):
        return
    built = registry.build("loss", loss.name, loss.options)
    fewest = getattr(built, "fewest_images", 1)
    if pairs < fewest:
        raise ConfigError(
            f"{key}: the loss {loss.name} needs {fewest} pairs in a batch, and pairs = {pairs}",
            hint=f"Set pairs to {fewest} or more.",
        )
    if config.accumulate > 1 and getattr(built, "couples_images", False):
        raise ConfigError(
            f"{key}: the loss {loss.name} compares the images of a batch, and accumulate = {config.accumulate} would "
            "compute it of parts of one",
            hint="Set accumulate to 1, and pairs to what fits into memory.",
        )


def check_cycles(config: RunConfig, method: Method, trained: Set[str]) -> None:
    """Refuse a stage whose cycle builds on networks that are not trained by then.

    Args:
        config: the run's.
        method: its networks.
        trained: the cycles that the weights to start from have trained.

    Raises:
        ConfigError: names the cycle that has to be trained first.
    """
    known = set(trained)
    for name, stage in config.trained_stages.items():
        missing = getattr(method, "builds_on", {}).get(stage.cycle, frozenset()) - known
        if missing:
            first = ", ".join(sorted(missing))
            raise ConfigError(
                f"stages.{name} trains the cycle {stage.cycle}, which needs trained networks of the cycle {first}",
                hint=f"Add --from RUN, a run of the cycle {first}, or train that cycle first.",
            )
        known.add(stage.cycle)
