"""The `facecycle` application: its commands, and how an error reaches the user."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer

from facecycle.errors import FacecycleError
from facecycle_cli.console import visible

COMMANDS = ("pretrain", "translate", "probe", "embed", "serve", "report", "export", "checkpoint", "data", "plugins")
"""The command `facecycle X` is the function X, or the group `app`, of the module `facecycle_cli.X`."""
UNREACHABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
"""What the system says of a path that somebody named and nobody here can do anything about."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"facecycle {version('facecycle')}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def application(words: Sequence[str] = ()) -> typer.Typer:
    """Return the application with the command that a command line names, or with all where it names none.

    To import all of them takes longer than to translate a face.
    """
    made = typer.Typer(
        name="facecycle",
        help="Learn face representations from unlabelled faces, translate photographs, probe what was learned.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_root)
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:
        module = import_module(f"facecycle_cli.{name}")
        if hasattr(module, "app"):
            made.add_typer(module.app, name=name)
        else:
            made.command()(getattr(module, name))
    return made


def __getattr__(name: str) -> Any:
    """Make the whole application, `app`, when it is asked for."""
    if name == "app":
        return application()
    raise AttributeError(f"module 'facecycle_cli.main' has no attribute {name!r}")


def run() -> None:
    """Run the command line; an error made for the reader ends it with its message and exit code 2."""
    try:
        application(sys.argv[1:])()
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
