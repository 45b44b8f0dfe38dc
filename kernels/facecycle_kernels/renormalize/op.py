"""renormalize as the custom op `facecycle::renormalize`: Triton on CUDA, torch's batch norm elsewhere."""

from typing import Any

import torch
from torch import Tensor

from facecycle_kernels.backend import has_tangent, memory_format, on_cuda
from facecycle_kernels.renormalize import reference
from facecycle_kernels.renormalize.reference import EPS


def _as_batch_norm(x: Tensor) -> Tensor:
    """View x (B, C, H, W) as one image of B·C channels, whose batch statistics are each map's own."""
    return x.reshape(1, -1, *x.shape[2:])


@torch.library.custom_op("facecycle::renormalize", mutates_args=())
def renormalize_op(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and each map's mean and 1/deviation (B, C)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    spatial = gamma.shape == x.shape
    scale, shift = (None, None) if spatial else (gamma.flatten().to(wide), beta.flatten().to(wide))
    normal, mean, rstd = torch.native_batch_norm(
        _as_batch_norm(x.contiguous().to(wide)), scale, shift, None, None, True, 0.0, EPS
    )
    out = normal.view(x.shape)
    if spatial:
        out = torch.addcmul(beta.to(wide), out, gamma.to(wide))
    out = out.to(x.dtype).contiguous(memory_format=memory_format(x))
    return out, mean.view(x.shape[:2]), rstd.view(x.shape[:2])


@torch.library.custom_op("facecycle::renormalize_backward", mutates_args=())
def renormalize_backward_op(
    grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gamma and beta; the last is empty for a spatial beta, where it is `grad`."""
    wide = torch.promote_types(x.dtype, torch.float32)
    spatial = gamma.shape == x.shape
    layout = memory_format(x)
    x, grad = x.contiguous().to(wide), grad.contiguous().to(wide)
    grad_gamma = gamma.new_empty(0)
    if spatial:
        grad_gamma = (x - mean[..., None, None]) * (grad * rstd[..., None, None])
        grad_gamma = grad_gamma.to(gamma.dtype).contiguous(memory_format=layout)
        grad = grad * gamma.to(wide)
    grad_x, scale, shift = torch.ops.aten.native_batch_norm_backward(
        _as_batch_norm(grad), _as_batch_norm(x), None if spatial else gamma.flatten().to(wide), None, None,
        mean.flatten(), rstd.flatten(), True, EPS, [True, not spatial, not spatial],
    )  # fmt: skip
    grad_x = grad_x.view(x.shape).to(gamma.dtype).contiguous(memory_format=layout)
    if spatial:
        return grad_x, grad_gamma, gamma.new_empty(0)
    return grad_x, scale.view(gamma.shape).to(gamma.dtype), shift.view(gamma.shape).to(gamma.dtype)


on_cuda(renormalize_op, "facecycle_kernels.renormalize.kernels", "forward")
on_cuda(renormalize_backward_op, "facecycle_kernels.renormalize.kernels", "backward")


@renormalize_op.register_fake
def _(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    moment = x.new_empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32))
    return torch.empty_like(x, memory_format=memory_format(x)), moment, torch.empty_like(moment)


@renormalize_backward_op.register_fake
def _(grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=memory_format(x))
    if gamma.shape == x.shape:
        return grad_x, torch.empty_like(grad_x), gamma.new_empty(0)
    return grad_x, gamma.new_empty(gamma.shape), gamma.new_empty(gamma.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, gamma, _ = inputs
    _, mean, rstd = output
    ctx.save_for_backward(x, gamma, mean, rstd)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if grad is None:
        return None, None, None
    x, gamma = ctx.saved_tensors[:2]
    grad_x, grad_gamma, grad_beta = renormalize_backward_op(grad, *ctx.saved_tensors)
    return grad_x, grad_gamma, grad if gamma.shape == x.shape else grad_beta


renormalize_op.register_autograd(_backward, setup_context=_setup)


def renormalize(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return (x - mean) / sqrt(var + 1e-5) · gamma + beta, moments over each map's positions.

    The same as `facecycle_kernels.renormalize.reference.renormalize`, which says the shapes, in one kernel on
    CUDA. Half precision is summed in float32. Differentiable once.
    Forward derivatives are the reference's.

    Raises:
        ValueError: gamma and beta are neither both (B, C, 1, 1) nor both of x's shape.
    """
    if x.dim() != 4 or gamma.shape != beta.shape or gamma.shape not in {x.shape, (*x.shape[:2], 1, 1)}:
        raise ValueError(
            f"expected x (B, C, H, W), gamma and beta (B, C, 1, 1) or of its shape, got {tuple(x.shape)}, "
            f"{tuple(gamma.shape)}, {tuple(beta.shape)}"
        )
    if has_tangent(x, gamma, beta):
        return reference.renormalize(x, gamma, beta)
    gamma, beta = gamma.to(x.dtype), beta.to(x.dtype)
    if x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        # The first call of a custom op imports torch's compiler, which takes longer than to translate a face.
        return renormalize_op._init_fn(x, gamma, beta)[0]
    return renormalize_op(x, gamma, beta)[0]
