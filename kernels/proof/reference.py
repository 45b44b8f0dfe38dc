"""Level 1: the references and the ops on the CPU, as torch sees them: gradients, registration, compile, export.

Usage: python kernels/proof/reference.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from facecycle_kernels.flow_warp import flow_warp
from facecycle_kernels.flow_warp import reference as flow_warp_reference
from facecycle_kernels.flow_warp.op import flow_warp_op
from facecycle_kernels.renormalize import reference as renormalize_reference
from facecycle_kernels.renormalize import renormalize
from facecycle_kernels.ssim import reference as ssim_reference
from facecycle_kernels.ssim import ssim
from torch import Tensor, nn

from facecycle import registry
from facecycle.api import Parts


def draw(*shape: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return N(0, scale²) that wants gradients."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale
    return values.requires_grad_()


def calls(dtype: torch.dtype) -> list[tuple[str, Callable[..., Any], Callable[..., Any], Any, tuple[Any, ...]]]:
    """Return name, op, reference, the registered custom op, and arguments."""
    ops = torch.ops.facecycle
    x = draw(2, 3, 6, 4, seed=0, dtype=dtype)
    found: list[tuple[str, Callable[..., Any], Callable[..., Any], Any, tuple[Any, ...]]] = []
    for clamp in (False, True):
        flow = draw(2, 2, 3, 2, seed=4, scale=0.4, dtype=dtype)
        found.append(("flow_warp", flow_warp, flow_warp_reference.flow_warp, ops.flow_warp, (x, flow, clamp)))
    for shape in ((2, 3, 1, 1), (2, 3, 6, 4)):
        gamma, beta = draw(*shape, seed=2, dtype=dtype), draw(*shape, seed=3, dtype=dtype)
        found.append(("renormalize", renormalize, renormalize_reference.renormalize, ops.renormalize, (x, gamma, beta)))
    predictions, target = draw(2, 1, 2, 5, 7, seed=5, dtype=dtype), draw(1, 2, 5, 7, seed=6, dtype=dtype)
    found.append(("ssim", ssim, ssim_reference.ssim, ops.ssim, (predictions, target)))
    return found


def check_gradients() -> None:
    """Derivatives of references and ops are those of finite differences, in float64, and agree."""
    for _, op, reference, _, inputs in calls(torch.float64):
        assert torch.autograd.gradcheck(reference, inputs)
        # On the CPU the function flow_warp goes round its own op, which is what compiles.
        assert torch.autograd.gradcheck(flow_warp_op if op is flow_warp else op, inputs)
        assert torch.allclose(op(*inputs), reference(*inputs), atol=1e-12)


def check_registration() -> None:
    """Schemas, fake tensors and autograd formulas are registered as torch expects, for both layouts."""
    for name, _, _, registered, inputs in calls(torch.float32):
        arguments = (*inputs, True) if name == "ssim" else inputs
        torch.library.opcheck(registered.default, arguments)
        if name != "ssim":
            last = inputs[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
            torch.library.opcheck(registered.default, (last, *inputs[1:]))


def check_compile() -> None:
    """The ops compile into one graph, and give the same numbers and gradients."""
    for _, op, _, _, inputs in calls(torch.float32):
        wanted = op(*inputs)
        compiled = torch.compile(op, fullgraph=True, backend="aot_eager")(*inputs)
        assert torch.allclose(compiled, wanted, atol=1e-6)
        leaves = [t for t in inputs if isinstance(t, Tensor)]
        for mine, eager in zip(
            torch.autograd.grad(compiled.sum(), leaves), torch.autograd.grad(wanted.sum(), leaves), strict=True
        ):
            assert torch.allclose(mine, eager, atol=1e-5)


class _Call(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def check_export() -> None:
    """The ops export as programs."""
    for _, op, _, _, inputs in calls(torch.float32):
        plain = tuple(t.detach() if isinstance(t, Tensor) else t for t in inputs)
        program = torch.export.export(_Call(op), plain)
        assert torch.allclose(program.module()(*plain), op(*plain), atol=1e-6)


def check_onnx() -> None:
    """A whole translate pass, through the reference warper, runs in onnxruntime with the same pictures."""
    import onnxruntime

    torch.manual_seed(0)
    options = {"width": 8, "motion_width": 16, "generator_blocks": 1, "renormalizer_blocks": 1}
    method = registry.build("method", "facecycle", options)
    method.assemble(Parts(lambda: registry.build("encoder", "facecycle"), registry.build("warper", "reference"), 64))
    method.eval()
    names = ("frontal", "neutral", "mean_face", "expression_swap", "identity_swap")

    def translate(images: Tensor, drivers: Tensor) -> tuple[Tensor, ...]:
        panels = method.translate(images, drivers, None, frozenset(names))
        return tuple(panels[name] for name in names)

    module = _Call(translate)
    module.add_module("method", method)
    module.eval()
    inputs = (draw(2, 3, 64, 64, seed=7, dtype=torch.float32), draw(2, 3, 64, 64, seed=8, dtype=torch.float32))
    inputs = tuple(t.detach() for t in inputs)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = Path(folder) / "translate.onnx"
        torch.onnx.export(module, inputs, str(file), dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        found = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=True)})
        for name, mine, wanted in zip(names, found, translate(*inputs), strict=True):
            difference = float((torch.from_numpy(mine) - wanted).abs().max() / wanted.abs().max())
            assert difference < 1e-4, f"{name}: {difference:.1e}"


def main() -> int:
    """Run every check; print what failed."""
    failed = 0
    for check in (check_gradients, check_registration, check_compile, check_export, check_onnx):
        name = check.__name__.removeprefix("check_")
        try:
            check()
        except Exception as error:  # noqa: BLE001 - report all, then fail
            failed += 1
            print(f"WRONG  {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok  {name}", flush=True)
    print(f"reference: {5 - failed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
