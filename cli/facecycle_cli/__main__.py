"""`python -m facecycle_cli` is the `facecycle` command."""

from facecycle_cli.main import run

run()
