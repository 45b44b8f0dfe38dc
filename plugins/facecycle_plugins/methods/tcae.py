"""TCAE as the method `tcae`: one frame is moved to another by two codes, of head pose and of facial action.

What each code may change is held by encoding the changed images again, and by moving them back: twin cycles.

Read from the public code [C]: the networks, the order of the encoder's calls, what is detached, the ten terms and their
bands. The author confirms their proportions of 10 : 1 : 0.1 as the paper's [I]. Images were in [0, 1] and here have
ImageNet's normalisation: the preset weighs terms of images by 0.226. Stages of equal length replace the rule that the
band rises when the validation loss stalls, and other sizes than 256 px and other encoders are ours [A].
Source: Li, Zeng, Shan, Chen, "Self-supervised Representation Learning from Videos for Facial Action Unit Detection",
CVPR 2019.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.heads import HeadedEncoder
from facecycle_plugins.encoders.strided import SLOPE
from facecycle_plugins.methods.flow_decoder import FlowDecoder, inside, sample

POSE = frozenset({"pose_image_pose", "pose_image_action", "pose_cycle"})
ACTION = frozenset({"action_image_pose", "action_image_action", "action_cycle"})
OUTPUT = frozenset({"reconstruction", "output_pose", "output_action"})
COMPARED_WITH = {
    "pose_image_pose": "target_pose",
    "pose_image_action": "source_action",
    "action_image_pose": "source_pose",
    "action_image_action": "target_action",
    "output_pose": "target_pose",
    "output_action": "target_action",
    "pose_cycle": "source",
    "action_cycle": "source",
    "reconstruction": "target",
    "action_flow": "source",
}


class TcaeOptions(Options):
    """Width of both codes."""

    code: int = Field(256, ge=1, le=65536)
    """Numbers of the pose code, and of the action code."""


class TwinCodes(HeadedEncoder):
    """An encoder with two branches of one shape behind it, `pose` and `action`.

    A branch halves the map until it is two pixels wide, by the layers of the encoder `tcae`, and has a linear layer
    behind: at 256 px these are the three convolutions of the public code [C].
    """

    def __init__(self, encoder: nn.Module, size: int, width: int) -> None:
        super().__init__(encoder, size)
        self.channels = int(encoder.channels)  # type: ignore[arg-type]
        self.side = math.isqrt(self.inputs // self.channels)
        self.pose, self.action = (_branch(self.channels, self.side, width) for _ in range(2))

    def code(self, conv_feature: Tensor) -> Tensor:
        """Map the flattened feature map at the training size to (B, 2 D): the code of pose, then that of action."""
        found = conv_feature.view(-1, self.channels, self.side, self.side)
        return torch.cat([self.pose(found), self.action(found)], 1)

    def codes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised images (B, 3, size, size) to the codes of pose and action, (B, D) each."""
        pose, action = self(images).chunk(2, 1)
        return pose, action


