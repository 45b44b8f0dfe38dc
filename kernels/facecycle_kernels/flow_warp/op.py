"""flow_warp as the custom op `facecycle::flow_warp`: Triton on CUDA, torch's own sampler elsewhere."""

from typing import Any

import torch
from torch import Tensor

from facecycle_kernels.backend import has_tangent, memory_format, on_cuda, without_autocast
from facecycle_kernels.flow_warp import reference
from facecycle_kernels.flow_warp.reference import FAR


def _tent(cells: int, pixels: int, like: Tensor) -> Tensor:
    """Return the (pixels, cells) matrix of the bilinear resize with align_corners=True."""
    scale = (cells - 1) / (pixels - 1) if pixels > 1 else 0.0
    at = torch.arange(pixels, dtype=like.dtype, device=like.device) * scale
    return (1 - (at[:, None] - torch.arange(cells, dtype=like.dtype, device=like.device)).abs()).clamp_(min=0)


def _axis(length: int, like: Tensor) -> Tensor:
    """Return the identity grid along one axis, (length,), with align_corners=True; a single cell sits at the centre."""
    end = min(length - 1, 1)
    return torch.linspace(-end, end, length, dtype=like.dtype, device=like.device)


def _grid(x: Tensor, flow: Tensor, clamp: bool) -> tuple[Tensor, Tensor]:
    """Return the sampling grid (B, H, W, 2) and the resized flow (B, 2, H, W) before the clamp."""
    height, width = x.shape[-2:]
    dtype = torch.promote_types(torch.promote_types(x.dtype, flow.dtype), torch.float32)
    wide = flow.to(dtype).nan_to_num(nan=FAR, posinf=FAR, neginf=-FAR).clamp(-FAR, FAR)
    if flow.shape[-2:] != (height, width):
        # Two small matrix products take a fraction of the time of F.interpolate on two channels.
        wide = _tent(flow.shape[-2], height, wide) @ (wide @ _tent(flow.shape[-1], width, wide).T)
    limited = wide.clamp(-1, 1) if clamp else wide
    along_x, along_y = limited.unbind(1)
    grid = torch.stack((along_x + _axis(width, wide), along_y + _axis(height, wide)[:, None]), dim=-1)
    return grid, wide


@torch.library.custom_op("facecycle::flow_warp", mutates_args=())
@without_autocast
def flow_warp_op(x: Tensor, flow: Tensor, clamp: bool) -> Tensor:
    """See `flow_warp`."""
    grid, _ = _grid(x, flow, clamp)
    out = torch.grid_sampler_2d(x.to(grid.dtype), grid, 0, 0, True)
    return out.to(x.dtype).contiguous(memory_format=memory_format(x))


@torch.library.custom_op("facecycle::flow_warp_backward", mutates_args=())
@without_autocast
def flow_warp_backward_op(
    grad: Tensor, x: Tensor, flow: Tensor, clamp: bool, needs_x: bool, needs_flow: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and of the flow, empty where they are not needed."""
    grid, resized = _grid(x, flow, clamp)
    wide = grid.dtype
    grad_x, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
        grad.to(wide), x.to(wide), grid, 0, 0, True, [needs_x, True]
    )
    grad_x = grad_x.to(x.dtype).contiguous(memory_format=memory_format(x)) if needs_x else x.new_empty(0)
    if not needs_flow:
        return grad_x, flow.new_empty(0)
    fine = grad_grid.permute(0, 3, 1, 2)
    if clamp:
        fine = fine * (resized.abs() <= 1)
    if flow.shape[-2:] != x.shape[-2:]:
        rows, columns = _tent(flow.shape[-2], x.shape[-2], fine), _tent(flow.shape[-1], x.shape[-1], fine)
        fine = rows.T @ (fine @ columns)
    return grad_x, fine.to(flow.dtype).contiguous()


on_cuda(flow_warp_op, "facecycle_kernels.flow_warp.kernels", "forward")
on_cuda(flow_warp_backward_op, "facecycle_kernels.flow_warp.kernels", "backward")


@flow_warp_op.register_fake
def _(x: Tensor, flow: Tensor, clamp: bool) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@flow_warp_backward_op.register_fake
def _(grad: Tensor, x: Tensor, flow: Tensor, clamp: bool, needs_x: bool, needs_flow: bool) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x, memory_format=memory_format(x)) if needs_x else x.new_empty(0),
        flow.new_empty(flow.shape) if needs_flow else flow.new_empty(0),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, flow, ctx.clamp = inputs
    ctx.save_for_backward(x, flow)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    needs_x, needs_flow = ctx.needs_input_grad[:2]
    grad_x, grad_flow = flow_warp_backward_op(grad, *ctx.saved_tensors, ctx.clamp, needs_x, needs_flow)
    return grad_x if needs_x else None, grad_flow if needs_flow else None, None


flow_warp_op.register_autograd(_backward, setup_context=_setup)


def flow_warp(x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
    """Sample `x` at identity grid + flow: bilinear, zeros outside, align_corners=True.

    The same as `facecycle_kernels.flow_warp.reference.flow_warp`, which says the shapes and units, in one
    kernel on CUDA. Differentiable once in x and flow. On CUDA the gradient of x is summed with atomics, so
    its last bits vary from run to run; the flow's does not.

    Raises:
        ValueError: shapes that do not fit.
    """
    if x.dim() != 4 or flow.dim() != 4 or flow.shape[1] != 2 or len(x) != len(flow):
        raise ValueError(f"expected x (B, C, H, W) and flow (B, 2, h, w), got {tuple(x.shape)} and {tuple(flow.shape)}")
    if has_tangent(x, flow):
        return reference.flow_warp(x, flow, clamp)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        # Nothing to fuse here: torch's own autograd keeps the grid, and is spared a custom op's overhead.
        return flow_warp_op._init_fn(x, flow, clamp)
    return flow_warp_op(x, flow, clamp)
