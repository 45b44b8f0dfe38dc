"""`facecycle checkpoint`: import the authors' weights; list, show, verify, export and push checkpoints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from facecycle_cli import flags
from facecycle_cli.console import say, show_table

app = typer.Typer(help="Import, list, show, verify, export and push checkpoints.", no_args_is_help=True)
Given = Annotated[str, typer.Argument(metavar="NAME", help=f"{flags.NAMES}.")]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The authors' released .tar.")],
    out: Annotated[Path | None, flags.out("File to write. Default: the source's name with .safetensors.")] = None,
) -> None:
    """Turn the authors' released .tar into a checkpoint. Code in the pickle is never run.

    Example: facecycle checkpoint import finalmodel.tar --out model.safetensors
    """
    from facecycle.checkpoints.import_released import LICENCE, import_released

    target = out or Path(f"{source.stem or 'model'}.safetensors")
    trained = import_released(source, target)
    say(f"checkpoint: {target}\ntrained: {', '.join(trained)}\nterms: {LICENCE}")


@app.command()
def export(
    source: Given,
    out: Annotated[Path | None, flags.out("The .safetensors file; not needed for what lies beside it.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Store half precision, which halves the file.")] = False,
    licence: Annotated[str | None, typer.Option(help="Terms of the file. Default: those of its data sets.")] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write an ONNX graph beside the weights, for starts without torch.")
    ] = False,
    torch_export: Annotated[
        bool,
        typer.Option("--torch-export", help="Write a .pt2 beside the weights, for torch without facecycle."),
    ] = False,
) -> None:
    """Write a run's weights to one file for others, without the paths of its data; or their graph or program.

    Example: facecycle checkpoint export runs/small-resnet18-001 -o faces.safetensors --half --onnx
    """
    from facecycle.checkpoints.header import check
    from facecycle.errors import ConfigError

    check([source])
    if out is None and (half or licence is not None or not (onnx or torch_export)):
        raise ConfigError(
            "there is no file to write the weights to",
            hint="Name one with --out, or write only what lies beside weights, with --onnx or --torch-export.",
        )
    if out is not None:
        from facecycle.checkpoints.export import export as run

        run(source, out, half=half, licence=licence)
        say(f"checkpoint: {out}, {out.stat().st_size:,} bytes")
    if onnx:
        from facecycle.checkpoints.export_graph import export_graph

        graph, difference = export_graph(out or source)
        say(f"graph: {graph}, {graph.stat().st_size:,} bytes, within {difference:.0e} of torch")
    if torch_export:
        from facecycle.checkpoints.export_program import export_program

        program, difference = export_program(out or source)
        say(f"program: {program}, {program.stat().st_size:,} bytes, within {difference:.0e} of torch")


@app.command("list")
def list_() -> None:
    """List the weights that come with facecycle and the runs in runs/ that have a checkpoint.

    Example: facecycle checkpoint list
    """
    from facecycle.checkpoints import header
    from facecycle.checkpoints.folders import runs_below
    from facecycle.errors import CheckpointError
    from facecycle.networks import RUNS, SHIPPED, origin

    named = {"default": SHIPPED, **{str(run): run for run in runs_below(RUNS)}}
    rows = []
    for name, path in named.items():
        try:
            found = header.read(path)
        except CheckpointError as error:
            say(f"{name} cannot be used: {error.message}")
            continue
        rows.append([name, found.config.encoder.name, ", ".join(sorted(found.trained)), found.metadata.get("step", "")])
    show_table("checkpoints", ["name", "encoder", "trained", "steps"], rows, text=3)
    say(f"default is {origin(header.read(SHIPPED))}")


@app.command()
def show(
    name: Given,
    config: Annotated[bool, typer.Option("--config", help="Also print the complete configuration as JSON.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, with the configuration.")] = False,
) -> None:
    """Show a checkpoint's configuration, components, provenance, sizes and terms.

    Example: facecycle checkpoint show runs/small-resnet18-001
    """
    from json import dumps

    from facecycle.checkpoints.header import check

    check([name])
    from facecycle.checkpoints.inspect import describe

    facts = describe(name)
    if json:
        typer.echo(dumps(facts, indent=1))
        return
    resolved = facts.pop("config")
    for fact, value in facts.items():
        if value not in ("", {}):
            say(f"{fact:12} {_text(fact, value)}")
    if config:
        typer.echo(dumps(resolved, indent=1))


def _text(name: str, value: Any) -> str:
    if name in {"parameters", "frozen"}:
        parts = ", ".join(f"{network} {count:,}" for network, count in value.items())
        return f"{sum(value.values()):,}: {parts}"
    if name == "components":
        return ", ".join(f"{what} ({of.get('distribution')} {of.get('version')})" for what, of in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


@app.command()
def verify(name: Given) -> None:
    """Compare every byte of a checkpoint with its digests, and build its networks.

    Example: facecycle checkpoint verify model.safetensors
    """
    from facecycle.checkpoints.header import check

    check([name])
    from facecycle.checkpoints.inspect import verify as run

    run(name, say)
    say("ok")


@app.command()
def push(
    name: Given,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face hub; made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, where it is new.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, made if need be. Default: the main one.")] = None,
    results: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A probe's result.json, for the card. Repeats.")
    ] = None,
) -> None:
    """Put weights on the Hugging Face hub, with their graph and a card. Everybody can get them, unless --private.

    Example: facecycle checkpoint push faces.safetensors me/faces --results probes/pose/result.json
    """
    from facecycle.checkpoints.header import check

    check([name])
    from facecycle.checkpoints.hub import push as run
    from facecycle.probing.scores import scores_of

    scores = scores_of(name, results) if results else []
    say(f"pushed: {run(name, repository, private=private, revision=revision, scores=scores)}")
