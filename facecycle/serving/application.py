"""The application: the page's files, and what it asks for, read from the body of a request and answered in bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from facecycle.errors import ConfigError, DataError, FacecycleError
from facecycle.runtimes.base import Runtime
from facecycle.serving.answers import NAME, Answers, Encoded
from facecycle.serving.guard import Guard
from facecycle.serving.worker import Full, NotBegun, NotDone, Worker

MAX_BYTES = 32 * 2**20
"""Of a request's body, which holds one photograph or two."""
PLACES = 16
"""Photographs that are read, wait or are computed at a time, so that bodies take 512 MiB of memory at most."""
SECONDS = 20.0
"""How long a body may take to come, and how long it may then wait and be computed."""
BYTES = "application/octet-stream"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATUS: dict[type[Exception], int] = {
    Full: 429,
    NotBegun: 503,
    NotDone: 504,
    ConfigError: 400,
    DataError: 422,
    TimeoutError: 408,  # of a body that does not come
    ClientDisconnect: 400,  # nobody reads it
}
SOON = (429, 503)
"""Answers that may be others in a second."""
Made = TypeVar("Made")


def application(runtime: Runtime, worker: Worker, host: str) -> ASGIApp:
    """Make the application.

    Args:
        runtime: the weights, which the worker's thread alone uses from now on.
        worker: what computes.
        host: the address or name that it will listen on.

    Raises:
        ConfigError: the weights make no pictures.
    """
    answers = Answers(runtime)
    worker.begin(answers.warm_up)
    api = Api(answers, worker)
    routes = [
        *(Route(path, answer) for path, answer in page().items()),
        Route("/api/about", api.about),
        Route("/api/find", api.find, methods=["POST"]),
        Route("/api/translate", api.translate, methods=["POST"]),
    ]
    handlers = dict.fromkeys([HTTPException, FacecycleError, TimeoutError, ClientDisconnect], _refused)
    return Guard(Starlette(routes=routes, exception_handlers=handlers), host)


def page() -> dict[str, Callable[..., Awaitable[Response]]]:
    """Return what answers for each of the page's files, which are read once."""
    answers: dict[str, Callable[..., Awaitable[Response]]] = {}
    for file in files("facecycle.serving").joinpath("page").iterdir():
        content = file.read_bytes()
        kind = TYPES[file.name.rpartition(".")[2]]

        async def answer(request: Request, content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind)

        answers["/" if file.name == "index.html" else f"/{file.name}"] = answer
    return answers


class Api:
    """What is behind the addresses that the page asks."""

    def __init__(self, answers: Answers, worker: Worker) -> None:
        self._answers, self._worker = answers, worker

    async def about(self, request: Request) -> Response:
        """Say which weights these are, and how many bytes are taken."""
        return JSONResponse({**self._answers.about(), "bytes": MAX_BYTES})

    async def find(self, request: Request) -> Response:
        """Find the faces of the photograph that is the body."""
        return JSONResponse(await self._computed(request, self._answers.find))

    async def translate(self, request: Request) -> Response:
        """Make pictures. The first `photograph` bytes of the body are the photograph, and the rest is the driver."""
        face, length = (_number(request, name, int) for name in ("face", "photograph"))
        strength = _number(request, "strength", float)

        def work(body: bytes) -> list[Encoded]:
            if not 0 < length <= len(body):
                raise ConfigError(f"the body has {len(body)} bytes, so photograph={length} cannot be the photograph's")
            return self._answers.translate(body[:length], face, strength, body[length:])

        made = await self._computed(request, work)
        said = [{"name": each.name, "type": each.media_type, "size": len(each.content)} for each in made]
        content = b"".join(each.content for each in made)
        return Response(content, media_type=BYTES, headers={"Pictures": json.dumps(said)})

    async def _computed(self, request: Request, work: Callable[[bytes], Made]) -> Made:
        """Read the body of a request, and compute what it asks for in its turn."""
        if request.headers.get("content-type") != BYTES:  # which no form of another site can send
            raise HTTPException(415, f"The body has to be {BYTES}.")
        try:
            with self._worker.place():
                body = await _body(request)
                if not body:
                    raise HTTPException(400, "The body is empty, where a photograph was expected.")
                return await self._worker.do(work, body)
        except Full:
            await _body(request, keep=False)  # browsers take an answer that comes while they send for an error
            raise


async def _body(request: Request, keep: bool = True) -> bytes:
    """Read a body that comes in time and is not too large; without `keep` it is forgotten at once."""
    parts, size = [], 0
    async with asyncio.timeout(SECONDS):
        async for part in request.stream():
            size += len(part)
            if max(size, int(request.headers.get("content-length", 0))) > MAX_BYTES:
                raise HTTPException(413, f"The photographs are too large: {MAX_BYTES >> 20} MiB are the most.")
            if keep:
                parts.append(part)
    return b"".join(parts)


Number = TypeVar("Number", int, float)


def _number(request: Request, name: str, kind: Callable[[str], Number]) -> Number:
    """Return a number of the query."""
    text = request.query_params.get(name, "")
    try:
        if abs(number := kind(text)) < 2**31:  # which infinity and nan are not
            return number
    except ValueError:
        pass
    raise HTTPException(400, f"{name}={text[:20]!r} is no number that is expected here.")


async def _refused(request: Request, error: Exception) -> Response:
    """Answer with what went wrong, as sentences for people."""
    if isinstance(error, HTTPException):
        status, message = error.status_code, error.detail
    else:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        message = sentences(error) if isinstance(error, FacecycleError) else "The photograph did not come in time."
    return JSONResponse({"message": message}, status, headers={"Retry-After": "1"} if status in SOON else None)


def sentences(error: FacecycleError) -> str:
    """Return an error's message as people read it on a page: without the name that all photographs have here."""
    message = error.message.removeprefix(f"{NAME}: ")
    message = f"{message[:1].upper()}{message[1:]}".rstrip(".") + "."
    return f"{message} {error.hint}" if error.hint else message