def _branch(channels: int, side: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while side > 2:
        layers += [nn.Conv2d(channels, channels, 4, 2, 1), nn.BatchNorm2d(channels), nn.LeakyReLU(SLOPE, inplace=True)]
        side //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, width))


class Tcae(nn.Module):
    """An encoder of two codes, and a decoder of flows for each."""

    facecycle_api = (1, 1)
    Options = TcaeOptions
    view_names = {"pairs": POSE | ACTION | OUTPUT | {"action_flow"}}
    features_from = dict.fromkeys(("action", "pose", "conv"), "pairs")
    panels_from = dict.fromkeys(("driven", "pose_driven", "action_driven"), "pairs")
    captions = {
        "driven": ("Driven", "with the other's pose and expression"),
        "pose_driven": ("Pose driven", "with the other's pose"),
        "action_driven": ("Action driven", "with the other's expression"),
    }
    codes = ("action", "pose")
    maps = ("conv",)

    def __init__(self, options: TcaeOptions) -> None:
        super().__init__()
        self.options = options

    def assemble(self, parts: Parts) -> None:
        """Create the encoder and both decoders.

        Raises:
            ConfigError: the decoders do not reach the size of the images.
        """
        self.warper = parts.warper
        self.encoder = TwinCodes(parts.encoder(), parts.size, self.options.code)
        self.pose_decoder = FlowDecoder(parts.size, self.options.code, 3)
        self.action_decoder = FlowDecoder(parts.size, self.options.code, 3)

    def trainable(self, cycle: str) -> list[nn.Module]:
        """The cycle trains everything."""
        return [self]

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Move the source, which is the second image, towards the target, the first, in the wanted ways.

        `reconstruction` is the source moved by both flows, `pose_image` and `action_image` by one of them. Views such
        as `pose_image_action` are codes (P, D) of these images. `pose_cycle` and `action_cycle` are the images moved
        back. `action_flow` (P, 2, S, S) is for a loss without target. Targets carry gradients [C].
        """
        source = pairs.second
        target_pose, target_action = self.encoder.codes(pairs.first)
        source_pose, source_action = self.encoder.codes(source)
        found: dict[str, Tensor] = {}
        if wanted & (POSE | OUTPUT):
            by_pose = self.pose_decoder(source_pose, target_pose)
        if wanted & (ACTION | OUTPUT | {"action_flow"}):
            by_action = self.action_decoder(source_action, target_action)
            found["action_flow"] = inside(by_action[:, :2])
        if wanted & POSE:
            image = sample(self.warper, source, by_pose[:, :2])
            pose, found["pose_image_action"] = self.encoder.codes(image)
            found["pose_image_pose"] = pose
            if "pose_cycle" in wanted:
                found["pose_cycle"] = self._back(image, self.pose_decoder(pose, source_pose))
        if wanted & ACTION:
            image = sample(self.warper, source, by_action[:, :2])
            found["action_image_pose"], action = self.encoder.codes(image)
            found["action_image_action"] = action
            if "action_cycle" in wanted:
                found["action_cycle"] = self._back(image, self.action_decoder(action, source_action))
        if wanted & OUTPUT:
            found["reconstruction"] = sample(self.warper, source, merged(by_pose, by_action))
            if wanted & {"output_pose", "output_action"}:
                found["output_pose"], found["output_action"] = self.encoder.codes(found["reconstruction"])
        targets = {"target": pairs.first, "source": source, "target_pose": target_pose, "target_action": target_action}
        targets |= {"source_pose": source_pose, "source_action": source_action}
        views = {name: View(found[name], COMPARED_WITH[name]) for name in wanted}
        return Views(views, targets, {"pose": target_pose, "action": target_action})

    def _back(self, image: Tensor, maps: Tensor) -> Tensor:
        """Move an image back by a decoder's maps; its pixels pass no gradients, its code does [C]."""
        return sample(self.warper, image.detach(), maps[:, :2])

    def features(self, images: Tensor, wanted: frozenset[str]) -> dict[str, Tensor]:
        """Map normalised images to `pose` and `action`, (B, D) at the training size, and `conv`, the flattened map."""
        if wanted & {"pose", "action"}:
            self.encoder.check(images)
        found = {"conv": self.encoder.conv_feature(images)}
        if wanted & {"pose", "action"}:
            found["pose"], found["action"] = self.encoder.code(found["conv"]).chunk(2, 1)
        return {name: feature for name, feature in found.items() if name in wanted}

    def translate(
        self, images: Tensor, drivers: Tensor | None, noise: torch.Generator | None, wanted: frozenset[str]
    ) -> dict[str, Tensor]:
        """Return images (B, 3, S, S) moved as the drivers are: by `pose_driven`, `action_driven`, or `driven` by both.

        Without drivers there is nothing.
        """
        if drivers is None or not wanted:
            return {}
        (own_pose, own_action), (pose, action) = self.encoder.codes(images), self.encoder.codes(drivers)
        by_pose, by_action = self.pose_decoder(own_pose, pose), self.action_decoder(own_action, action)
        flows = {"pose_driven": by_pose[:, :2], "action_driven": by_action[:, :2], "driven": merged(by_pose, by_action)}
        return {name: sample(self.warper, images, flow) for name, flow in flows.items() if name in wanted}


def merged(by_pose: Tensor, by_action: Tensor) -> Tensor:
    """Return the mean (B, 2, S, S) of two flows, weighted by the softmax of the maps (B, 3, S, S) that follow them."""
    maps = torch.stack([by_pose, by_action])
    return (maps[:, :, :2] * maps[:, :, 2:].softmax(0)).sum(0)
