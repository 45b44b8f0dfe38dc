"""FaceCycle as the method plugin `facecycle`: the motion cycle and the identity cycle over pairs.

The paper's words: de-expression moves a face by its facial motion to its neutral face, re-expression moves it back.
De-identity strips the neutral face of its identity, which gives the mean face; re-identity gives it back.

Source: Chang, Chen, Chiu, "Learning Facial Representations from the Cycle-consistency of Face",
ICCV 2021, arXiv 2108.03427.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.api import Pairs, Parts, View, Views
from facecycle.method.decoders import Generator, MotionDecoder, Renormalizer, backflow
from facecycle.method.encoder import CodeEncoder
from facecycle.whole_batch import batch_mean

TRAINED = "trained"


class FaceCycleOptions(BaseOptions):
    """Widths of the networks; the defaults are the paper's."""

    width: int = Field(64, ge=4, le=4096, multiple_of=4)
    """Channels of the stem's first convolution; the generator works at 2 and 4 times as many."""
    head_width: int = Field(512, ge=1, le=4096)
    """Units between an encoder's feature map and its code; most of a small encoder's weights lie here."""
    motion_width: int = Field(256, ge=8, le=4096, multiple_of=8)
    """Channels of the motion decoder's first map."""
    generator_blocks: int = Field(8, ge=1, le=256)
    """Residual blocks of the generator."""
    renormalizer_width: int | None = Field(None, ge=4, le=4096)
    """The same as `width`, of the renormalizer's stem; `width` itself when left out."""
    renormalizer_blocks: int = Field(6, ge=1, le=256)
    """Residual blocks of the renormalizer."""
    save_memory: bool = False
    """Compute the generator's activations again on the way back instead of keeping them."""
    stem: str = TRAINED
    """`trained`, or the encoder whose pretrained first five convolutions become the frozen stem."""


def swap_halves(x: Tensor) -> Tensor:
    """Exchange the two halves of a batch (2P, ...); doing it twice gives x back."""
    first, second = x.chunk(2)
    return torch.cat([second, first])


