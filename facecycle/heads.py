"""Codes of encoders: an encoder and the head that reads its feature map, for methods to build on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from facecycle.errors import ConfigError, UnfitEncoder


class HeadedEncoder(nn.Module):
    """An encoder and a head: images to the flattened map (conv feature) and to a code.

    The head is made for the feature map's size at the training resolution, so a code exists only there while the conv
    feature exists at any size. A subclass makes `head`, of `inputs` numbers.

    Raises:
        UnfitEncoder: the encoder does not read images of that size, or does not give the map that it promises.
    """

    head: nn.Module

    def __init__(self, encoder: nn.Module, size: int) -> None:
        super().__init__()
        self.size = size
        self.encoder = encoder
        self.inputs = map_size(encoder, size)

    def conv_feature(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to the flattened feature map (B, C·h·w)."""
        return self.encoder(images).flatten(1)

    def code(self, conv_feature: Tensor) -> Tensor:
        """Map the flattened feature map at the training size to codes (B, D)."""
        return self.head(conv_feature)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, size, size) to codes (B, D).

        Raises:
            ConfigError: images of another size than the head was made for.
        """
        self.check(images)
        return self.code(self.conv_feature(images))

    def check(self, images: Tensor) -> None:
        """Refuse images of another size than the head was made for.

        Raises:
            ConfigError: names both sizes.
        """
        if tuple(images.shape[-2:]) != (self.size, self.size):
            height, width = images.shape[-2:]
            raise ConfigError(
                f"a code is defined at {self.size} x {self.size} pixels only; got {width} x {height}",
                hint="Use the conv feature for other sizes.",
            )


class LinearCode(HeadedEncoder):
    """An encoder whose code is one linear layer of its flattened map, without an activation."""

    def __init__(self, encoder: nn.Module, size: int, width: int) -> None:
        super().__init__(encoder, size)
        self.head = nn.Linear(self.inputs, width)


def map_size(encoder: nn.Module, size: int) -> int:
    """Return how many numbers an encoder's feature map has, by looking at a black image of that size.

    Its own word is not enough: backbones that do not pad give smaller maps than size / stride.

    Raises:
        UnfitEncoder: it does not read such an image, or gives something other than a map of its channels.
    """
    channels, stride = int(encoder.channels), int(encoder.stride)  # type: ignore[arg-type]
    if size % stride:
        raise UnfitEncoder(f"size = {size} is not a multiple of the encoder's stride, {stride}")
    without_numbers = torch.get_default_device().type == "meta"
    training = encoder.training
    try:
        with torch.no_grad(), torch.device("cpu"):  # in evaluation mode, which moves no running statistics
            image = torch.zeros(1, 3, size, size)
            # Only the shape counts, so what was in memory will do: torch's own way takes seconds of imports.
            tensors = [*encoder.named_parameters(), *encoder.named_buffers()] if without_numbers else []
            any_numbers = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in tensors}
            found = functional_call(encoder.eval(), any_numbers, image)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        if without_numbers:  # it may read images with the numbers it is made with
            raise NotImplementedError from error
        raise UnfitEncoder(
            f"the encoder does not read images of {size} x {size} pixels: {str(error) or type(error).__name__}"
        ) from error
    finally:
        encoder.train(training)
    shape = tuple(found.shape)
    if len(shape) != 4 or shape[:2] != (1, channels):
        raise UnfitEncoder(
            f"the encoder says that it has {channels} channels, but maps an image of {size} x {size} pixels to {shape}",
            hint="A feature map is (B, channels, h, w); see docs/plugins.md.",
        )
    return found[0].numel()
