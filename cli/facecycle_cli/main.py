"""The `facecycle` application: its commands, and how an error reaches the user."""

import errno
import os
import sys

import typer

from facecycle.errors import FacecycleError
from facecycle_cli import checkpoint, data, plugins
from facecycle_cli.console import visible
from facecycle_cli.embed import embed
from facecycle_cli.pretrain import pretrain
from facecycle_cli.probe import probe
from facecycle_cli.report import report
from facecycle_cli.translate import translate

UNREACHABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
"""What the system says of a path that somebody named and nobody here can do anything about."""

app = typer.Typer(
    name="facecycle",
    help="Learn face representations from unlabelled faces, translate photographs, probe what was learned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(pretrain)
app.command()(translate)
app.command()(probe)
app.command()(embed)
app.command()(report)
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(data.app, name="data")
app.add_typer(plugins.app, name="plugins")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"facecycle {version('facecycle')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def run() -> None:
    """Run the command line; an error made for the reader ends it with its message and exit code 2."""
    try:
        app()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except Exception as error:
        message = _for_reader(error)
        if message is None or os.environ.get("FACECYCLE_DEBUG") == "1":
            raise
        print(f"error: {visible(message)}", file=sys.stderr)
        code = 2
    if "facecycle.distributed" in sys.modules:
        from facecycle import distributed

        distributed.end(code)
    sys.exit(code)


def _for_reader(error: Exception) -> str | None:
    """Return what to tell a reader who can mend it; None for what is a fault of ours."""
    if isinstance(error, FacecycleError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.errno in UNREACHABLE:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, RuntimeError):
        from facecycle.distributed import ended_elsewhere

        if ended_elsewhere(error):
            first = str(error).partition("\n")[0]
            return f"another process of the run has ended, or cannot be reached: {first}"
    return None
