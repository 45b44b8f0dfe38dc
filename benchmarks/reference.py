"""A training step the way the public reference code takes it: the same maths and weights, none of the savings.

Target features for a copy of the target a view, 2-D SSIM windows made anew for each pair, a numpy grid for each warp,
a generator pass for each image, contiguous tensors. What the paper's code does was read; the lines are ours.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facecycle.method.facecycle import FaceCycle, swap_halves


class PlainWarper:
    """Warps by a grid made in numpy at each call, and renormalizes with torch's instance norm."""

    def warp(self, x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
        height, width = x.shape[-2:]
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=True)
        if clamp:
            flow = flow.clamp(-1, 1)
        mesh = np.stack(np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)), 2)
        grid = torch.from_numpy(mesh).to(x).unsqueeze(0).repeat(len(x), 1, 1, 1)
        return F.grid_sample(x, grid + flow.permute(0, 2, 3, 1), align_corners=True)

    def renormalize(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return F.instance_norm(x) * gamma + beta


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of images (B, C, H, W), with an 11 x 11 window as a 2-D convolution."""
    channels = a.shape[1]
    line = torch.exp(-(torch.arange(11, dtype=a.dtype, device=a.device) - 5).square() / (2 * 1.5**2))
    line = line / line.sum()
    window = (line[:, None] * line[None]).expand(channels, 1, 11, 11).contiguous()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x, window, padding=5, groups=channels)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def symmetry(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return F.l1_loss(x[..., :half].contiguous(), torch.flip(x[..., half:], dims=[3]).contiguous())


def perceptual(vgg: nn.Module, views: list[Tensor], full: Tensor) -> Tensor:
    """Gram losses over all views at once, against as many copies of the target."""

    def grams(x: Tensor) -> list[Tensor]:
        flat = [f.flatten(2) for f in vgg(x)]
        return [f @ f.transpose(1, 2) / f.shape[-1] for f in flat]

    wanted = grams(torch.cat([full] * len(views)))
    found = grams(torch.cat(views))
    return torch.stack([F.mse_loss(f, w.detach()) for f, w in zip(found, wanted, strict=True)]).sum()


def expression_step(method: FaceCycle, vgg: nn.Module, full: Tensor) -> Tensor:
    """The total loss of stage 1 on both halves of the pairs (2P, 3, H, W); noise is zero."""
    warper = PlainWarper()
    flow = method.motion(method.expression(full))
    back = -warper.warp(flow, flow).clamp(-1, 1)
    neutral = method.generator(full, flow, warper, None)
    frontal = warper.warp(full, flow, True)
    direct = warper.warp(swap_halves(frontal), back, True)
    swapped_warp = warper.warp(swap_halves(neutral), back, True)
    reconstruction = method.generator(swap_halves(neutral), back, warper, None)
    still = method.generator(full, None, warper, None)
    pixel = sum(F.l1_loss(x, full) for x in (reconstruction, still, swapped_warp)) + 1.5 * F.l1_loss(direct, full)
    similarity = (1 - ssim(full, reconstruction)) + (1 - ssim(full, still)) + 1.5 * (1 - ssim(full, direct))
    shape = symmetry(neutral) + 0.5 * symmetry(frontal)
    texture = perceptual(vgg, [neutral, swapped_warp, direct, reconstruction], full)
    return 0.01 * texture + pixel + 1.5 * shape + 5 * similarity


def identity_step(method: FaceCycle, vgg: nn.Module, full: Tensor) -> Tensor:
    """The total loss of stage 2 on a batch (B, 3, H, W); noise is zero."""
    warper = PlainWarper()
    with torch.no_grad():
        flow = method.motion(method.expression(full))
        back = -warper.warp(flow, flow).clamp(-1, 1)
        neutral = method.generator(full, flow, warper, None)
    code = method.identity(full)
    faces = method.renormalizer(neutral, code, "denorm", warper)
    mean = faces.mean(0, keepdim=True).repeat(len(full), 1, 1, 1)
    restored = method.renormalizer(mean, code, "renorm", warper)
    direct = warper.warp(restored, back, True)
    reconstruction = method.generator(restored, back, warper, None)
    pixel = F.l1_loss(reconstruction, full) + 0.8 * F.l1_loss(direct, full) + F.l1_loss(restored, neutral)
    similarity = (1 - ssim(full, reconstruction)) + 0.8 * (1 - ssim(full, direct))
    texture = perceptual(vgg, [direct, reconstruction], full)
    margin = ((faces - neutral).abs() - 0.1).mean()
    return 0.01 * texture + pixel + 1.5 * symmetry(restored) + 5 * similarity + margin
