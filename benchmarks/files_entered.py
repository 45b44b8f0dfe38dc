"""How many of our files a command enters by a function call, from its start to its end.

    python benchmarks/files_entered.py [--list]

Fewer files are fewer places to look at for whoever follows a command with a debugger. Threads are counted too, the
bodies of modules and classes are not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = tuple(str(ROOT / folder) + "/" for folder in ("facecycle", "kernels/facecycle_kernels", "plugins", "cli"))
RUN = f"""
import sys, threading
from inspect import CO_OPTIMIZED
entered = set()

def note(frame, event, argument):
    if event == "call" and frame.f_code.co_flags & CO_OPTIMIZED:
        entered.add(frame.f_code.co_filename)

from facecycle_cli.main import run
threading.setprofile(note)
sys.setprofile(note)
try:
    run()
except SystemExit as end:
    code = end.code
sys.setprofile(None)
names = sorted(name for name in entered if name.startswith({PRODUCT!r}) and name.endswith('.py'))
print(*names, sep="\\n", file=sys.stderr)
sys.exit(code)
"""
TINY = ("pretrain", "--encoder", "resnet18", "--steps", "1", "--set", "pairs=2")


def entered(*arguments: str, cwd: str) -> list[str]:
    """Run a command; return the files of ours it entered, relative to the project."""
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [name.removeprefix(f"{ROOT}/") for name in done.stderr.splitlines() if name.startswith(str(ROOT))]


def main() -> None:
    """Print a count for each command, and with --list the files."""
    with tempfile.TemporaryDirectory() as folder:
        Image.radial_gradient("L").convert("RGB").save(Path(folder, "img.png"))
        commands = {
            "translate, to the PNG": ("translate", "img.png"),
            "pretrain, to the loss": TINY,
            "probe": ("probe", "--task", "pose"),
        }
        for name, arguments in commands.items():
            files = entered(*arguments, cwd=folder)
            print(f"{name}: {len(files)} files")
            if "--list" in sys.argv:
                print(*(f"    {file}" for file in files), sep="\n")


if __name__ == "__main__":
    main()
