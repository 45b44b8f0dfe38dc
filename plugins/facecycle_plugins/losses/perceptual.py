"""The `perceptual` loss: Gram matrices of a frozen network's features."""

from __future__ import annotations

from typing import Any

import timm
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError
from facecycle_plugins.encoders.timm import UNFIT, TimmOptions, channels_last, create, own_input

# ReLU outputs after conv2_1, conv3_1 and conv4_1 in the layout `features.N` of VGG19.
VGG19_LAYERS = (6, 11, 20)


class PerceptualOptions(BaseOptions):
    """Options of the perceptual loss."""

    network: str = Field("vgg19.tv_in1k", pattern=r"^(timm:)?[\w.]+$")
    """A timm model name. VGG19 is looked at after conv2_1, conv3_1, conv4_1; others at their first three maps."""
    pretrained: bool = True
    """Load the model's weights from the Hugging Face hub; false leaves it random, seeded by the run."""


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
    try:
        if name.split(".")[0] == "vgg19":
            network: Any = timm.create_model(name, pretrained=options.pretrained)
            looking: nn.Module = _Vgg19(network.features)
        else:
            network = create(TimmOptions(model=name), out_indices=(0, 1, 2), pretrained=options.pretrained)
            looking = _Maps(network)
        return nn.Sequential(own_input(network), looking) if options.pretrained else looking
    except (OSError, *UNFIT) as error:
        raise ConfigError(
            f"the perceptual network {options.network!r} cannot be built: {error}",
            hint="Pretrained weights come from the Hugging Face hub. Without it: --perceptual none, or set the "
            "loss's options.pretrained=false for a random network.",
        ) from error


def gram(features: Tensor) -> Tensor:
    """Return F·F^T / (h·w) of (..., C, h, w), shape (..., C, C)."""
    places = features.flatten(-2).mT  # a row a place: channels-last features and their gradients stay as they lie
    return places.mT @ places / places.shape[-2]


def _distance(network: nn.Module, images: Tensor, wanted: list[Tensor]) -> Tensor:
    return torch.stack([(gram(f) - w).square().mean() for f, w in zip(network(images), wanted, strict=True)]).sum()


class _Distances(torch.autograd.Function):
    """One distance a view, and its gradient at once: the network's activations live for one view at a time.

    That needs no more arithmetic than to keep them all, for the network is frozen and a distance is one number.
    """

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, network: nn.Module, wanted: list[Tensor]) -> Tensor:
        distances, slopes = [], []
        for view in predictions:
            with torch.enable_grad():
                images = view.detach().requires_grad_()
                distance = _distance(network, images, wanted)
            torch.autograd.backward(distance, inputs=images)
            slopes.append(images.grad)
            distances.append(distance.detach())
        ctx.save_for_backward(torch.stack(slopes))
        return torch.stack(distances)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradient.view(-1, 1, 1, 1, 1), None, None


class PerceptualLoss(nn.Module):
    """Mean squared difference of Gram matrices, summed over three layers of a frozen network.

    Source: Johnson et al. 2016 (style reconstruction), as used by FaceCycle (ICCV 2021), section 3.3.
    """

    facecycle_api = (1, 0)
    Options = PerceptualOptions
    needs_target = True

    def __init__(self, options: PerceptualOptions) -> None:
        super().__init__()
        self.network = _network(options).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stay in evaluation mode: a frozen network's statistics do not move."""
        return super().train(False)

    def forward(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,); no gradient to the target."""
        with torch.no_grad():
            wanted = [gram(f) for f in self.network(target)]
        if torch.is_grad_enabled() and predictions.requires_grad:
            return _Distances.apply(predictions, self.network, wanted)
        return torch.stack([_distance(self.network, view, wanted) for view in predictions])
