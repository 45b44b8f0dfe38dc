"""What tests of the page share: photographs in bytes, and the application on a socket of a thread of the test's own."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image, ImageOps
from skimage.data import astronaut

from facecycle.checkpoints.graph_file import ENTRY, graph_of
from facecycle.checkpoints.places import SHIPPED
from facecycle.runtimes.base import Runtime
from facecycle.serving.application import BYTES, PLACES, SECONDS, application
from facecycle.serving.serve import listen, server
from facecycle.serving.worker import Worker


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    """Return an image file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def one_face() -> Image.Image:
    """Return scikit-image's astronaut."""
    return Image.fromarray(astronaut())


def two_faces() -> Image.Image:
    """Return the astronaut, and beside her the same, smaller and mirrored."""
    both = Image.new("RGB", (850, 512), (90, 100, 110))
    both.paste(one_face(), (0, 0))
    both.paste(ImageOps.mirror(one_face()).resize((330, 330)), (520, 182))
    return both


def no_face() -> Image.Image:
    """Return colours that run into each other."""
    ramp = np.linspace(0, 255, 320, dtype=np.uint8)
    return Image.fromarray(np.stack(np.broadcast_arrays(ramp, ramp[:240, None], np.uint8(90)), -1))


def weights_of(folder: Path, *panels: str) -> Path:
    """Return a copy of the shipped weights whose graph says that these are all of its panels."""
    weights = folder / SHIPPED.name
    shutil.copy(SHIPPED, weights)
    model = onnx.load(graph_of(SHIPPED), load_external_data=False)
    (entry,) = [each for each in model.metadata_props if each.key == ENTRY]
    entry.value = json.dumps({**json.loads(entry.value), "panels": panels})
    graph_of(weights).write_bytes(model.SerializeToString())
    return weights


class Client:
    """Asks a server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, headers and body; an underscore in a header's name is a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Content-Type": BYTES} if body is not None else {}
        connection.request(method, path, body, sent | {name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        try:
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def message(self, status: int, *asked: Any, **headers: str) -> str:
        """Return the message of a refusal with a status."""
        found, _, content = self.ask(*asked, **headers)
        assert found == status, content
        return str(json.loads(content)["message"])


@contextmanager
def serving(runtime: Runtime, places: int = PLACES, seconds: float = SECONDS) -> Iterator[Client]:
    """Answer on a free port while the context lasts."""
    worker = Worker(places, seconds)
    made = server(application(runtime, worker, "127.0.0.1"))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=made.run, args=([listener],))
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            made.should_exit = True
            thread.join()
            worker.end()
