"""The `perceptual` loss: a frozen network's maps compared, by their Gram matrices or place by place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError
from facecycle_plugins.encoders.timm import UNFIT, TimmOptions, channels_last, create, own_input
from facecycle_plugins.encoders.timm_weights import from_file, from_hub

# ReLU outputs after conv2_1, conv3_1 and conv4_1 in the layout `features.N` of VGG19.
VGG19_LAYERS = (6, 11, 20)


class PerceptualOptions(BaseOptions):
    """Options of the perceptual loss."""

    network: str = Field("vgg19.tv_in1k", pattern=r"^(timm:)?[\w.]+$")
    """A timm model name. VGG19 is looked at after conv2_1, conv3_1, conv4_1; others at their first maps."""
    pretrained: bool = True
    """Load the model's weights from the Hugging Face hub; false leaves it random, seeded by the run."""
    weights: Path | None = None
    """Load the weights in this file instead: safetensors, or a state dict of torch.save, of the whole model."""
    compare: Literal["gram", "maps"] = "gram"
    """`gram`: mean squared difference of Gram matrices of three maps, as the paper has it. `maps`: mean absolute
    difference of four maps, each place a unit vector, which punishes a blur more than a shift."""

    @model_validator(mode="after")
    def _vgg19_has_three_maps(self) -> PerceptualOptions:
        if self.compare == "maps" and _is_vgg19(self.network):
            raise ValueError("compare='maps' looks at the four maps of another network than vgg19")
        return self


def _is_vgg19(network: str) -> bool:
    return network.removeprefix("timm:").split(".")[0] == "vgg19"


class _Vgg19(nn.Module):
    """VGG19 up to conv4_1; returns the features after conv2_1, conv3_1 and conv4_1."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features[: VGG19_LAYERS[-1] + 1]
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = True  # half the memory; what is looked at comes after a ReLU

    def forward(self, images: Tensor) -> list[Tensor]:
        found = []
        for index, module in enumerate(self.features):
            images = module(images)
            if index in VGG19_LAYERS:
                found.append(images)
        return found


class _Maps(nn.Module):
    """The maps of a timm backbone, with the channels before the places."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.body(images)
        return [found.permute(0, 3, 1, 2) for found in maps] if channels_last(self.body) else maps


def _network(options: PerceptualOptions) -> nn.Module:
    name = options.network.removeprefix("timm:")
    model: Any = partial(timm.create_model, name) if _is_vgg19(name) else partial(create, TimmOptions(model=name))
    try:
        source: dict[str, Any] = {}
        if options.weights is not None:
            source = from_file(options.weights, name, model)
        elif options.pretrained:
            source = from_hub(name)
        if _is_vgg19(name):
            network = model(**source)
            looking: nn.Module = _Vgg19(network.features)
        else:
            network = model(out_indices=MAPS[options.compare], **source)
            looking = _Maps(network)
        has_weights = options.pretrained or options.weights is not None
        return nn.Sequential(own_input(network), looking) if has_weights else looking
    except (OSError, *UNFIT) as error:
        raise ConfigError(
            f"the perceptual network {options.network!r} cannot be built: {error}",
            hint="Pretrained weights come from the Hugging Face hub. Without it: name a file of them by the loss's "
            "options.weights, or set options.pretrained=false for a random network, or --perceptual none.",
        ) from error


def gram(features: Tensor) -> Tensor:
    """Return F·F^T / (h·w) of (..., C, h, w), shape (..., C, C)."""
    places = features.flatten(-2).mT  # a row a place: channels-last features and their gradients stay as they lie
    return places.mT @ places / places.shape[-2]


def unit(features: Tensor) -> Tensor:
    """Return (..., C, h, w) with a vector of length 1 at every place."""
    return F.normalize(features, dim=-3)


MAPS = {"gram": (0, 1, 2), "maps": (0, 1, 2, 3)}
"""Which of a network's maps are compared."""
COMPARED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "gram": (gram, F.mse_loss),
    "maps": (unit, F.l1_loss),
}
"""What is compared of a map, and the mean difference of that."""


def _distance(compare: str, maps: list[Tensor], wanted: list[Tensor]) -> Tensor:
    of_map, difference = COMPARED[compare]
    return torch.stack([difference(of_map(f), w) for f, w in zip(maps, wanted, strict=True)]).sum()


class _Distances(torch.autograd.Function):
    """One distance a view, and its gradient at once: the network's activations live for one view at a time.

    That needs no more arithmetic than to keep them all, for the network is frozen and a distance is one number.
    """

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, network: nn.Module, compare: str, wanted: list[Tensor]) -> Tensor:
        distances, slopes = [], []
        for view in predictions:
            with torch.enable_grad():
                images = view.detach().requires_grad_()
                distance = _distance(compare, network(images), wanted)
            torch.autograd.backward(distance, inputs=images)
            slopes.append(images.grad)
            distances.append(distance.detach())
        ctx.save_for_backward(torch.stack(slopes))
        return torch.stack(distances)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradient.view(-1, 1, 1, 1, 1), None, None, None


class PerceptualLoss(nn.Module):
    """Difference of a frozen network's maps, summed over them.

    Source: of `gram`, Johnson et al. 2016 (style reconstruction), as used by FaceCycle (ICCV 2021), section 3.3. Of
    `maps`, LPIPS (CVPR 2018), equation 1, without learned weights and with absolute for squared differences.
    """

    facecycle_api = (1, 0)
    Options = PerceptualOptions
    needs_target = True

    def __init__(self, options: PerceptualOptions) -> None:
        super().__init__()
        self.compare = options.compare
        self.network = _network(options).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stay in evaluation mode: a frozen network's statistics do not move."""
        return super().train(False)

    def forward(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,); no gradient to the target."""
        with torch.no_grad():
            wanted = [COMPARED[self.compare][0](f) for f in self.network(target)]
        if torch.is_grad_enabled() and predictions.requires_grad:
            return _Distances.apply(predictions, self.network, self.compare, wanted)
        return torch.stack([_distance(self.compare, self.network(view), wanted) for view in predictions])
