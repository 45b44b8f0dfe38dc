"""Over HTTP: the page's files, answers, and every refusal with its status and a sentence."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.common import ROOT
from helpers.serving import Client, encoded, no_face, one_face, serving, two_faces

from facecycle.runtimes.base import Runtime
from facecycle.serving.answers import Answers
from facecycle.serving.application import BYTES, MAX_BYTES
from facecycle.serving.guard import HEADERS

PHOTOGRAPH = encoded(one_face(), "JPEG", quality=95)
TRANSLATE = f"/api/translate?face=0&strength=1&photograph={len(PHOTOGRAPH)}"
PAGE = ROOT / "facecycle" / "serving" / "page"


@pytest.fixture(scope="module")
def client(runtime: Runtime) -> Iterator[Client]:
    with serving(runtime) as opened:
        yield opened


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda file: file.name)
def test_the_pages_files_come_as_they_are(client: Client, file: Path) -> None:
    status, headers, content = client.ask("GET", "/" if file.name == "index.html" else f"/{file.name}")
    assert (status, content) == (200, file.read_bytes())
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert headers["Content-Type"].startswith(kinds[file.suffix[1:]])


def test_the_page_has_no_inline_code_and_nothing_from_elsewhere() -> None:
    for file in PAGE.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        if file.suffix == ".html":
            assert "<style" not in text
            assert "style=" not in text
            assert "<script>" not in text
            assert " on" not in text.replace(" one", "").replace(" on ", "")


def test_it_says_which_weights_these_are(client: Client, runtime: Runtime) -> None:
    status, _, content = client.ask("GET", "/api/about")
    assert status == 200
    said = json.loads(content)
    assert said == {**Answers(runtime).about(), "bytes": MAX_BYTES}
    assert "non-commercial" in said["terms"]


def test_faces_and_pictures_come_as_they_are_computed(client: Client, runtime: Runtime) -> None:
    answers, driver = Answers(runtime), encoded(two_faces())
    status, _, content = client.ask("POST", "/api/find", PHOTOGRAPH)
    assert (status, json.loads(content)) == (200, answers.find(PHOTOGRAPH))
    status, headers, content = client.ask("POST", TRANSLATE, PHOTOGRAPH + driver)
    assert status == 200
    said, parts = json.loads(headers["Pictures"]), {}
    for each in said:
        parts[each["name"]], content = content[: each["size"]], content[each["size"] :]
    assert content == b""
    assert parts == {each.name: each.content for each in answers.translate(PHOTOGRAPH, 0, 1.0, driver)}
    assert [each["type"] for each in said if each["name"] == "pasted"] == ["image/jpeg"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/", None), ("GET", "/nothing", None), ("PUT", "/", b""), ("POST", "/api/find", b"text")],
)
def test_every_answer_is_guarded(client: Client, method: str, path: str, body: bytes | None) -> None:
    for more in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        _, headers, _ = client.ask(method, path, body, **more)
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["Access-Control-Allow-Origin"] is None
        assert headers["Server"] is None


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (421, {"Host": "evil.example"}),
        (421, {"Host": "evil.example:8008", "Origin": "http://evil.example:8008", "Sec_Fetch_Site": "same-origin"}),
        (421, {"Host": "10.0.0.1"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (403, {"Sec_Fetch_Site": "same-site"}),
        (403, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": "multipart/form-data; boundary=x"}),
    ],
)
def test_other_sites_get_no_answer(client: Client, status: int, headers: dict[str, str]) -> None:
    for path in ("/api/find", TRANSLATE):
        assert client.message(status, "POST", path, PHOTOGRAPH, **headers)


def test_a_link_of_another_site_opens_the_page_and_a_frame_does_not(client: Client) -> None:
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert client.ask("GET", "/", **followed, Sec_Fetch_Dest="document")[0] == 200
    assert client.ask("GET", "/", **followed, Sec_Fetch_Dest="iframe")[0] == 403
    assert client.ask("GET", "/api/about", **followed, Sec_Fetch_Dest="document")[0] == 403


def test_the_page_itself_may_ask(client: Client) -> None:
    for host in (f"127.0.0.1:{client.port}", f"localhost:{client.port}"):
        own = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
        assert client.ask("POST", "/api/find", PHOTOGRAPH, **own)[0] == 200


@pytest.mark.parametrize(
    ("status", "path", "body", "said"),
    [
        (400, "/api/find", b"", "The body is empty, where a photograph was expected."),
        (400, TRANSLATE, b"", "The body is empty"),
        (422, "/api/find", b"no picture", "Not an image"),
        (422, "/api/find", PHOTOGRAPH[:900], "damaged or cut short"),
        (422, "/api/find", encoded(no_face()), "No face was found. Faces are found from 20 pixels on"),
        (422, "/api/find", encoded(one_face().resize((1, 1))), "No face was found"),
        (422, TRANSLATE, PHOTOGRAPH + b"no picture", "Not an image"),
        (
            422,
            TRANSLATE.replace("face=0", "face=3"),
            PHOTOGRAPH,
            "There is no face 3, because there is 1 face. They are counted from 0.",
        ),
        (400, TRANSLATE.replace("strength=1", "strength=2"), PHOTOGRAPH, "strength 2"),
        *((400, TRANSLATE.replace("strength=1", f"strength={x}"), b"", "strength") for x in ("", "nan", "inf", "x")),
        *((400, TRANSLATE.replace("face=0", f"face={x}"), b"", "face") for x in ("", "0.5", "9" * 5000)),
        (400, TRANSLATE, PHOTOGRAPH[:-1], f"photograph={len(PHOTOGRAPH)}"),
        (400, "/api/translate?face=0&strength=1&photograph=0", PHOTOGRAPH, "photograph=0"),
        (400, "/api/translate?face=0&strength=1&photograph=-5", PHOTOGRAPH, "photograph=-5"),
        (404, "/api/nothing", b"", "Not Found"),
        (404, "/../application.py", b"", "Not Found"),
        (405, "/", b"", "Method Not Allowed"),
    ],
)
def test_what_cannot_be_answered_is_said(client: Client, status: int, path: str, body: bytes, said: str) -> None:
    assert said in client.message(status, "POST", path, body)


def test_what_is_too_large_is_refused_before_it_is_read(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/api/find")
    connection.putheader("Content-Type", BYTES)
    connection.putheader("Content-Length", str(MAX_BYTES + 1))
    connection.endheaders(b"the first bytes")
    answer = connection.getresponse()
    assert answer.status == 413
    assert "32 MiB" in json.loads(answer.read())["message"]
    connection.close()


def test_a_body_that_does_not_say_its_size_is_measured(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    parts = (bytes(2**20) for _ in range(33))
    connection.request("POST", "/api/find", parts, {"Content-Type": BYTES}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


class Gated:
    """Weights that compute once they are allowed to."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.gate = runtime, threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def translate(self, *arguments: Any) -> dict[str, np.ndarray]:
        assert self.gate.wait(60)
        return self._runtime.translate(*arguments)


