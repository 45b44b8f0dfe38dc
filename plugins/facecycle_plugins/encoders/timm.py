"""The open namespace `timm`: any timm backbone that gives feature maps, convolutional or transformer."""

from typing import Any

import timm
import torch
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError, PluginError


class TimmOptions(BaseOptions):
    """Options of a timm encoder."""

    model: str = Field(pattern=r"^[\w.]+$")
    """A timm model name, with or without a weights tag: `resnet18`, `vgg19.tv_in1k`. Never a place to load one
    from, such as `hf-hub:...`: the name may come out of a checkpoint, and what it names would be fetched."""
    pretrained: bool = False
    """Start from timm's weights, downloaded from the Hugging Face hub (or its local cache)."""
    max_stride: int = Field(16, ge=1)
    """Of the model's feature maps, take the deepest whose stride is at most this; later stages are dropped."""
    img_size: int = Field(64, ge=8)
    """Size position embeddings and windows are laid out for, in models that have them."""


UNFIT = (RuntimeError, AttributeError, TypeError, AssertionError)
"""What timm raises for a model that gives no feature maps."""


def create(options: TimmOptions, **extra: Any) -> Any:
    """Create the features-only model, telling models with a fixed input size ours."""
    # Transformers take a size and can interpolate to others; convolutional models refuse the keywords.
    sized: dict[str, Any] = {"img_size": options.img_size}
    for keywords in ({**sized, "dynamic_img_size": True}, {**sized, "strict_img_size": False}, sized, {}):
        try:
            return timm.create_model(options.model, features_only=True, **keywords, **extra)
        except TypeError as error:
            # Only "unexpected keyword" means that the model has no such setting.
            if "unexpected keyword" not in str(error) or not keywords:
                raise
    raise AssertionError("the last attempt returns or raises")


class TimmEncoder(nn.Module):
    """A timm backbone up to its deepest feature map of stride <= `max_stride`.

    Attributes:
        channels: C of that map.
        stride: its stride in input pixels.
    """

    facecycle_api = (1, 0)
    Options = TimmOptions

    def __init__(self, options: TimmOptions) -> None:
        super().__init__()
        try:
            # The feature table is needed before the choice; on the meta device it costs no weights.
            with torch.device("meta"):
                table = create(options).feature_info
        except UNFIT as error:
            raise PluginError(
                f"timm's {options.model!r} gives no feature maps: {error}",
                hint="Choose another model: python -c 'import timm; print(timm.list_models())'",
            ) from error
        indices = [
            i for i, stride in zip(table.out_indices, table.reduction(), strict=True) if stride <= options.max_stride
        ]
        if not indices:
            raise ConfigError(
                f"encoder.options.max_stride = {options.max_stride}: the maps of {options.model!r} have "
                f"strides {table.reduction()}",
                hint=f"Set it to {min(table.reduction())} or more.",
            )
        try:
            self.body = create(options, out_indices=indices[-1:], pretrained=options.pretrained)
        except (OSError, RuntimeError) as error:
            if not options.pretrained:
                raise
            raise ConfigError(
                f"the pretrained weights of timm's {options.model!r} cannot be loaded: {error}",
                hint="They come from the Hugging Face hub: connect once, or set pretrained=false.",
            ) from error
        self.channels = int(self.body.feature_info.channels()[-1])
        self.stride = int(self.body.feature_info.reduction()[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to features (B, C, H / stride, W / stride)."""
        features = self.body(images)[-1]
        # Window transformers keep channels last.
        if features.shape[1] != self.channels:
            features = features.permute(0, 3, 1, 2)
        return features