class FaceCycle(nn.Module):
    """Two cycles over one set of networks; see `forward` for their views."""

    facecycle_api = (1, 1)
    Options = FaceCycleOptions
    view_names = {
        "expression": frozenset(
            {
                "expression",
                "neutral",
                "frontal",
                "flow",
                "direct",
                "swapped_warp",
                "reconstruction",
                "identity_reconstruction",
            }
        ),
        "identity": frozenset(
            {
                "identity",
                "mean_face",
                "common_mean_face",
                "restored_neutral",
                "swapped_neutral",
                "direct",
                "reconstruction",
            }
        ),
    }
    features_from = {
        "expression": "expression",
        "conv": "expression",
        "identity": "identity",
        "identity_conv": "identity",
    }
    panels_from = {
        "frontal": "expression",
        "neutral": "expression",
        "reconstruction": "expression",
        "flow": "expression",
        "expression_swap": "expression",
        "mean_face": "identity",
        "identity_swap": "identity",
    }
    builds_on = {"identity": frozenset({"expression"})}
    # Two rows of these are the paper's figure, and the flow.
    figure = ("frontal", "neutral", "mean_face", "expression_swap", "identity_swap", "flow")
    captions = {
        "frontal": ("Frontal", "turned to the front"),
        "neutral": ("Neutral", "made anew, without expression"),
        "reconstruction": ("Reconstruction", "with its own expression again"),
        "flow": ("Flow", "where each pixel comes from"),
        "expression_swap": ("Expression swap", "with the other's expression and pose"),
        "mean_face": ("Mean face", "without what makes it this person"),
        "identity_swap": ("Identity swap", "the other's mean face with this identity"),
    }
    codes = ("expression", "identity")
    maps = ("conv", "identity_conv")
    probed = {
        "emotion": ("expression", "conv"),
        "pose": ("expression", "conv"),
        "verify": ("identity", "identity_conv", "conv"),
        "neutral": ("frontal", "neutral"),
    }

    def __init__(self, options: FaceCycleOptions) -> None:
        super().__init__()
        self.options = options

    def assemble(self, parts: Parts) -> None:
        """Create the networks; a pretrained stem is loaded once and frozen in both decoders."""
        options = self.options
        self.warper = parts.warper
        self.expression = CodeEncoder(parts.encoder(), parts.size, options.head_width)
        self.motion = MotionDecoder(options.motion_width)
        self.generator = Generator(options.width, options.generator_blocks, options.save_memory)
        self.identity = CodeEncoder(parts.encoder(), parts.size, options.head_width)
        self.renormalizer = Renormalizer(options.renormalizer_width or options.width, options.renormalizer_blocks)
        if options.stem != TRAINED:
            pretrained = parts.pretrained_encoder(options.stem) if parts.pretrained_encoder else None
            for stem in (self.generator.stem, self.renormalizer.stem):
                if pretrained is not None:
                    stem.copy_from(pretrained)
                stem.requires_grad_(False)

    def trainable(self, cycle: str) -> list[nn.Module]:
        """The networks a cycle trains, without their stem where that is frozen."""
        if cycle == "expression":
            return [self.expression, self.motion, *self._without_frozen_stem(self.generator)]
        return [self.identity, *self._without_frozen_stem(self.renormalizer)]

    def _without_frozen_stem(self, network: nn.Module) -> list[nn.Module]:
        frozen = self.options.stem != TRAINED
        return [child for name, child in network.named_children() if not (frozen and name == "stem")]

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Compute the wanted views of a cycle on `full`, both halves of the pairs (2P, 3, H, W).

        Args:
            pairs: a row shows one person twice (expression, and for `swapped_neutral`), or two people (identity).
            cycle: `expression` or `identity`.
            wanted: names of the views; networks that none of them needs are not run.
            noise: source of the generator's noise; None makes it zero.
        """
        full = torch.cat([pairs.first, pairs.second])
        if cycle == "expression":
            return self._expression_cycle(full, wanted, noise)
        return self._identity_cycle(full, wanted, noise)

    def _expression_cycle(self, full: Tensor, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """De-expression, a swap of the neutral faces within each pair, re-expression (section 3.1).

        All views are images, but `flow`, the facial motion, is (2P, 2, 16, 16), and `expression`, not in the paper, is
        the code of the first images (P, 256), whose target is that of the second ones.
        """
        code = self.expression(full)
        views: dict[str, View] = {}
        targets, monitored = {"full": full}, {"expression": code}
        if wanted - {"expression"}:
            monitored["flow"] = flow = self.motion(code)
            moved = self._moved(full, flow, wanted, noise)
            views = {name: View(image, "full") for name, image in moved.items() if name in wanted}
        if "expression" in wanted:
            first, targets["partner"] = code.chunk(2)
            views["expression"] = View(first, "partner")
        return Views(views, targets, monitored)

    def _moved(
        self, full: Tensor, flow: Tensor, wanted: frozenset[str], noise: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Move the faces by their flow, and the faces of each pair back by the flow of the other one."""
        images = {"flow": flow}
        if wanted & {"direct", "swapped_warp", "reconstruction"}:
            back = backflow(self.warper, flow)
        if wanted & {"frontal", "direct"}:
            images["frontal"] = self.warper.warp(full, flow, clamp=True)
        if "direct" in wanted:
            images["direct"] = self.warper.warp(swap_halves(images["frontal"]), back, clamp=True)
        generated = wanted & {"neutral", "swapped_warp", "reconstruction", "identity_reconstruction"}
        if generated:
            images |= self._neutral(full, flow, generated, noise)
        if wanted & {"swapped_warp", "reconstruction"}:
            swapped = swap_halves(images["neutral"])
        if "swapped_warp" in wanted:
            images["swapped_warp"] = self.warper.warp(swapped, back, clamp=True)
        if "reconstruction" in wanted:
            images["reconstruction"] = self.generator(swapped, back, self.warper, noise)
        return images

    def _neutral(
        self, full: Tensor, flow: Tensor, wanted: frozenset[str], noise: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Generate the neutral face and the unmoved face: one stem for both, and one decoder pass."""
        still = self.generator.stem(full)
        both = {}
        if wanted != {"identity_reconstruction"}:
            both["neutral"] = self.generator.move(still, flow, self.warper, noise)
        if "identity_reconstruction" in wanted:
            both["identity_reconstruction"] = still
        mid, deep = (torch.cat(maps) for maps in zip(*both.values(), strict=True))
        return dict(zip(both, self.generator.decode((mid, deep)).split(len(full)), strict=True))

    def _identity_cycle(self, full: Tensor, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """De-identity to the common mean face, and re-identity (section 3.2).

        The identity encoder reads the original image. The stage-1 networks are frozen, but the
        generator passes gradients to `restored_neutral`. `mean_face` is compared with the image's own neutral
        face, `common_mean_face` is the same with the batch's average. `swapped_neutral`, not in the paper, is
        `restored_neutral` by the code of the pair's other image: where both show one person, it asks the code for what
        they share. `identity`, not in the paper either, is the code of the first images (P, 256), whose target is that
        of the second ones.
        """
        code = self.identity(full)
        views: dict[str, View] = {}
        targets = {"full": full}
        if wanted - {"identity"}:
            images, targets = self._by_identity(full, code, wanted, noise)
            compared = dict.fromkeys(["mean_face", "restored_neutral", "swapped_neutral"], "neutral")
            compared["common_mean_face"] = "mean"
            views = {name: View(image, compared.get(name, "full")) for name, image in images.items() if name in wanted}
        if "identity" in wanted:
            first, targets["partner"] = code.chunk(2)
            views["identity"] = View(first, "partner")
        # Mean faces are meant to be the same for everybody: that they are is no sign of a collapse.
        return Views(views, targets, {"identity": code})

    def _by_identity(
        self, full: Tensor, code: Tensor, wanted: frozenset[str], noise: torch.Generator | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take its identity from each neutral face and give it back; return images, and what they are compared with."""
        with torch.no_grad():
            flow = self.motion(self.expression(full))
            neutral = self.generator(full, flow, self.warper, noise)
            if wanted & {"direct", "reconstruction"}:
                back = backflow(self.warper, flow)
        mean_faces = self.renormalizer(neutral, code, "denorm", self.warper)
        mean = batch_mean(mean_faces)
        images = {"mean_face": mean_faces, "common_mean_face": mean_faces}
        if wanted & {"restored_neutral", "direct", "reconstruction"}:
            images["restored_neutral"] = self.renormalizer(mean, code, "renorm", self.warper)
        if "swapped_neutral" in wanted:
            images["swapped_neutral"] = self.renormalizer(mean, swap_halves(code), "renorm", self.warper)
        if "direct" in wanted:
            images["direct"] = self.warper.warp(images["restored_neutral"], back, clamp=True)
        if "reconstruction" in wanted:
            images["reconstruction"] = self.generator(images["restored_neutral"], back, self.warper, noise)
        return images, {"full": full, "neutral": neutral, "mean": mean.detach().expand_as(mean_faces)}

    def features(self, images: Tensor, wanted: frozenset[str]) -> dict[str, Tensor]:
        """Map normalised images (B, 3, H, W) to named features (B, D); an encoder runs once for both of its own.

        `expression` and `identity` are the codes, (B, 256) and need the training size; `conv` and
        `identity_conv` are the flattened feature maps and exist at any size.
        """
        found = {}
        encoders = (("expression", "conv", self.expression), ("identity", "identity_conv", self.identity))
        for code, conv, encoder in encoders:
            if code in wanted:
                encoder.check(images)
            if wanted & {code, conv}:
                found[conv] = encoder.conv_feature(images)
            if code in wanted:
                found[code] = encoder.code(found[conv])
        return {name: feature for name, feature in found.items() if name in wanted}

    def translate(
        self, images: Tensor, drivers: Tensor | None, noise: torch.Generator | None, wanted: frozenset[str]
    ) -> dict[str, Tensor]:
        """Map normalised images (B, 3, S, S) to the wanted of the panels named in `panels_from`.

        `frontal` is the image warped to its neutral pose, `neutral` the generator's, `mean_face` per
        image; `flow` is (B, 2, 16, 16). With drivers of the same shape, `expression_swap` wears the
        driver's expression and pose, `identity_swap` is the driver's mean face given this identity.
        """
        if drivers is None:
            wanted -= {"expression_swap", "identity_swap"}
        panels: dict[str, Tensor] = {}
        from_neutral = {"neutral", "reconstruction", "expression_swap", "mean_face"}
        if wanted & {"flow", "frontal", *from_neutral}:
            panels["flow"] = flow = self.motion(self.expression(images))
        if "frontal" in wanted:
            panels["frontal"] = self.warper.warp(images, flow, clamp=True)
        if wanted & from_neutral:
            panels["neutral"] = self._generate(images, flow, noise)
        if "reconstruction" in wanted:
            panels["reconstruction"] = self._generate(panels["neutral"], backflow(self.warper, flow), noise)
        if wanted & {"mean_face", "identity_swap"}:
            identity = self.identity(images)
        if "mean_face" in wanted:
            panels["mean_face"] = self.renormalizer(panels["neutral"], identity, "denorm", self.warper)
        if drivers is not None and wanted & {"expression_swap", "identity_swap"}:
            driver_flow = self.motion(self.expression(drivers))
            if "expression_swap" in wanted:
                back = backflow(self.warper, driver_flow)
                panels["expression_swap"] = self._generate(panels["neutral"], back, noise)
            if "identity_swap" in wanted:
                driver_neutral = self._generate(drivers, driver_flow, noise)
                driver_mean = self.renormalizer(driver_neutral, self.identity(drivers), "denorm", self.warper)
                panels["identity_swap"] = self.renormalizer(driver_mean, identity, "renorm", self.warper)
        return {name: panel for name, panel in panels.items() if name in wanted}

    def _generate(self, images: Tensor, flow: Tensor, noise: torch.Generator | None) -> Tensor:
        """Move images by a flow; every image of the batch gets the same noise."""
        return self.generator(images, flow, self.warper, noise, shared_noise=True)