def test_more_than_the_queue_holds_come_back_later_and_all_are_answered(runtime: Runtime) -> None:
    gated = Gated(runtime)
    with serving(gated, places=3) as client, ThreadPoolExecutor(8) as people:
        asked = [people.submit(client.ask, "POST", TRANSLATE, PHOTOGRAPH) for _ in range(8)]
        refused = []
        while len(refused) < 5:
            refused = [each.result() for each in asked if each.done()]
        assert {status for status, _, _ in refused} == {429}
        assert {headers["Retry-After"] for _, headers, _ in refused} == {"1"}
        assert client.ask("GET", "/")[0] == 200  # the page is there all the same
        gated.gate.set()
        assert sorted(each.result()[0] for each in asked) == [200] * 3 + [429] * 5
        assert client.ask("POST", TRANSLATE, PHOTOGRAPH)[0] == 200


def test_a_photograph_that_takes_too_long_is_given_up_and_the_next_is_answered(runtime: Runtime) -> None:
    gated = Gated(runtime)
    gated.gate.set()
    with serving(gated, places=2, seconds=1.5) as client:
        assert client.ask("POST", TRANSLATE, PHOTOGRAPH)[0] == 200  # the networks are open
        gated.gate.clear()
        with ThreadPoolExecutor(2) as people:
            statuses = people.map(lambda _: client.ask("POST", TRANSLATE, PHOTOGRAPH)[0], range(2))
            assert sorted(statuses) == [503, 504]
        gated.gate.set()
        assert client.ask("POST", TRANSLATE, PHOTOGRAPH)[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecycle.serving.application.SECONDS", 0.2)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/api/find")
    connection.putheader("Content-Type", BYTES)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"the first bytes")
    assert connection.getresponse().status == 408
    connection.close()


def test_somebody_who_leaves_gives_the_place_back(runtime: Runtime) -> None:
    with serving(runtime, places=1) as client:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
            connection.putrequest("POST", "/api/find")
            connection.putheader("Content-Type", BYTES)
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"the first bytes")
            connection.close()
        while (status := client.ask("POST", "/api/find", PHOTOGRAPH)[0]) == 429:
            pass
        assert status == 200
