"""`facecycle checkpoint`: bring the authors' weights in, look at a checkpoint, and verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Import, show and verify checkpoints.", no_args_is_help=True)
Given = Annotated[Path, typer.Argument(metavar="FILE|RUN", help="A .safetensors file or a run folder.")]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The authors' released .tar.")],
    out: Annotated[Path | None, typer.Option(help="File to write; the source's name with .safetensors.")] = None,
) -> None:
    """Turn the authors' released .tar into a checkpoint; the pickle's code is never run.

    Example: facecycle checkpoint import finalmodel.tar --out model.safetensors
    """
    from facecycle.engine.import_released import LICENCE, import_released
    from facecycle_cli.console import say

    target = out or Path(f"{source.stem or 'model'}.safetensors")
    trained = import_released(source, target)
    say(f"checkpoint: {target}\ntrained: {', '.join(trained)}\nterms: {LICENCE}")


@app.command()
def show(
    path: Given,
    config: Annotated[bool, typer.Option("--config", help="Print the complete configuration too, as JSON.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, the configuration too.")] = False,
) -> None:
    """Show what a checkpoint says of itself: configuration, components, provenance, sizes, terms.

    Example: facecycle checkpoint show runs/small-resnet18-001
    """
    from json import dumps

    from facecycle.engine.checkpoint_check import describe
    from facecycle_cli.console import say

    facts = describe(path)
    if json:
        typer.echo(dumps(facts, indent=1))
        return
    resolved = facts.pop("config")
    for name, value in facts.items():
        if value not in ("", {}):
            say(f"{name:12} {_text(name, value)}")
    if config:
        typer.echo(dumps(resolved, indent=1))


def _text(name: str, value: Any) -> str:
    if name in {"parameters", "frozen"}:
        parts = ", ".join(f"{network} {count:,}" for network, count in value.items())
        return f"{sum(value.values()):,}: {parts}"
    if name == "components":
        return ", ".join(
            f"{what} ({origin.get('distribution')} {origin.get('version')})" for what, origin in value.items()
        )
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


@app.command()
def verify(path: Given) -> None:
    """Read every byte of a checkpoint, compare it with its digest, and build its networks.

    Example: facecycle checkpoint verify model.safetensors
    """
    from facecycle.engine.checkpoint_check import verify as run
    from facecycle_cli.console import say

    run(path, say)
    say("ok")
