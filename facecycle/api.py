"""What a plugin author imports: the protocols of the six kinds of plugin and the data they exchange.

A plugin is a class (or factory) with `facecycle_api = (1, 1)`, an `Options` model and
`__init__(self, options)`, registered under one of the entry-point groups in `GROUPS`. No base class
is needed. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

API_VERSION = (1, 1)
"""Version of these protocols. A plugin of another major version is refused; see `facecycle_api`."""

Kind = Literal["encoder", "warper", "loss", "dataset", "method", "detector"]
GROUPS: dict[Kind, str] = {
    "encoder": "facecycle.encoders",
    "warper": "facecycle.warpers",
    "loss": "facecycle.losses",
    "dataset": "facecycle.datasets",
    "method": "facecycle.methods",
    "detector": "facecycle.detectors",
}
NAMESPACE_GROUP = "facecycle.namespaces"
"""Entries `<kind>.<plugin>` name a cheap function that lists the further names that plugin answers to."""
PRESET_GROUP = "facecycle.presets"
"""Entries name the `.toml` files of presets: `mine = package.presets:mine.toml`. The package is found, not run."""

Task = Literal["emotion", "pose", "verify"]


class Options(BaseModel):
    """Base of a plugin's options: unknown keys and infinite numbers are refused, values do not change once set.

    A string below a field says what it is, in `facecycle plugins show` too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


# --- encoders, warpers, losses ------------------------------------------------------------------


class Encoder(Protocol):
    """Images to a feature map. A `torch.nn.Module`; its code head belongs to the core.

    Attributes:
        channels: C of the feature map.
        stride: input pixels per cell of the feature map. In training inputs are multiples of it; probes may feed any
            size (`facecycle-raf` 100 px), whose map has the sides that the encoder gives it.
    """

    channels: int
    stride: int

    def __call__(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to features (B, C, H / stride, W / stride)."""
        ...


class Warper(Protocol):
    """The two resampling operations of the method. See `facecycle_kernels` for the formulas."""

    def warp(self, x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
        """Sample x (B, C, H, W) at identity grid + flow, bilinear, zeros outside, align_corners=True.

        Args:
            x: image or feature map.
            flow: (B, 2, h, w), channel 0 = x, 1 = y, in grid units: [-1, 1] spans the image. Resized
                to (H, W) first.
            clamp: clamp the resized flow to [-1, 1].
        """
        ...

    def renormalize(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Instance norm of x (B, C, H, W), eps 1e-5, times gamma plus beta, both (B, C, 1, 1) or x's shape."""
        ...


class Loss(Protocol):
    """Predictions that share a target to one value each.

    Attributes:
        needs_target: False for a loss that looks at the prediction alone, such as symmetry.

    What a loss may have besides:
        couples_images: True where the loss of a batch is not the mean of its images' losses. It is refused where a
            batch is computed in several passes. Of several processes such a loss sees the whole batch by
            `facecycle.whole_batch.gather`. False where absent.
        fewest_images: images of a batch without which there is no loss; 1 where absent.
    """

    needs_target: bool

    def __call__(self, predictions: Tensor, target: Tensor | None) -> Tensor:
        """Map predictions (V, B, ...) and their common target (B, ...) to losses (V,), means over the images.

        Images are (V, B, 3, H, W), flows (V, B, 2, h, w), and embeddings (V, B, D). A loss says which it compares, and
        raises ValueError for others.

        Of several processes each sees its own images of a batch: the mean of equal shares is the loss of the whole.
        """
        ...


# --- data ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Track:
    """Frames of one person in one take.

    Attributes:
        name: one of its own in the data set.
        identity: whom it shows.
        frames: index the data set that yields the track; where they follow each other, a range takes least memory.
        shard: number of the file that holds the whole track together with others, where reading one is reading all.
    """

    name: str
    identity: str
    frames: Sequence[int]
    shard: int | None = None


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read, by its file name and the reason."""

    name: str
    reason: str


class _Samples:
    """What labels of any kind can do."""

    counts: Mapping[str, int]
    published: Mapping[str, int]

    def take(self, places: np.ndarray) -> Self:
        """Return some of the samples, or of the pairs, by their places among all."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return replace(self, **{name: value[places] for name, value in values.items() if hasattr(value, "dtype")})  # type: ignore[type-var]

    def coverage(self) -> list[str]:
        """Say how much was found, wherever the authors of the data state a number."""
        lines = []
        for name in (name for name in self.counts if name in self.published):
            found, stated = self.counts[name], self.published[name]
            count = f"{found:,} of {stated:,} {name}"
            lines.append(f"{count}, as published" if found == stated else f"warning: {count}, the published number")
        return lines


@dataclass(frozen=True)
class Labelled(_Samples):
    """Samples of a supervised probe.

    Attributes:
        frames: (n,) frame indices.
        targets: (n,) class ids for emotion; (n, 3) pitch, yaw, roll in degrees for pose, positive when the face
            looks up, turns to the left of the picture, and tilts clockwise (the convention of 300W-LP).
        folds: (n,) fold in which a sample is tested; -1 is training only.
        groups: (n,) whom the sample shows: inner cross-validation never splits a group.
        classes: names of the class ids, for emotion.
        note: what a reader of any number from here must know.
        counts: how many samples of each split were found.
        published: how many the data set's authors state, by the same names.
        convention: the order in which a head's rotation is taken apart into angles, for pose: `xyz` as in 300W-LP, or
            `zyx`. '' is not known, and fits any. Angles of two orders are not trained and tested together.
    """

    frames: np.ndarray
    targets: np.ndarray
    folds: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...] = ()
    note: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    convention: str = ""


