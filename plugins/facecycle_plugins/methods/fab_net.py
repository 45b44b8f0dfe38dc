"""FAb-Net as the method `fab-net`: where to sample one frame so that it becomes another, read from two codes.

No pixel of the target reaches the result, so that its code has to say pose and expression.

Read from the public code [C]: both networks, the order of their calls, the loss and its bands, and the second stage of
several sources. The authors call that code a refactoring that may give other numbers [R]. The batch of 32 and the rate
of 1e-3 are the paper's, which the author says were used [I]; the code has 128 and 1e-4. Images were in [0, 1] and here
have ImageNet's normalisation, which makes an L1 loss 1 / 0.226 times as large: the preset takes that off. Stages of
equal length replace the rule that the band rises when the validation loss stalls [A].
Source: Wiles, Koepke, Zisserman, "Self-supervised learning of a facial attribute embedding from video", BMVC 2018,
arXiv 1808.06882.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.heads import LinearCode
from facecycle_plugins.methods import CodeMethod
from facecycle_plugins.methods.flow_decoder import FlowDecoder, sample


class FabNetOptions(Options):
    """Width of the code, and sources of the second cycle."""

    code: int = Field(256, ge=1, le=65536)
    """Numbers of the code."""
    sources: int = Field(3, ge=2, le=64)
    """Frames that the target is put together from in the cycle `several-sources`."""


class FabNet(CodeMethod):
    """An encoder with a linear code, a decoder of flows, and one of the weight that a source has at each pixel."""

    facecycle_api = (1, 1)
    Options = FabNetOptions
    options: FabNetOptions
    view_names = dict.fromkeys(("one-source", "several-sources"), frozenset({"reconstruction"}))
    features_from = {"code": "one-source", "conv": "one-source"}
    panels_from = {"driven": "one-source"}
    captions = {"driven": ("Driven", "with the other's pose and expression")}
    builds_on = {"several-sources": frozenset({"one-source"})}

    def __init__(self, options: FabNetOptions) -> None:
        super().__init__(options)
        self.frames = {"several-sources": 1 + options.sources}

    def assemble(self, parts: Parts) -> None:
        """Create the three networks.

        Raises:
            ConfigError: the decoders do not reach the size of the images.
        """
        self.warper = parts.warper
        self.encoder = LinearCode(parts.encoder(), parts.size, self.options.code)
        self.decoder = FlowDecoder(parts.size, self.options.code, 2)
        self.mask = FlowDecoder(parts.size, self.options.code, 1)

    def trainable(self, cycle: str) -> list[nn.Module]:
        """One source needs no mask. With several the decoder is frozen [C]; its running statistics stay too [A]."""
        return [self.encoder, self.decoder if cycle == "one-source" else self.mask]

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Sample the sources, which are all frames but the first, so that they become the target, the first.

        The view `reconstruction` (P, 3, S, S) is compared with the target. Every frame is a call of its own.
        """
        target = self.encoder(pairs.first)
        images = [pairs.second, *(pairs.further.unbind(1) if pairs.further is not None else ())]
        codes = [self.encoder(image) for image in images]
        flows = [self.decoder(code, target) for code in codes]
        moved = torch.stack([sample(self.warper, image, flow) for image, flow in zip(images, flows, strict=True)])
        if len(images) > 1:
            weights = torch.stack([self.mask(code, target) for code in codes]).softmax(0)
            moved = moved * weights
        view = View(moved.sum(0), "target")
        return Views({"reconstruction": view}, {"target": pairs.first}, {"code": target})

    def translate(
        self, images: Tensor, drivers: Tensor | None, noise: torch.Generator | None, wanted: frozenset[str]
    ) -> dict[str, Tensor]:
        """Return `driven`, the images (B, 3, S, S) with the pose and expression of the drivers; nothing without."""
        if drivers is None or "driven" not in wanted:
            return {}
        flow = self.decoder(self.encoder(images), self.encoder(drivers))
        return {"driven": sample(self.warper, images, flow)}
