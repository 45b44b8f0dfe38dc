"""`facecycle report`: runs, probes and translations to one page."""

from pathlib import Path
from typing import Annotated

import typer

from facecycle_cli import flags
from facecycle_cli.console import say


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, probes, translations.")],
    out: Annotated[Path, flags.out("Folder for report.html and report.md.")] = Path("report"),
) -> None:
    """Put measured numbers beside the published ones, with protocols, plots and samples, on one page.

    Example: facecycle report runs/paper-001 probes
    """
    from facecycle.reporting.report import write_report

    for page in write_report(folders, out):
        say(f"report: {page}")
