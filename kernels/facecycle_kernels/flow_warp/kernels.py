"""flow_warp in Triton: one launch forward; one for both gradients and one for the resize's adjoint backward.

Pixels are numbered p = y·W + x. A pixel's place in the image is x + flow_x·(W - 1)/2, which is the
identity grid of align_corners=True without ever forming it. An image starts at a 64 bit offset, and has less
than 2^31 numbers of its own; every load is masked and says what it reads there.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from facecycle_kernels.backend import memory_format
from facecycle_kernels.flow_warp.reference import FAR

_FAR = tl.constexpr(FAR)


@triton.jit
def _cell(flow, offset, mask):
    """Load a cell of the low-resolution flow, limited to what can be sampled."""
    value = tl.load(flow + offset, mask=mask, other=0.0).to(tl.float32)
    value = tl.where(value == value, value, _FAR)
    return tl.minimum(tl.maximum(value, -_FAR), _FAR)


@triton.jit
def _resized(flow, plane, y, x, mask, h, w, scale_y, scale_x):
    """Return the flow at pixels: between four cells, bilinear, align_corners=True."""
    at_y, at_x = y.to(tl.float32) * scale_y, x.to(tl.float32) * scale_x
    y0, x0 = tl.minimum(at_y.to(tl.int32), h - 1), tl.minimum(at_x.to(tl.int32), w - 1)
    y1, x1 = tl.minimum(y0 + 1, h - 1), tl.minimum(x0 + 1, w - 1)
    fy, fx = at_y - y0.to(tl.float32), at_x - x0.to(tl.float32)
    top = _cell(flow, plane + y0 * w + x0, mask) * (1 - fx) + _cell(flow, plane + y0 * w + x1, mask) * fx
    bottom = _cell(flow, plane + y1 * w + x0, mask) * (1 - fx) + _cell(flow, plane + y1 * w + x1, mask) * fx
    return top * (1 - fy) + bottom * fy


@triton.jit
def _offset(c, p, C, HW, CHANNELS_LAST: tl.constexpr):
    """Return the offset of channel c and pixel p in an image."""
    if CHANNELS_LAST:
        return p * C + c
    return c * HW + p


@triton.jit
def _forward(
    x_ptr, flow_ptr, out_ptr, C, H, W, h, w, blocks, scale_y, scale_x, half_y, half_x,
    CLAMP: tl.constexpr, CHANNELS_LAST: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    b, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    HW = H * W
    x_ptr += b.to(tl.int64) * C * HW
    out_ptr += b.to(tl.int64) * C * HW
    flow_ptr += b.to(tl.int64) * 2 * h * w
    p = block * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = p < HW
    y, x = p // W, p % W
    flow_x = _resized(flow_ptr, 0, y, x, inside, h, w, scale_y, scale_x)
    flow_y = _resized(flow_ptr, h * w, y, x, inside, h, w, scale_y, scale_x)
    if CLAMP:
        flow_x = tl.minimum(tl.maximum(flow_x, -1.0), 1.0)
        flow_y = tl.minimum(tl.maximum(flow_y, -1.0), 1.0)
    at_x, at_y = x.to(tl.float32) + flow_x * half_x, y.to(tl.float32) + flow_y * half_y
    x0, y0 = tl.floor(at_x), tl.floor(at_y)
    fx, fy = at_x - x0, at_y - y0
    x0, y0 = x0.to(tl.int32), y0.to(tl.int32)
    total = tl.zeros((BLOCK_C, BLOCK_P), tl.float32)
    for corner in tl.static_range(4):
        cx, cy = x0 + corner % 2, y0 + corner // 2
        weight = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
        seen = inside & (cx >= 0) & (cx < W) & (cy >= 0) & (cy < H)
        offset = _offset(c[:, None], (cy * W + cx)[None, :], C, HW, CHANNELS_LAST)
        value = tl.load(x_ptr + offset, mask=(c < C)[:, None] & seen[None, :], other=0.0).to(tl.float32)
        total += value * weight[None, :]
    offset = _offset(c[:, None], p[None, :], C, HW, CHANNELS_LAST)
    tl.store(out_ptr + offset, total, mask=(c < C)[:, None] & inside[None, :])


@triton.jit
def _backward(
    grad_ptr, x_ptr, flow_ptr, grad_x_ptr, grad_flow_ptr, C, H, W, h, w, blocks, scale_y, scale_x, half_y, half_x,
    CLAMP: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_FLOW: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Scatter the image's gradient (float32, atomic), and write the gradient of the resized flow (B, 2, H, W)."""
    b, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    HW = H * W
    grad_ptr += b.to(tl.int64) * C * HW
    x_ptr += b.to(tl.int64) * C * HW
    grad_x_ptr += b.to(tl.int64) * C * HW
    flow_ptr += b.to(tl.int64) * 2 * h * w
    p = block * BLOCK_P + tl.arange(0, BLOCK_P)
    inside = p < HW
    y, x = p // W, p % W
    flow_x = _resized(flow_ptr, 0, y, x, inside, h, w, scale_y, scale_x)
    flow_y = _resized(flow_ptr, h * w, y, x, inside, h, w, scale_y, scale_x)
    passes_x, passes_y = inside, inside
    if CLAMP:
        passes_x, passes_y = inside & (tl.abs(flow_x) <= 1.0), inside & (tl.abs(flow_y) <= 1.0)
        flow_x = tl.minimum(tl.maximum(flow_x, -1.0), 1.0)
        flow_y = tl.minimum(tl.maximum(flow_y, -1.0), 1.0)
    at_x, at_y = x.to(tl.float32) + flow_x * half_x, y.to(tl.float32) + flow_y * half_y
    x0, y0 = tl.floor(at_x), tl.floor(at_y)
    fx, fy = at_x - x0, at_y - y0
    x0, y0 = x0.to(tl.int32), y0.to(tl.int32)
    along_x = tl.zeros((BLOCK_P,), tl.float32)
    along_y = tl.zeros((BLOCK_P,), tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        offset = _offset(c[:, None], p[None, :], C, HW, CHANNELS_LAST)
        grad = tl.load(grad_ptr + offset, mask=(c < C)[:, None] & inside[None, :], other=0.0).to(tl.float32)
        for corner in tl.static_range(4):
            cx, cy = x0 + corner % 2, y0 + corner // 2
            weight_x, weight_y = (fx if corner % 2 else 1 - fx), (fy if corner // 2 else 1 - fy)
            seen = (c < C)[:, None] & (inside & (cx >= 0) & (cx < W) & (cy >= 0) & (cy < H))[None, :]
            offset = _offset(c[:, None], (cy * W + cx)[None, :], C, HW, CHANNELS_LAST)
            if NEEDS_X:
                tl.atomic_add(grad_x_ptr + offset, grad * (weight_x * weight_y)[None, :], mask=seen, sem="relaxed")
            if NEEDS_FLOW:
                value = tl.load(x_ptr + offset, mask=seen, other=0.0).to(tl.float32)
                product = tl.sum(grad * value, axis=0)
                along_x += product * (weight_y if corner % 2 else -weight_y)
                along_y += product * (weight_x if corner // 2 else -weight_x)
    if NEEDS_FLOW:
        target = grad_flow_ptr + b.to(tl.int64) * 2 * HW + p
        tl.store(target, tl.where(passes_x, along_x * half_x, 0.0), mask=inside)
        tl.store(target + HW, tl.where(passes_y, along_y * half_y, 0.0), mask=inside)


@triton.jit
def _resize_adjoint(
    fine_ptr, out_ptr, H, W, h, w, scale_y, scale_x, reach_y, reach_x,
    BLOCK_J: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """Sum, for one row of cells, what its pixels passed on: each pixel to four cells, without atomics.

    A limited cell needs no care: pixels that it moves lie outside, and have passed nothing on.
    """
    plane, i = tl.program_id(0) // h, tl.program_id(0) % h
    j = tl.program_id(1) * BLOCK_J + tl.arange(0, BLOCK_J)
    # Pixels that reach row i lie less than a cell away from it.
    first = tl.maximum(tl.ceil((i - 1) * reach_y).to(tl.int32), 0)
    last = tl.minimum(tl.floor((i + 1) * reach_y).to(tl.int32), H - 1)
    total = tl.zeros((BLOCK_J,), tl.float32)
    for y in range(first, last + 1):
        weight_y = tl.maximum(1 - tl.abs(y * scale_y - i), 0.0)
        for start in range(0, W, BLOCK_X):
            x = start + tl.arange(0, BLOCK_X)
            value = tl.load(fine_ptr + (plane.to(tl.int64) * H + y) * W + x, mask=x < W, other=0.0)
            weight_x = tl.maximum(1 - tl.abs(x[:, None].to(tl.float32) * scale_x - j[None, :].to(tl.float32)), 0.0)
            total += tl.sum(value[:, None] * weight_x, axis=0) * weight_y
    offset = (plane.to(tl.int64) * h + i) * w + j
    tl.store(out_ptr + offset, total, mask=j < w)


def _scale(cells: int, pixels: int) -> float:
    """Cells a pixel, with both ends aligned. From the host: an integer 1 would turn into a constant."""
    return (cells - 1) / (pixels - 1) if pixels > 1 else 0.0


def _reach(cells: int, pixels: int) -> float:
    """Pixels a cell; all of them where there is one cell or one pixel."""
    return (pixels - 1) / (cells - 1) if cells > 1 and pixels > 1 else float(pixels)


def forward(x: Tensor, flow: Tensor, clamp: bool) -> Tensor:
    """Launch the forward kernel; arguments as `flow_warp`'s."""
    layout = memory_format(x)
    x, flow = x.contiguous(memory_format=layout), flow.contiguous()
    _check_size(x)
    batch, channels, height, width = x.shape
    out = torch.empty_like(x, memory_format=layout)
    if out.numel() == 0:
        return out
    last = layout is torch.channels_last
    block_c, block_p = blocks(channels, last)
    per_image = triton.cdiv(height * width, block_p)
    h, w = flow.shape[-2:]
    _forward[(batch * per_image, triton.cdiv(channels, block_c))](
        x, flow, out, channels, height, width, h, w, per_image,
        _scale(h, height), _scale(w, width), (height - 1) / 2, (width - 1) / 2,
        CLAMP=clamp, CHANNELS_LAST=last, BLOCK_P=block_p, BLOCK_C=block_c,
    )  # fmt: skip
    return out


def backward(
    grad: Tensor, x: Tensor, flow: Tensor, clamp: bool, needs_x: bool, needs_flow: bool
) -> tuple[Tensor, Tensor]:
    """Launch the backward kernels: gradients of x and of the flow, empty where not needed."""
    layout = memory_format(x)
    x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)
    flow = flow.contiguous()
    batch, channels, height, width = x.shape
    h, w = flow.shape[-2:]
    wide = torch.float32
    grad_x = torch.zeros_like(x, dtype=wide, memory_format=layout) if needs_x else x.new_empty(0, dtype=wide)
    fine = x.new_empty((batch, 2, height, width) if needs_flow else 0, dtype=wide)
    grad_flow = torch.zeros_like(flow, dtype=wide) if needs_flow else flow.new_empty(0, dtype=wide)
    if x.numel() > 0:
        last = layout is torch.channels_last
        block_c, block_p = blocks(channels, last)
        per_image = triton.cdiv(height * width, block_p)
        scales = _scale(h, height), _scale(w, width)
        _backward[(batch * per_image,)](
            grad, x, flow, grad_x, fine, channels, height, width, h, w, per_image,
            *scales, (height - 1) / 2, (width - 1) / 2,
            CLAMP=clamp, NEEDS_X=needs_x, NEEDS_FLOW=needs_flow,
            CHANNELS_LAST=last, BLOCK_P=block_p, BLOCK_C=block_c,
        )  # fmt: skip
        if needs_flow:
            block_j = 16
            _resize_adjoint[(batch * 2 * h, triton.cdiv(w, block_j))](
                fine, grad_flow, height, width, h, w, *scales, _reach(h, height), _reach(w, width),
                BLOCK_J=block_j, BLOCK_X=32,
            )  # fmt: skip
    return grad_x.to(x.dtype), grad_flow.to(flow.dtype)


def blocks(channels: int, channels_last: bool) -> tuple[int, int]:
    """Return the tile's channels and pixels: long along the axis that lies together in memory."""
    if channels_last:
        return min(32, triton.next_power_of_2(channels)), 16
    return min(4, triton.next_power_of_2(channels)), 128


def _check_size(x: Tensor) -> None:
    if x.numel() >= len(x) * 2**31:
        raise ValueError(f"flow_warp takes images of less than 2^31 numbers each, got {tuple(x.shape)}")
