"""The settings of a run, as models that refuse what cannot be right."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from facecycle.errors import ConfigError

TAKEN_ON_RESUME = "taken on resume"
"""Marks a key of a run whose new value a resumed run takes; another value of any other key is refused."""
PERCEPTUAL = "perceptual"
"""The loss whose network one key names for all."""
LOGGED = {"step", "stage", "skipped_steps", "gradient_norm", "lr", "images_per_second", "waiting_for_data"}
"""What a run logs of its own, beside the losses by their names."""


def ours(name: str) -> str:
    """Return the name of a plugin without the distribution, where that is this one."""
    distribution, _, local = name.rpartition("/")
    return local if distribution.lower() == "facecycle" else name


class _Model(BaseModel):
    # JSON, which a run keeps its configuration in, has no infinity.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Choice(_Model):
    """A plugin by name, and its options."""

    name: str
    """Registry name: `resnet18`, `timm:vgg19`, `dist/name`."""
    options: dict[str, Any] = {}
    """Options of that plugin; `facecycle plugins show NAME --kind KIND` lists them."""


class LossConfig(_Model):
    """One loss of a stage, and the views it looks at."""

    name: str
    """Registry name of the loss."""
    weight: float = 1.0
    """Weight of the sum over the views."""
    views: dict[str, float]
    """View name to its weight within this loss."""
    options: dict[str, Any] = {}
    """Options of the loss plugin."""


class OptimizerConfig(_Model):
    """Optimizer and learning rate of a stage."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    """`adamw` decouples the weight decay."""
    lr: float | list[tuple[int, float]] = 2e-4
    """Peak of a one-cycle schedule, or steps by epoch: [[0, 1e-5], [1, 5e-5], [20, 1e-5]]."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments of `adam` and `adamw`."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of `sgd`, which the others do not have."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay."""

    @field_validator("lr")
    @classmethod
    def _is_a_schedule(cls, lr: float | list[tuple[int, float]]) -> float | list[tuple[int, float]]:
        steps = lr if isinstance(lr, list) else [(0, lr)]
        epochs = [epoch for epoch, _ in steps]
        if not epochs or epochs[0] != 0 or any(a >= b for a, b in itertools.pairwise(epochs)):
            raise ValueError("the epochs of a list must begin with 0 and rise")
        if min(rate for _, rate in steps) < 0:
            raise ValueError("a learning rate must not be negative")
        return lr

    @field_validator("betas")
    @classmethod
    def _decay(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and less than 1")
        return betas

    @model_validator(mode="after")
    def _has_what_it_uses(self) -> OptimizerConfig:
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum belongs to sgd, not to {self.name}")
        return self


class StageConfig(_Model):
    """One stage of training: which cycle, on which pairs, how long, with which losses."""

    cycle: str
    """The method's cycle that is trained; `facecycle plugins show METHOD` lists them, and their views."""
    pairing: Literal["same-track", "other-track", "same-frame", "sequence"] = "same-track"
    """The second image: another draw from the track, a frame of another track, the same frame augmented once more, or
    the next frame. In a `sequence` the further frames follow, `spacing` frames apart."""
    mirror_pair: float = Field(0.5, ge=0, le=1)
    """Probability that a same-track pair is a frame and its mirror image instead. Always of tracks of one frame."""
    frames: int = Field(2, ge=2, le=1024)
    """Frames in a row of the batch: the pair, and further frames of the first image's track."""
    spacing: int = Field(1, ge=1)
    """Distance of the further frames of a `sequence`, in frames of the track."""
    epochs: int | None = Field(None, ge=1)
    """Length in epochs of one pair per track."""
    steps: int | None = Field(None, ge=1)
    """Length in steps; beats `epochs`."""
    pairs: int | None = Field(None, ge=1)
    """The run's `pairs`, for this stage alone."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer of this stage."""
    losses: dict[str, LossConfig]
    """Losses of this stage, by a name of your choice."""

    @field_validator("losses")
    @classmethod
    def _are_told_apart_in_the_log(cls, losses: dict[str, LossConfig]) -> dict[str, LossConfig]:
        if taken := sorted(LOGGED & losses.keys()):
            raise ValueError(f"a run logs a number of its own as {', '.join(taken)}: call the loss something else")
        return losses

    @model_validator(mode="after")
    def _has_a_length(self) -> StageConfig:
        if self.steps is None and self.epochs is None:
            raise ValueError("set steps or epochs")
        return self

    @model_validator(mode="after")
    def _spaces_a_sequence(self) -> StageConfig:
        if self.spacing != 1 and self.pairing != "sequence":
            raise ValueError(f"spacing belongs to the pairing sequence, not to {self.pairing}")
        return self


class AugmentationConfig(_Model):
    """Random changes, drawn independently for each image of a pair."""

    crop_scale: tuple[float, float] = (0.95, 1.05)
    """Area of the crop relative to the image; a crop never exceeds the image."""
    crop_ratio: tuple[float, float] = (0.95, 1.05)
    """Width over height of the crop."""
    jitter: tuple[float, float, float, float] = (0.05, 0.05, 0.05, 0.01)
    """Brightness, contrast, saturation (relative) and hue (in turns)."""
    jitter_probability: float = Field(0.8, ge=0, le=1)
    """Probability that an image's colours are jittered."""
    mirror_probability: float = Field(0.5, ge=0, le=1)
    """Probability that an image is mirrored."""

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def _is_a_range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError("must be two positive numbers, the smaller one first")
        return bounds


class RunConfig(_Model):
    """Everything a run depends on; written to the run folder and into every checkpoint."""

    preset: str | None = "small"
    """The preset this configuration started from, if any; in a `.toml` file, the one to start from."""
    seed: int = Field(0, ge=-(2**62), le=2**62)
    """Seed of initialisation, sampling, augmentation and noise."""
    size: int = Field(64, ge=16, le=4096, multiple_of=16)
    """Side of the training images, in pixels."""
    pairs: int = Field(16, ge=1)
    """Pairs in a batch of all processes together; a batch holds twice as many images, or as many as `frames` say."""
    accumulate: Annotated[int, TAKEN_ON_RESUME] = Field(1, ge=1)
    """Passes that a process computes its pairs of a batch in, one after the other, to need less memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 autocast on a GPU and float32 elsewhere. bfloat16 is approximate, by some percent."""
    compile: Literal["auto"] | bool = "auto"
    """Compile the networks with torch.compile; `auto` does so on a GPU alone: on a CPU a step takes longer."""
    method: Choice = Choice(name="facecycle")
    """The method that is trained."""
    encoder: Choice = Choice(name="resnet18")
    """The backbone of the method's code encoders."""
    warper: Choice = Choice(name="auto")
    """The implementation of flow warp and re-normalization."""
    data: list[Choice] = [Choice(name="synthetic")]
    """Data sets whose tracks are joined."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Augmentation of the training images."""
    stages: dict[str, StageConfig] = Field(min_length=1)
    """Stages in the order they run."""
    cycle: str = "both"
    """Train the stages of this cycle of the method alone. `both` trains every stage."""
    steps: int | None = Field(None, ge=1)
    """Length of every stage, in steps; beats what a stage says of its own length."""
    perceptual: str = "auto"
    """Network of every perceptual loss: a timm backbone, `random` for untrained weights, or `none` to drop the losses.
    It beats what a loss says of its own network; `auto` leaves that as it is."""
    log_every: Annotated[int, TAKEN_ON_RESUME] = Field(10, ge=1)
    """Steps between two lines of metrics."""
    sample_every: Annotated[int, TAKEN_ON_RESUME] = Field(200, ge=1)
    """Steps between two sample grids."""
    checkpoint_every: Annotated[int, TAKEN_ON_RESUME] = Field(500, ge=1)
    """Steps between two checkpoints; the end of a stage always writes one."""
    keep: Annotated[int | None, TAKEN_ON_RESUME] = Field(None, ge=1)
    """Newest checkpoints that are kept, ends of stages included; none keeps all."""
    workers: Annotated[int, TAKEN_ON_RESUME] = Field(0, ge=0)
    """Processes that prepare batches ahead, 0 for a thread of the run's own; the batches do not depend on it."""
    bad_share: Annotated[float, TAKEN_ON_RESUME] = Field(0.5, ge=0, le=1)
    """Share of the frames read that may be unreadable before the run stops."""
    non_finite_limit: Annotated[int, TAKEN_ON_RESUME] = Field(10, ge=1)
    """Steps in a row whose loss may be non-finite before the run stops; each is skipped."""

    @field_validator("perceptual", mode="before")
    @classmethod
    def _none_is_a_choice(cls, network: Any) -> Any:
        return "none" if network is None else network

    @property
    def pretrained(self) -> bool:
        """Whether the encoder begins with pretrained weights, its library's or a file's."""
        return bool(self.encoder.options.get("pretrained") or self.encoder.options.get("weights"))

    @property
    def trained_stages(self) -> dict[str, StageConfig]:
        """The stages that are trained, in their order, with what `cycle`, `steps` and `perceptual` say of them.

        Raises:
            ConfigError: no stage trains the cycle, or the network is for perceptual losses that no trained stage has.
        """
        stages = {name: stage for name, stage in self.stages.items() if self.cycle in {"both", stage.cycle}}
        if not stages:
            known = ", ".join(f"{name} ({stage.cycle})" for name, stage in self.stages.items())
            raise ConfigError(f"cycle = {self.cycle!r}: no stage trains that cycle", hint=f"Stages: {known}.")
        losses = {ours(loss.name) for stage in stages.values() for loss in stage.losses.values()}
        if self.perceptual not in {"auto", "none"} and PERCEPTUAL not in losses:
            raise ConfigError(
                f"perceptual = {self.perceptual!r}: the preset {self.preset!r} has no perceptual loss",
                hint=f"Use another --preset, or add one: --set stages.{next(iter(stages))}.losses.perceptual.name="
                f"perceptual --set stages.{next(iter(stages))}.losses.perceptual.views.VIEW=1",
            )
        return {name: self._as_trained(stage) for name, stage in stages.items()}

    def _as_trained(self, stage: StageConfig) -> StageConfig:
        losses = {}
        for label, loss in stage.losses.items():
            if ours(loss.name) == PERCEPTUAL and self.perceptual != "auto":
                if self.perceptual == "none":
                    continue
                network = {"pretrained": False} if self.perceptual == "random" else {"network": self.perceptual}
                loss = loss.model_copy(update={"options": {**loss.options, **network}})
            losses[label] = loss
        return stage.model_copy(update={"losses": losses, "steps": self.steps or stage.steps})
