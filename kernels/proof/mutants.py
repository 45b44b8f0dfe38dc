"""Level 4: deliberately broken kernels, each of which the interpreter's checks must catch, or it is named a survivor.

Usage: python kernels/proof/mutants.py
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from checking import Mutant
from ops import OPS, kernels


def load(kernels: ModuleType, mutant: Mutant, file: Path) -> ModuleType:
    """Import broken kernels from `file`, where their source is written."""
    assert kernels.__file__ is not None
    file.write_text(mutant.source(Path(kernels.__file__).read_text()))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def caught_by(op: str, kernels: ModuleType) -> str | None:
    """Return the first check that broken kernels fail, or None if they pass all."""
    for check in OPS[op].CHECKS:
        try:
            check.run(kernels)
        except Exception as error:  # noqa: BLE001 - a crash is caught as well
            return f"{check.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return None


def main() -> int:
    """Try every mutant; print what caught it, and the count."""
    killed = surviving = 0
    with tempfile.TemporaryDirectory() as folder:
        for op, whole in kernels().items():
            # What is loaded like this and not broken passes: else every mutant is caught, whatever the checks see.
            unharmed = load(whole, Mutant("none", "import", "import"), Path(folder, f"{op}_unharmed.py"))
            OPS[op].CHECKS[0].run(unharmed)
            for number, mutant in enumerate(OPS[op].MUTANTS):
                caught = caught_by(op, load(whole, mutant, Path(folder, f"{op}_{number}.py")))
                killed, surviving = (killed + 1, surviving) if caught else (killed, surviving + 1)
                print(f"{'killed  ' if caught else 'SURVIVED'}  {op}: {mutant.fault} | {caught}", flush=True)
    print(f"mutants: {killed} killed, {surviving} surviving")
    return 1 if surviving else 0


if __name__ == "__main__":
    sys.exit(main())