@dataclass(frozen=True)
class Verification(_Samples):
    """Pairs of frames for verification: `same` (n,) tells whether a pair shows one person.

    `first`, `second` are (n,) frame indices, `folds` (n,) the fold in which a pair is tested. `counts` and
    `published` are as in `Labelled`.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    folds: np.ndarray
    note: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)


class Dataset(Protocol):
    """Frames, as tracks for pretraining or as labelled samples for a probe.

    A data set that was not made for tracks or a task raises `NotOffered` and says so.
    """

    licence: str

    def tracks(self) -> list[Track]: ...

    def labelled(self, task: Task) -> Labelled | Verification: ...

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); a bad frame's pixels are zero and it is named.

        Several threads may ask at once, and the answer must not depend on what was asked before.
        """
        ...

    def fingerprint(self) -> str:
        """A hex digest that changes when the files, or what is read from them, change."""
        ...


@runtime_checkable
class KnowsNeutral(Protocol):
    """What a data set that has the true neutral face of each frame may offer besides."""

    def neutral_images(self, frames: Sequence[int], size: int) -> Tensor:
        """Return the neutral faces of the people that frames show, RGB uint8 (n, 3, size, size)."""
        ...


@runtime_checkable
class Prefetches(Protocol):
    """What a data set whose tracks lie in shards may offer besides."""

    def prefetch(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards, by the numbers of its tracks, in the background; returns at once."""
        ...


# --- methods ------------------------------------------------------------------------------------

FLOW = "flow"
"""The one panel that is no image but a facial motion, by which rooms move a face within its photograph."""


@dataclass(frozen=True)
class Pairs:
    """A batch of pairs: row i of each tensor belongs to pair i.

    Attributes:
        first, second: normalised images (P, 3, H, W).
        further: (P, K, 3, H, W), K more frames of the first image's track, where the stage asks for `frames` = 2 + K.
        places: (P, 2 + K) whole numbers, the place of each frame in its track, from 0.
        tracks: (P,) number of the first image's track.
        people: (P,) number of the person whom the first image shows.
    """

    first: Tensor
    second: Tensor
    further: Tensor | None = None
    places: Tensor | None = None
    tracks: Tensor | None = None
    people: Tensor | None = None

    def apply(self, change: Callable[[Tensor], Tensor]) -> Pairs:
        """Return the batch with every tensor changed."""
        return Pairs(**{name: change(tensor) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that the batch has, by name."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}


@dataclass(frozen=True)
class View:
    """A prediction (B, ...): an image, a flow or an embedding; and the name of the target it is compared with."""

    prediction: Tensor
    target: str


@dataclass(frozen=True)
class Views:
    """What a method computed from a batch, for losses to look at.

    Attributes:
        views: view name to prediction and target name.
        targets: target name to what predictions are compared with (B, ...); it may carry gradients.
        monitored: name to (B, ...) tensors whose deviation over the batch is logged: a code or flow
            that no longer differs between faces has collapsed.
    """

    views: Mapping[str, View]
    targets: Mapping[str, Tensor]
    monitored: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The chosen components a method assembles its networks from.

    Attributes:
        encoder: builds a new instance of the chosen encoder.
        warper: the chosen warper.
        size: side of the square training images, in pixels.
        pretrained_encoder: builds another encoder, by name, with its pretrained weights (for a frozen
            stem); None when a checkpoint's weights follow, so that nothing is fetched to be overwritten.
    """

    encoder: Callable[[], nn.Module]
    warper: Warper
    size: int
    pretrained_encoder: Callable[[str], nn.Module] | None = None


class Method(Protocol):
    """A way to learn from pairs, in one or more cycles. A `torch.nn.Module`.

    Attributes:
        view_names: per cycle, the views its losses may look at.
        features_from: name of each feature `features` can extract, and the cycle that trains it.
        panels_from: name of each image `translate` makes, and the cycle that trains it.

    What a method may have besides:
        frames: per cycle, the frames of a track that a row of `Pairs` must have; 2 where absent.
        builds_on: per cycle, the cycles whose networks it needs trained; none where absent.
        figure: the panels that are shown of a face, in that order; all of `panels_from` where absent.
        captions: per panel, its title and a few words on what it shows, as in ("Neutral", "without expression"). A
            panel without them is called by its name.
        codes: the features that `embed` computes when none is named; the first of `features_from` where absent.
        maps: the features that exist at any size of the images; those whose names end in `conv` where absent.
        probed: per task, the features that a probe looks at when none is named; all of them where absent. As the task
            `neutral`, the panels that show a face without its expression; `frontal` and `neutral` where absent.
        after_step(cycle): called after each step that the optimizer took, such as to move averaged weights.
    """

    view_names: Mapping[str, frozenset[str]]
    features_from: Mapping[str, str]
    panels_from: Mapping[str, str]

    def assemble(self, parts: Parts) -> None:
        """Create the networks. Called once, before anything else."""
        ...

    def trainable(self, cycle: str) -> list[nn.Module]:
        """The modules that a cycle trains; all others are frozen and in evaluation mode."""
        ...

    def __call__(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Compute the `wanted` views of a cycle, and no network that they do not need."""
        ...

    def features(self, images: Tensor, wanted: frozenset[str]) -> dict[str, Tensor]:
        """Map normalised images (B, 3, H, W) to the wanted features (B, D), with one pass of a network for all."""
        ...

    def translate(
        self, images: Tensor, drivers: Tensor | None, noise: torch.Generator | None, wanted: frozenset[str]
    ) -> dict[str, Tensor]:
        """Map normalised images (B, 3, S, S) to the wanted panels: images, and under `FLOW` a flow (B, 2, h, w).

        Swaps are made between images and `drivers` of the same shape, and left out without them. No network runs
        that no wanted panel needs.
        """
        ...


# --- detectors ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """A face in an image. Positions are in pixels from the image's upper left corner, which is (0, 0).

    A pixel's centre therefore lies at a half, and the image spans [0, W] x [0, H].

    Attributes:
        box: left, top, width and height of the face. It may leave the image.
        score: how certain the detector is, in [0, 1].
        landmarks: (5, 2) float64, x and y of the eyes, the nose's tip and the corners of the mouth; None where the
            detector has none. The person's right comes first, which an upright face has on the left of the picture.
        exact: True where the box was given as what is to be cut out, and is not the outline of a face.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray | None = None
    exact: bool = False


class Detector(Protocol):
    """Where the faces of an image are. It downloads nothing, neither when it is installed nor when it runs.

    Attributes:
        licence: the terms of its code.
        weights_licence: the terms of its weights and of what they were trained on; '' where it has none.

    What a detector may have besides:
        follow(image, face): the face again in the next frame of a video, or None where it is not there. Without it,
            every frame is searched.
    """

    licence: str
    weights_licence: str

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of an upright RGB image (H, W, 3), uint8, of any size. The largest box comes first."""
        ...
