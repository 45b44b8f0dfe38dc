"""Serving: the application on a socket of this machine, until it is told to end."""

from __future__ import annotations

import errno
import importlib.util
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from facecycle.errors import ConfigError
from facecycle.runtimes.base import Runtime

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

LIBRARIES = ("starlette", "uvicorn")
CONNECTIONS = 256
GRACE = 3
"""Seconds that answers may take which were begun before the end."""


def check_installed() -> None:
    """Refuse to serve without the libraries of the extra `web`.

    Raises:
        ConfigError: one of them is missing.
    """
    missing = [library for library in LIBRARIES if importlib.util.find_spec(library) is None]
    if missing:
        raise ConfigError(f"serve needs {' and '.join(missing)}", hint="pip install 'facecycle[web]'")


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Args:
        host: an address or a name of this machine.
        port: from 0, which takes a free one, to 65535.

    Raises:
        ConfigError: another program listens there, or this one may not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use", hint="Another program listens there. Name another port: --port 0."
            ) from error
        raise ConfigError(
            f"--host {host} --port {port}: {error.strerror}", hint="--host takes an address of this machine."
        ) from error


def serve(runtime: Runtime, listener: socket.socket, host: str, ready: Callable[[], None]) -> None:
    """Answer until SIGINT or SIGTERM comes.

    Args:
        runtime: the weights.
        listener: where requests come from; see `listen`.
        host: the address or name that it listens on.
        ready: is called when the page can be opened.

    Raises:
        ConfigError: the weights make no pictures.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from facecycle.serving.application import PLACES, SECONDS, application
    from facecycle.serving.worker import Worker

    worker = Worker(PLACES, SECONDS)
    try:
        made = server(application(runtime, worker, host))
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn takes them over, and hands them back at its end
            signal.signal(number, lambda *_: setattr(made, "should_exit", True))
        ready()
        with threadpool_limits(1, user_api="blas"):  # its threads wait for each other where matrices are small
            made.run([listener])
    finally:
        worker.end()


def server(app: ASGIApp) -> uvicorn.Server:
    """Return what speaks HTTP for an application, and logs nothing but faults of ours."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config)
