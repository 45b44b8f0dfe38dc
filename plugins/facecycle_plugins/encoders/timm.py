"""The open namespace `timm`: any timm backbone that gives feature maps, convolutional or transformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.data.images import IMAGENET_MEAN, IMAGENET_STD
from facecycle.errors import ConfigError, PluginError
from facecycle_plugins.encoders import resnet


class TimmOptions(BaseOptions):
    """Options of a timm encoder."""

    model: str = Field(pattern=r"^[\w.]+$")
    """A timm model name, with or without a weights tag: `resnet18`, `vgg19.tv_in1k`. Never a place to load one
    from, such as `hf-hub:...`: the name may come out of a checkpoint, and what it names would be fetched."""
    pretrained: bool = False
    """Start from timm's weights, downloaded from the Hugging Face hub (or its local cache)."""
    weights: Path | None = None
    """Start from the weights in this file instead: safetensors, or a state dict of torch.save, of the whole model or
    fine-tuned to other classes. The tag in `model` says which normalisation they expect."""
    max_stride: int = Field(16, ge=1)
    """Of the model's feature maps, take the deepest whose stride is at most this; later stages are dropped."""
    img_size: int = Field(64, ge=8)
    """Size position embeddings and windows are laid out for, in models that have them; `size` when left out."""

    @model_validator(mode="after")
    def _of_one_source(self) -> TimmOptions:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained and weights exclude each other: one set of weights is loaded")
        return self


UNFIT = (RuntimeError, AttributeError, TypeError, AssertionError)
"""What timm raises for a model that gives no feature maps."""


def create(options: TimmOptions, **extra: Any) -> Any:
    """Create the features-only model, telling models with a fixed input size ours."""
    import timm  # with torchvision behind it, it takes as long as torch to import

    # Transformers take a size and can interpolate to others; convolutional models refuse the keywords.
    sized: dict[str, Any] = {"img_size": options.img_size}
    for keywords in ({**sized, "dynamic_img_size": True}, {**sized, "strict_img_size": False}, sized, {}):
        try:
            return timm.create_model(options.model, **{"features_only": True, **keywords, **extra})
        except TypeError as error:
            # Only "unexpected keyword" means that the model has no such setting.
            if "unexpected keyword" not in str(error) or not keywords:
                raise
    raise AssertionError("the last attempt returns or raises")


def _with_weights(options: TimmOptions, indices: list[int]) -> Any:
    """Create the features-only model of these maps, with the weights that the options name, or random ones."""
    from facecycle_plugins.encoders.timm_weights import from_file, from_hub  # they import timm, see `create`

    if options.weights is not None:
        return create(
            options, out_indices=indices, **from_file(options.weights, options.model, partial(create, options))
        )
    try:
        return create(options, out_indices=indices, **(from_hub(options.model) if options.pretrained else {}))
    except (OSError, RuntimeError) as error:
        if not options.pretrained:
            raise
        raise ConfigError(
            f"the pretrained weights of timm's {options.model!r} cannot be loaded: {error}",
            hint="They come from the Hugging Face hub: connect once, name a file with encoder.options.weights, or "
            "set pretrained=false.",
        ) from error


class OwnInput(nn.Module):
    """Images in our normalisation, ImageNet's, to the one that pretrained weights expect.

    The two numbers per channel belong to the weights, and a checkpoint holds them beside these.

    Args:
        mean, deviation: of the pixels of images in [0, 1], per channel.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, deviation: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        gains = [ours / theirs for ours, theirs in zip(IMAGENET_STD, deviation, strict=True)]
        shifts = [ours - theirs for ours, theirs in zip(IMAGENET_MEAN, mean, strict=True)]
        offsets = [shift / theirs for shift, theirs in zip(shifts, deviation, strict=True)]
        self.register_buffer("gain", torch.tensor(gains).view(3, 1, 1))
        self.register_buffer("offset", torch.tensor(offsets).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), normalised as ours are, to the model's own normalisation."""
        return torch.addcmul(self.offset, images, self.gain)


def own_input(model: Any) -> OwnInput:
    """Return what images go through before a timm model with its pretrained weights."""
    return OwnInput(model.pretrained_cfg["mean"], model.pretrained_cfg["std"])


def channels_last(model: nn.Module) -> bool:
    """Tell whether a model's maps are (B, h, w, C), as those of window transformers are; it says so itself."""
    return getattr(model, "output_fmt", "NCHW") == "NHWC"


class TimmEncoder(nn.Module):
    """A timm backbone up to its deepest feature map of stride <= `max_stride`.

    Attributes:
        channels: C of that map.
        stride: its stride in input pixels.
        reads: the normalisation that its first weights expect, which it makes itself; empty for random ones.
    """

    facecycle_api = (1, 0)
    Options = TimmOptions

    def __init__(self, options: TimmOptions) -> None:
        super().__init__()
        has_weights = options.pretrained or options.weights is not None
        if options.model in resnet.LAYOUTS and not has_weights:
            self._check_stride(options, resnet.STRIDES)
            self.body: Any = resnet.ResNet(options.model, options.max_stride)
            self.channels, self.stride = self.body.channels, self.body.stride
        else:
            self.body = self._timm_body(options)
            self.channels = int(self.body.feature_info.channels()[-1])
            self.stride = int(self.body.feature_info.reduction()[-1])
        self.input = own_input(self.body) if has_weights else OwnInput()
        self.reads = ""
        if has_weights:
            expected = self.body.pretrained_cfg
            self.reads = f"mean {expected['mean']}, deviation {expected['std']}"

    def _timm_body(self, options: TimmOptions) -> Any:
        try:
            # The feature table is needed before the choice; on the meta device it costs no weights.
            with torch.device("meta"):
                table = create(options).feature_info
        except UNFIT as error:
            raise PluginError(
                f"timm's {options.model!r} gives no feature maps: {error}",
                hint="Choose another model: python -c 'import timm; print(timm.list_models())'",
            ) from error
        self._check_stride(options, table.reduction())
        strides = zip(table.out_indices, table.reduction(), strict=True)
        return _with_weights(options, [i for i, stride in strides if stride <= options.max_stride][-1:])

    @staticmethod
    def _check_stride(options: TimmOptions, strides: Sequence[int]) -> None:
        if options.max_stride < min(strides):
            raise ConfigError(
                f"encoder.options.max_stride = {options.max_stride}: the maps of {options.model!r} have "
                f"strides {list(strides)}",
                hint=f"Set it to that or more: --set encoder.options.max_stride={min(strides)}.",
            )

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to features (B, C, H / stride, W / stride)."""
        features = self.body(self.input(images))[-1]
        return features.permute(0, 3, 1, 2) if channels_last(self.body) else features
