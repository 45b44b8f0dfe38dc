"""ssim in Triton: one launch forward, one backward.

A program computes a tile of TILE x TILE outputs of one plane from the pixels within reach, which it reads
once. Both passes of the separable gaussian are products with a banded matrix: (TILE, 2 TILE) x (2 TILE, 2 TILE)
x (2 TILE, TILE), in float32. A tile of 16 is what fits the registers of every target.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from facecycle_kernels.ssim.reference import C1, C2, SIGMA, WINDOW

TILE = 16
WARPS = 8
REACH = WINDOW // 2
_NORM = sum(math.exp(-(d**2) / (2 * SIGMA**2)) for d in range(-REACH, REACH + 1))

_C1, _C2, _REACH = tl.constexpr(C1), tl.constexpr(C2), tl.constexpr(REACH)
_FALL, _SCALE = tl.constexpr(-1 / (2 * SIGMA**2)), tl.constexpr(1 / _NORM)


@triton.jit
def _window(from_first, TILE: tl.constexpr):
    """Return the weight of a read pixel for an output; both are numbered, the reads from REACH before."""
    distance = (from_first - _REACH).to(tl.float32)
    return tl.where(tl.abs(distance) <= _REACH, tl.exp(distance * distance * _FALL) * _SCALE, 0.0)


@triton.jit
def _blur(x, rows, columns):
    """Filter (2 TILE, 2 TILE) to (TILE, TILE)."""
    across = tl.dot(x, columns, input_precision="ieee")
    return tl.dot(rows, across, input_precision="ieee")


@triton.jit
def _bands(TILE: tl.constexpr):
    """Return the matrices (TILE, 2 TILE) and (2 TILE, TILE) of the filter along columns and along rows."""
    out, read = tl.arange(0, TILE), tl.arange(0, 2 * TILE)
    return (
        _window(read[None, :] - out[:, None], TILE),
        _window(read[:, None] - out[None, :], TILE),
    )


@triton.jit
def _reads(y0, x0, H, W, TILE: tl.constexpr):
    """Return offsets in a plane, and masks, of the pixels within reach of a tile (2 TILE, 2 TILE)."""
    read = tl.arange(0, 2 * TILE)
    y, x = (y0 - _REACH + read)[:, None], (x0 - _REACH + read)[None, :]
    return y * W + x, (y >= 0) & (y < H) & (x >= 0) & (x < W)


@triton.jit
def _forward(
    predictions_ptr, target_ptr, partial_ptr, maps_ptr, planes, target_planes, H, W, tiles_x, tiles,
    NEEDS_MAPS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    plane, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    y0, x0 = tile // tiles_x * TILE, tile % tiles_x * TILE
    rows, columns = _bands(TILE)
    offset, mask = _reads(y0, x0, H, W, TILE)
    HW = H * W
    p = tl.load(predictions_ptr + plane.to(tl.int64) * HW + offset, mask=mask, other=0.0).to(tl.float32)
    shared = (plane % target_planes).to(tl.int64)
    t = tl.load(target_ptr + shared * HW + offset, mask=mask, other=0.0).to(tl.float32)
    mean_p, mean_t = _blur(p, rows, columns), _blur(t, rows, columns)
    var_p = _blur(p * p, rows, columns) - mean_p * mean_p
    var_t = _blur(t * t, rows, columns) - mean_t * mean_t
    covariance = _blur(p * t, rows, columns) - mean_p * mean_t
    below = mean_p * mean_p + mean_t * mean_t + _C1
    luminance = (2 * mean_p * mean_t + _C1) / below
    spread = var_p + var_t + _C2
    structure = (2 * covariance + _C2) / spread
    out = tl.arange(0, TILE)
    y, x = (y0 + out)[:, None], (x0 + out)[None, :]
    inside = (y < H) & (x < W)
    tl.store(partial_ptr + tl.program_id(0), tl.sum(tl.where(inside, luminance * structure, 0.0)))
    if NEEDS_MAPS:
        by_product = 2 * luminance / spread
        by_square = -luminance * structure / spread
        by_mean = structure * 2 * (mean_t - mean_p * luminance) / below - by_product * mean_t - 2 * by_square * mean_p
        # Widened here, not `planes`: a single plane is a constant.
        first, at = plane.to(tl.int64), y * W + x
        tl.store(maps_ptr + first * HW + at, by_mean, mask=inside)
        tl.store(maps_ptr + (first + planes) * HW + at, by_square, mask=inside)
        tl.store(maps_ptr + (first + 2 * planes) * HW + at, by_product, mask=inside)


@triton.jit
def _backward(
    weight_ptr, predictions_ptr, target_ptr, maps_ptr, grad_ptr, planes, target_planes, H, W, tiles_x, tiles,
    TILE: tl.constexpr,
):  # fmt: skip
    plane, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    y0, x0 = tile // tiles_x * TILE, tile % tiles_x * TILE
    rows, columns = _bands(TILE)
    offset, mask = _reads(y0, x0, H, W, TILE)
    HW = H * W
    first = plane.to(tl.int64)
    by_mean = _blur(tl.load(maps_ptr + first * HW + offset, mask=mask, other=0.0), rows, columns)
    by_square = _blur(tl.load(maps_ptr + (first + planes) * HW + offset, mask=mask, other=0.0), rows, columns)
    by_product = _blur(tl.load(maps_ptr + (first + 2 * planes) * HW + offset, mask=mask, other=0.0), rows, columns)
    out = tl.arange(0, TILE)
    y, x = (y0 + out)[:, None], (x0 + out)[None, :]
    inside = (y < H) & (x < W)
    at = y * W + x
    p = tl.load(predictions_ptr + plane.to(tl.int64) * HW + at, mask=inside, other=0.0).to(tl.float32)
    shared = (plane % target_planes).to(tl.int64)
    t = tl.load(target_ptr + shared * HW + at, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + plane // target_planes)
    grad = weight * (by_mean + 2 * p * by_square + t * by_product)
    tl.store(grad_ptr + plane.to(tl.int64) * HW + at, grad, mask=inside)


def _sizes(predictions: Tensor) -> tuple[int, int, int, int, int]:
    height, width = predictions.shape[-2:]
    planes = predictions.shape[0] * predictions.shape[1] * predictions.shape[2]
    tiles_x = triton.cdiv(width, TILE)
    return planes, height, width, tiles_x, tiles_x * triton.cdiv(height, TILE)


def forward(predictions: Tensor, target: Tensor, needs_maps: bool) -> tuple[Tensor, Tensor]:
    """Launch the forward kernel: the means (V,) and the derivative maps (3, V, B, C, H, W), or none."""
    predictions, target = predictions.contiguous(), target.contiguous()
    planes, height, width, tiles_x, tiles = _sizes(predictions)
    partial = predictions.new_empty(planes * tiles, dtype=torch.float32)
    maps = predictions.new_empty((3, *predictions.shape) if needs_maps else 0, dtype=torch.float32)
    _forward[(planes * tiles,)](
        predictions, target, partial, maps, planes, planes // len(predictions), height, width, tiles_x, tiles,
        NEEDS_MAPS=needs_maps, TILE=TILE, num_warps=WARPS,
    )  # fmt: skip
    return partial.view(len(predictions), -1).sum(1) / target.numel(), maps


def backward(grad: Tensor, predictions: Tensor, target: Tensor, maps: Tensor) -> Tensor:
    """Launch the backward kernel: the gradient of the predictions, for that of their means (V,)."""
    predictions, target, maps = predictions.contiguous(), target.contiguous(), maps.contiguous()
    planes, height, width, tiles_x, tiles = _sizes(predictions)
    out = torch.empty_like(predictions)
    weight = (grad / target.numel()).float().contiguous()
    _backward[(planes * tiles,)](
        weight, predictions, target, maps, out, planes, planes // len(predictions), height, width, tiles_x, tiles,
        TILE=TILE, num_warps=WARPS,
    )  # fmt: skip
    return out
