"""renormalize in Triton: one launch forward, one backward.

A row is one map of one image, r = b·C + c. A program holds a tile of rows by positions and walks over the
map: once for the mean, once for the variance around it, once for the result. Two passes, never E[x²] - E[x]²,
which cancels where the mean is large. The later passes find the map in the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from facecycle_kernels.backend import memory_format
from facecycle_kernels.renormalize.reference import EPS


@triton.jit
def _offset(row, p, C, HW, CHANNELS_LAST: tl.constexpr):
    """Return the 64 bit offset of position p in a row's map."""
    if CHANNELS_LAST:
        # Divided in 32 bit: a division in 64 bit is a call, and spills.
        return ((row // C).to(tl.int64) * HW + p) * C + row % C
    return row.to(tl.int64) * HW + p


@triton.jit
def _forward(
    x_ptr, gamma_ptr, beta_ptr, out_ptr, mean_ptr, rstd_ptr, rows, C, HW, eps,
    SPATIAL: tl.constexpr, CHANNELS_LAST: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = row < rows
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = here[:, None] & (p < HW)[None, :]
        offset = _offset(row[:, None], p[None, :], C, HW, CHANNELS_LAST)
        total += tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=1) / HW
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = here[:, None] & (p < HW)[None, :]
        offset = _offset(row[:, None], p[None, :], C, HW, CHANNELS_LAST)
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        centred = tl.where(mask, x - mean[:, None], 0.0)
        total += centred * centred
    rstd = 1 / tl.sqrt(tl.sum(total, axis=1) / HW + eps)
    tl.store(mean_ptr + row, mean, mask=here)
    tl.store(rstd_ptr + row, rstd, mask=here)
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = here[:, None] & (p < HW)[None, :]
        offset = _offset(row[:, None], p[None, :], C, HW, CHANNELS_LAST)
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        if SPATIAL:
            gamma = tl.load(gamma_ptr + offset, mask=mask, other=0.0).to(tl.float32)
            beta = tl.load(beta_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        else:
            gamma = tl.load(gamma_ptr + row, mask=here, other=0.0).to(tl.float32)[:, None]
            beta = tl.load(beta_ptr + row, mask=here, other=0.0).to(tl.float32)[:, None]
        tl.store(out_ptr + offset, (x - mean[:, None]) * rstd[:, None] * gamma + beta, mask=mask)


@triton.jit
def _backward(
    grad_ptr, x_ptr, gamma_ptr, mean_ptr, rstd_ptr, grad_x_ptr, grad_gamma_ptr, grad_beta_ptr, rows, C, HW,
    SPATIAL: tl.constexpr, CHANNELS_LAST: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """With n = (x - mean)·rstd and g = grad·gamma: grad_x = rstd·(g - mean(g) - n·mean(g·n))."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = row < rows
    mean = tl.load(mean_ptr + row, mask=here, other=0.0)[:, None]
    rstd = tl.load(rstd_ptr + row, mask=here, other=0.0)[:, None]
    total_g = tl.zeros((ROWS, BLOCK), tl.float32)
    total_gn = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = here[:, None] & (p < HW)[None, :]
        offset = _offset(row[:, None], p[None, :], C, HW, CHANNELS_LAST)
        grad = tl.load(grad_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        normal = (tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32) - mean) * rstd
        if SPATIAL:
            tl.store(grad_gamma_ptr + offset, grad * normal, mask=mask)
            grad *= tl.load(gamma_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        total_g += grad
        total_gn += grad * normal
    sum_g, sum_gn = tl.sum(total_g, axis=1), tl.sum(total_gn, axis=1)
    gamma = tl.full((ROWS,), 1.0, tl.float32)
    if not SPATIAL:
        tl.store(grad_gamma_ptr + row, sum_gn, mask=here)
        tl.store(grad_beta_ptr + row, sum_g, mask=here)
        gamma = tl.load(gamma_ptr + row, mask=here, other=0.0).to(tl.float32)
    mean_g, mean_gn = (sum_g / HW)[:, None], (sum_gn / HW)[:, None]
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = here[:, None] & (p < HW)[None, :]
        offset = _offset(row[:, None], p[None, :], C, HW, CHANNELS_LAST)
        grad = tl.load(grad_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        normal = (tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32) - mean) * rstd
        if SPATIAL:
            grad *= tl.load(gamma_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        tl.store(grad_x_ptr + offset, (grad - mean_g - normal * mean_gn) * rstd * gamma[:, None], mask=mask)


def tile(positions: int, channels_last: bool) -> tuple[int, int]:
    """Return the rows and positions of a program's tile: long along the axis that lies together in memory."""
    if channels_last:
        return 32, 16
    block = min(512, triton.next_power_of_2(positions))
    return max(1, min(16, 512 // block)), block


def forward(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the forward kernel: the result, and each map's mean and 1/deviation (B, C) in float32."""
    layout = memory_format(x)
    spatial = gamma.shape == x.shape
    x, gamma, beta = (t.contiguous(memory_format=layout) for t in (x, gamma, beta))
    out = torch.empty_like(x, memory_format=layout)
    mean = x.new_empty(x.shape[:2], dtype=torch.float32)
    rstd = torch.empty_like(mean)
    positions = x.shape[2] * x.shape[3]
    if x.numel() > 0:
        last = layout is torch.channels_last
        rows, block = tile(positions, last)
        _forward[(triton.cdiv(mean.numel(), rows),)](
            x, gamma, beta, out, mean, rstd, mean.numel(), x.shape[1], positions, EPS,
            SPATIAL=spatial, CHANNELS_LAST=last, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    return out, mean, rstd


def backward(grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the backward kernel: gradients of x, gamma and, unless it is `grad` itself, beta."""
    layout = memory_format(x)
    spatial = gamma.shape == x.shape
    x, gamma, grad = (t.contiguous(memory_format=layout) for t in (x, gamma, grad))
    grad_x = torch.empty_like(x, memory_format=layout)
    grad_gamma = torch.empty_like(gamma, memory_format=layout)
    grad_beta = torch.empty_like(gamma) if not spatial else gamma.new_empty(0)
    positions = x.shape[2] * x.shape[3]
    if x.numel() > 0:
        last = layout is torch.channels_last
        rows, block = tile(positions, last)
        _backward[(triton.cdiv(mean.numel(), rows),)](
            grad, x, gamma, mean, rstd, grad_x, grad_gamma, grad_beta, mean.numel(), x.shape[1], positions,
            SPATIAL=spatial, CHANNELS_LAST=last, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    return grad_x, grad_gamma, grad_beta
