"""A hub on this machine: as much of the Hugging Face hub's protocol as its client speaks to load and push weights."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

TOKEN = "hf_atokenthatnobodymaysee"


@dataclass
class Repository:
    """Branches and tags to commits, and commits to their files."""

    private: bool = False
    gated: bool = False
    refs: dict[str, str] = field(default_factory=lambda: {"main": ""})
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"": {}})

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        text = "".join(f"{name} {hashlib.sha256(content).hexdigest()} " for name, content in sorted(files.items()))
        sha = hashlib.sha1(f"{self.refs[ref]} {text}".encode()).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        return sha


class Hub:
    """Repositories, objects of large files, and what was asked: method, path, and whether with the token."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, bool]] = []
        self.endpoint = self.elsewhere = ""
        self.status = 0
        """Answers everything with this error, where it is not 0."""

    def add(self, name: str, files: dict[str, bytes], **about: bool) -> str:
        repository = self.repositories.setdefault(name, Repository(**about))
        return repository.commit(files)


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".onnx"))


class Answer(Exception):
    def __init__(self, status: int, body: Any = b"", **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def handle_any(self) -> None:
        body = self._body()
        path = unquote(self.path.partition("?")[0])
        self.trusted = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        self.hub.asked.append((self.command, path, self.trusted))
        try:
            if self.hub.status:
                raise Answer(self.hub.status)
            for pattern, answer in ROUTES:
                if found := re.fullmatch(pattern, f"{self.command} {path}"):
                    answer(self, body, **found.groupdict())
            raise Answer(404)
        except Answer as answer:
            self.send_response(answer.status)
            # No connection outlives its answer: a hub that is gone answers nothing.
            for name, value in {"Content-Length": len(answer.body), "Connection": "close", **answer.headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def found(self, name: str, ref: str) -> tuple[Repository, str]:
        """Return a repository and the commit of a branch, a tag or a commit; what the hub answers without them."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.trusted):
            # Whoever shows no token is not told which of the two it is.
            raise Answer(404 if self.trusted else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        sha = repository.refs.get(ref, ref)
        if sha not in repository.commits:
            raise Answer(404, {"error": f"Invalid rev id: {ref}"}, X_Error_Code="RevisionNotFound")
        return repository, sha

    def may_write(self) -> None:
        if not self.trusted:
            raise Answer(401, {"error": "Invalid username or password."})

    def info(self, body: bytes, name: str, ref: str | None = None) -> None:
        repository, sha = self.found(name, ref or "main")
        files = [{"rfilename": file} for file in sorted(repository.commits[sha])]
        about = {"id": name, "sha": sha or None, "siblings": files, "private": repository.private}
        raise Answer(200, {**about, "gated": "auto" if repository.gated else False})

    def tree(self, body: bytes, name: str, ref: str) -> None:
        repository, sha = self.found(name, ref)
        entries = []
        for path, content in sorted(repository.commits[sha].items()):
            digest = hashlib.sha256(content).hexdigest()
            lfs = {"lfs": {"oid": digest, "size": len(content), "pointerSize": 134}} if is_large(path) else {}
            entries.append({"type": "file", "path": path, "size": len(content), "oid": digest[:40], **lfs})
        raise Answer(200, entries)

    def resolve(self, body: bytes, name: str, ref: str, file: str) -> None:
        repository, sha = self.found(name, ref)
        if repository.gated:
            raise Answer(403 if self.trusted else 401, {"error": "Access is restricted"}, X_Error_Code="GatedRepo")
        content = repository.commits[sha].get(file)
        if content is None:
            raise Answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        digest = hashlib.sha256(content).hexdigest()
        if not is_large(file):
            raise Answer(200, content, ETag=f'"{digest[:40]}"', X_Repo_Commit=sha)
        self.hub.objects[digest] = content
        raise Answer(
            302,
            Location=f"{self.hub.elsewhere}/objects/{digest}",
            X_Repo_Commit=sha,
            X_Linked_ETag=f'"{digest}"',
            X_Linked_Size=str(len(content)),
        )

    def send_object(self, body: bytes, digest: str) -> None:
        raise Answer(200, self.hub.objects[digest], ETag=f'"{digest}"')

    def create(self, body: bytes) -> None:
        self.may_write()
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        self.hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
        self.hub.repositories[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        raise Answer(200, {"url": f"{self.hub.endpoint}/{name}"})

    def branch(self, body: bytes, name: str, ref: str) -> None:
        self.may_write()
        repository, sha = self.found(name, "main")
        repository.refs[ref] = sha
        raise Answer(200, {})

    def validate(self, body: bytes) -> None:
        raise Answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, name: str, ref: str) -> None:
        self.may_write()
        self.found(name, ref)
        paths = [file["path"] for file in json.loads(body)["files"]]
        modes = [
            {"path": p, "uploadMode": "lfs" if is_large(p) else "regular", "shouldIgnore": False, "oid": None}
            for p in paths
        ]
        raise Answer(200, {"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        self.may_write()
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.hub.endpoint}/objects/{each['oid']}"}},
            }
            for each in json.loads(body)["objects"]
        ]
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def receive_object(self, body: bytes, digest: str) -> None:
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.objects[digest] = body
        raise Answer(200)

    def commit(self, body: bytes, name: str, ref: str) -> None:
        self.may_write()
        repository, sha = self.found(name, ref)
        files = dict(repository.commits[sha])
        for line in map(json.loads, body.splitlines()):
            about = line["value"]
            if line["key"] == "file":
                files[about["path"]] = base64.b64decode(about["content"])
            elif line["key"] == "lfsFile":
                files[about["path"]] = self.hub.objects[about["oid"]]
            elif line["key"] == "deletedFile":
                del files[about["path"]]
        made = repository.commit(files, ref)
        raise Answer(200, {"commitOid": made, "commitUrl": f"{self.hub.endpoint}/{name}/commit/{made}"})


def speak_to(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Do what the variable HF_ENDPOINT does, which the client reads once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    url = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)


NAME, REF = r"(?P<name>[^/]+/[^/]+?)", "(?P<ref>.+)"
ROUTES = [
    (rf"GET /api/models/{NAME}", Handler.info),
    (rf"GET /api/models/{NAME}/revision/{REF}", Handler.info),
    (rf"GET /api/models/{NAME}/tree/{REF}", Handler.tree),
    (rf"(?:HEAD|GET) /{NAME}/resolve/(?P<ref>[^/]+)/(?P<file>.+)", Handler.resolve),
    (r"(?:HEAD|GET) /objects/(?P<digest>\w+)", Handler.send_object),
    (r"PUT /objects/(?P<digest>\w+)", Handler.receive_object),
    (r"POST /api/repos/create", Handler.create),
    (rf"POST /api/models/{NAME}/branch/{REF}", Handler.branch),
    (r"POST /api/validate-yaml", Handler.validate),
    (rf"POST /api/models/{NAME}/preupload/{REF}", Handler.preupload),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (rf"POST /api/models/{NAME}/commit/{REF}", Handler.commit),
]


@contextmanager
def a_hub() -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    hub.elsewhere = f"http://localhost:{server.server_port}"  # the client follows no redirection to the same host
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
