"""ssim as the custom op `facecycle::ssim`: Triton on CUDA, banded matrix products elsewhere."""

from typing import Any

import torch
from torch import Tensor

from facecycle_kernels.backend import has_tangent, on_cuda, without_autocast
from facecycle_kernels.ssim import reference
from facecycle_kernels.ssim.reference import C1, C2, SIGMA, WINDOW


def _band(length: int, like: Tensor) -> Tensor:
    """Return the (length, length) matrix that filters a line with the gaussian window, zeros outside."""
    positions = torch.arange(length, dtype=like.dtype, device=like.device)
    distance = positions[:, None] - positions[None, :]
    taps = torch.exp(-distance.square() / (2 * SIGMA**2)) * (distance.abs() <= WINDOW // 2)
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    return taps / torch.exp(-offsets.square() / (2 * SIGMA**2)).sum()


def _blur(x: Tensor) -> Tensor:
    """Filter (..., H, W) with the normalised gaussian window, zeros outside; its own adjoint.

    As two products with banded matrices: on a CPU the backward of a one-channel convolution takes
    several times as long.
    """
    return _band(x.shape[-2], x) @ (x @ _band(x.shape[-1], x))


@torch.library.custom_op("facecycle::ssim", mutates_args=())
@without_autocast
def ssim_op(predictions: Tensor, target: Tensor, needs_maps: bool) -> tuple[Tensor, Tensor]:
    """Return the means (V,) and, if wanted, the derivative maps (3, V, B, C, H, W).

    The maps are the derivatives of the structural similarity at a pixel by the windowed mean of the
    prediction, of its square, and of its product with the target.
    """
    p, t = _wide(predictions), _wide(target)
    mean_p, mean_t = _blur(p), _blur(t)
    spread = _blur(p * p).addcmul_(mean_p, mean_p, value=-1)
    spread += _blur(t * t).addcmul_(mean_t, mean_t, value=-1).add_(C2)
    product = mean_p * mean_t
    structure = _blur(p * t).sub_(product).mul_(2).add_(C2).div_(spread)
    below = torch.addcmul(mean_t * mean_t + C1, mean_p, mean_p)
    luminance = product.mul_(2).add_(C1).div_(below)
    values = (luminance * structure).mean(dim=(-4, -3, -2, -1))
    if not needs_maps:
        return values, p.new_empty(0)
    maps = p.new_empty(3, *p.shape)
    torch.div(luminance, spread, out=maps[2]).mul_(2)
    torch.mul(maps[2], structure, out=maps[1]).mul_(-0.5)
    torch.addcmul(mean_t, mean_p, luminance, value=-1, out=maps[0]).mul_(structure).div_(below).mul_(2)
    maps[0].addcmul_(maps[2], mean_t, value=-1).addcmul_(maps[1], mean_p, value=-2)
    return values, maps


@torch.library.custom_op("facecycle::ssim_backward", mutates_args=())
@without_autocast
def ssim_backward_op(grad: Tensor, predictions: Tensor, target: Tensor, maps: Tensor) -> Tensor:
    """Return the gradient of the predictions, for that of their means (V,)."""
    p, t = _wide(predictions), _wide(target)
    by_mean, by_square, by_product = _blur(maps)
    out = by_mean.addcmul_(p, by_square, value=2).addcmul_(t, by_product)
    return out.mul_((grad / target.numel())[:, None, None, None, None]).to(predictions.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


on_cuda(ssim_op, "facecycle_kernels.ssim.kernels", "forward")
on_cuda(ssim_backward_op, "facecycle_kernels.ssim.kernels", "backward")


@ssim_op.register_fake
def _(predictions: Tensor, target: Tensor, needs_maps: bool) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(predictions.dtype, torch.float32)
    maps = predictions.new_empty((3, *predictions.shape) if needs_maps else 0, dtype=wide)
    return predictions.new_empty(len(predictions), dtype=wide), maps


@ssim_backward_op.register_fake
def _(grad: Tensor, predictions: Tensor, target: Tensor, maps: Tensor) -> Tensor:
    return torch.empty_like(predictions, memory_format=torch.contiguous_format)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    predictions, target, _ = inputs
    ctx.save_for_backward(predictions, target, output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None, None]:
    if grad is None:
        return None, None, None
    predictions, target, maps = ctx.saved_tensors
    needs_predictions, needs_target = ctx.needs_input_grad[:2]
    by_predictions = ssim_backward_op(grad, predictions, target, maps) if needs_predictions else None
    if not needs_target:
        return by_predictions, None, None
    # Similarity is symmetric: the target takes each prediction's place in turn.
    by_target = torch.zeros_like(target)
    for view, weight in zip(predictions, grad, strict=True):
        _, swapped = ssim_op(target[None], view, True)
        by_target += ssim_backward_op(weight[None], target[None], view, swapped)[0]
    return by_predictions, by_target, None


ssim_op.register_autograd(_backward, setup_context=_setup)


def ssim(predictions: Tensor, target: Tensor) -> Tensor:
    """Return the mean structural similarity of each prediction (V, B, C, H, W) with the target (B, C, H, W).

    The same as `facecycle_kernels.ssim.reference.ssim`, in one kernel on CUDA; the target's windows are
    computed once. Half precision is computed in float32, and the result (V,) is. Differentiable once.
    Forward derivatives are the reference's.

    Raises:
        ValueError: shapes that do not fit.
    """
    if predictions.dim() != 5 or predictions.shape[1:] != target.shape:
        raise ValueError(
            "expected predictions (V, B, C, H, W) and a target (B, C, H, W), got "
            f"{tuple(predictions.shape)} and {tuple(target.shape)}"
        )
    if has_tangent(predictions, target):
        return reference.ssim(predictions, target)
    needs_maps = torch.is_grad_enabled() and predictions.requires_grad
    shared = torch.promote_types(predictions.dtype, target.dtype)
    return ssim_op(predictions.to(shared), target.to(shared), needs_maps)[0]
