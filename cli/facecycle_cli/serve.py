"""`facecycle serve`: a page on this machine to try the weights on photographs."""

from __future__ import annotations

from typing import Annotated

import typer

from facecycle_cli import flags
from facecycle_cli.console import say


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8008,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Everybody who reaches another than 127.0.0.1 may use the page.")
    ] = "127.0.0.1",
    checkpoint: flags.Checkpoint = None,
    runtime: flags.Runtime = None,
) -> None:
    """Open a page on this machine that turns faces in photographs, and keeps none of them.

    Example: facecycle serve --port 8008
    """
    from facecycle.serving import serve as serving

    serving.check_installed()

    from facecycle.runtimes.choose import choose
    from facecycle.serving.guard import is_loopback

    with serving.listen(host, port) as listener:
        chosen, why = choose(checkpoint, runtime)
        say(f"checkpoint: {chosen.origin}\nruntime: {why}")
        if not is_loopback(host):
            say(f"warning: everybody who reaches {host} may use the page, and photographs go there unencrypted")
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        serving.serve(chosen, listener, host, lambda: say(f"{address} is open. Ctrl-C ends it."))
