"""Level 1: the references and the ops on the CPU, as torch sees them: gradients, registration, compile, export.

Usage: python kernels/proof/reference.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from checking import Call, draw
from ops import OPS
from torch import Tensor, nn

from facecycle import registry
from facecycle.api import Parts


def calls(dtype: torch.dtype) -> Iterator[Call]:
    """Yield the calls of all ops."""
    for op in OPS.values():
        yield from op.calls(dtype)


def check_gradients() -> None:
    """Derivatives of references and ops are those of finite differences, in float64, and agree."""
    for call in calls(torch.float64):
        assert torch.autograd.gradcheck(call.formula, call.inputs)
        assert torch.autograd.gradcheck(call.custom, call.inputs)
        assert torch.allclose(call.op(*call.inputs), call.formula(*call.inputs), atol=1e-12)


def check_registration() -> None:
    """Schemas, fake tensors and autograd formulas are registered as torch expects, for both layouts."""
    for call in calls(torch.float32):
        torch.library.opcheck(call.registered.default, (*call.inputs, *call.extra))
        first, *others = call.inputs
        if first.dim() == 4:
            last = first.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
            torch.library.opcheck(call.registered.default, (last, *others, *call.extra))


def check_compile() -> None:
    """The ops compile into one graph, and give the same numbers and gradients."""
    for call in calls(torch.float32):
        wanted = call.op(*call.inputs)
        compiled = torch.compile(call.op, fullgraph=True, backend="aot_eager")(*call.inputs)
        assert torch.allclose(compiled, wanted, atol=1e-6)
        leaves = [t for t in call.inputs if isinstance(t, Tensor)]
        for mine, eager in zip(
            torch.autograd.grad(compiled.sum(), leaves), torch.autograd.grad(wanted.sum(), leaves), strict=True
        ):
            assert torch.allclose(mine, eager, atol=1e-5)


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def check_export() -> None:
    """The ops export as programs."""
    for call in calls(torch.float32):
        plain = tuple(t.detach() if isinstance(t, Tensor) else t for t in call.inputs)
        program = torch.export.export(_Module(call.op), plain)
        assert torch.allclose(program.module()(*plain), call.op(*plain), atol=1e-6)


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

    module = _Module(translate)
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
