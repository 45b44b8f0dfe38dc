"""Losses of embeddings: `nt-xent`, `variance`, `covariance`, `ranking` and `pair-hinge`.

The contrastive ones are formulas of a few lines, which tests hold against pytorch-metric-learning. That library gives
the same values, but its NT-Xent builds a table of 8 · P³ numbers: a step of 256 pairs takes 5 s and 2.2 GB of one core,
and the formula 11 ms and 8 MB (`benchmarks/contrastive.py`). lightly brings 15 packages that its losses do not use.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from facecycle.api import Options
from facecycle.whole_batch import gather
from facecycle_plugins.losses import Loss


class NtXentOptions(Options):
    """Options of NT-Xent."""

    temperature: float = Field(0.1, gt=0)
    """What cosines are divided by; a low one looks at the nearest negatives."""


class NtXentLoss(Loss):
    """Cross-entropy of finding the partner of each of 2P embeddings among the 2P - 1 others, by cosine / temperature.

    Source: SimCLR (ICML 2020) [P]. The values are those of the public code of SSL-FER (BMVC 2022) and of PCL
    (CVPR 2023) to seven digits [C].
    """

    Options = NtXentOptions
    options: NtXentOptions
    couples_images = True
    fewest_images = 2

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map embeddings (V, P, D) and their partners (P, D) to (V,), means over the 2P rows."""
        partners = _rows(target[None]).expand(len(predictions), -1, -1)
        unit = F.normalize(torch.cat([_rows(predictions), partners], dim=1), dim=2)
        pairs = partners.shape[1]
        cosines = _products(unit, unit.transpose(1, 2)) / self.options.temperature
        itself = torch.eye(2 * pairs, dtype=torch.bool, device=unit.device)
        partner = torch.arange(2 * pairs, device=unit.device).roll(pairs).expand(len(unit), -1)
        logits = cosines.masked_fill(itself, float("-inf"))
        return F.cross_entropy(logits.transpose(1, 2), partner, reduction="none").mean(1)


def _rows(embeddings: Tensor) -> Tensor:
    """Return the embeddings (V, B, D) of all processes, (V, B · processes, D), in single precision at least.

    Raises:
        ValueError: they are not embeddings.
    """
    _check(embeddings, "embeddings (D,)", 3)
    exact = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return gather(exact.transpose(0, 1)).transpose(0, 1)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product a @ b in full precision: divided by a temperature, bfloat16 is too coarse."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def _check(predictions: Tensor, what: str, dimensions: int) -> None:
    if predictions.dim() != dimensions:
        raise ValueError(f"it compares {what}")


class VarianceLoss(Loss):
    """Mean over the dimensions of relu(1 - deviation over the batch): embeddings must differ between images.

    The deviation is sqrt(unbiased variance + 1e-4). Source: VICReg (ICLR 2022) [P].
    """

    needs_target = False
    couples_images = True
    fewest_images = 2

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map embeddings (V, B, D) to (V,)."""
        return (1 - (_rows(predictions).var(dim=1) + 1e-4).sqrt()).relu().mean(1)


class CovarianceLoss(Loss):
    """Sum of the squared covariances of different dimensions, over D: each dimension must tell something of its own.

    The divisor of a covariance is B - 1. Source: VICReg (ICLR 2022) [P].
    """

    needs_target = False
    couples_images = True
    fewest_images = 2

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map embeddings (V, B, D) to (V,)."""
        rows = _rows(predictions)
        centred = rows - rows.mean(dim=1, keepdim=True)
        covariance = _products(centred.transpose(1, 2), centred) / (rows.shape[1] - 1)
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        return (covariance.square().sum((1, 2)) - diagonal.square().sum(1)) / rows.shape[2]


class RankingOptions(Options):
    """Options of the ranking loss."""

    margin: float = Field(0.03, ge=0)
    """How much further than the frame before it a frame has to be, in squared distance [C]."""


class RankingLoss(Loss):
    """Frames further away in time are further away in code: the sum over i of relu(d_(i-1) - d_i + margin).

    d_i is the squared distance of the i-th frame to the anchor. While all hinges are active the sum telescopes to
    d_0 - d_K + K · margin, so that the ends are trained first.
    Source: public code of Lu et al., "Temporal Consistency" (BMVC 2020) [C].
    """

    Options = RankingOptions
    options: RankingOptions

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map codes (V, B, 1 + K, D), in the order of time, and the anchor's (B, 1, D) to (V,)."""
        _check(predictions, "codes (1 + K, D) in the order of time", 4)
        distances = (predictions - target).square().sum(-1)
        return (distances[..., :-1] - distances[..., 1:] + self.options.margin).relu().sum(2).mean(1)


class PairHingeOptions(Options):
    """Options of the pair hinge; the defaults are assumed [A]."""

    same: bool = True
    """True where a pair shows one person, and has to be near. False where it shows two, and has to be far."""
    boundary: float = Field(1.0, ge=0, le=4)
    """Squared distance between the two, of unit vectors, for which it lies in [0, 4]."""
    margin: float = Field(0.5, ge=0)
    """How far on its side of the boundary a pair costs nothing."""


class PairHingeLoss(Loss):
    """Mean over pairs of relu(margin - y · (boundary - squared distance)), y = 1 for one person and -1 for two [P].

    Pairs of two people are made of a whole batch, which therefore is not computed in parts.
    """

    Options = PairHingeOptions
    options: PairHingeOptions
    couples_images = True
    fewest_images = 2

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map unit codes (V, B, D) and those they are paired with (B, D) to (V,)."""
        _check(predictions, "embeddings (D,)", 3)
        inside = self.options.boundary - (predictions - target).square().sum(-1)
        return (self.options.margin - (inside if self.options.same else -inside)).relu().mean(1)
