"""A small Hub on 127.0.0.1: what huggingface_hub asks a real one for, and the ways it can go wrong.

GET  /api/models/<id>/revision/<rev>      the commit
GET  /api/models/<id>/tree/<commit>       the files
HEAD /<id>/resolve/<commit>/<file>        ETag, size, X-Repo-Commit
GET  /<id>/resolve/<commit>/<file>        the bytes, from Range on
"""

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Hub:
    """What the server holds and how it misbehaves; `requests` is what it was asked, as (method, path, Range)."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # repository id -> name -> bytes
    gated: set[str] = field(default_factory=set)
    knows_tokens: bool = False  # any other token than "good" is answered with 401, for public models too
    lies_shorter: dict[str, int] = field(default_factory=dict)  # GET says and sends only so many bytes
    hangs_up_after: dict[str, int] = field(default_factory=dict)  # the first GET ends here, mid-file
    fails_with: dict[str, int] = field(default_factory=dict)  # name -> HTTP status on GET
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def fetched(self) -> list[str]:
        """The names of the files whose bytes were asked for, in order."""
        return [path.rpartition("/")[2] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run the server while the block runs; fills in `hub.url`."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range") or ""))
        if path.startswith("/api/models/"):
            self._answer_api(path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            repository, _, rest = path[1:].partition("/resolve/")
            revision, _, name = rest.partition("/")
            if self._may_read(repository, revision):
                self._answer_file(repository, name)
        else:
            self._error(404, "EntryNotFound")

    def _answer_api(self, path: str) -> None:
        kind = "revision" if "/revision/" in path else "tree"
        repository, _, revision = path.partition(f"/{kind}/")
        if not self._may_read(repository, revision.partition("/")[0]):
            return
        files = self.hub.files[repository]
        if kind == "revision":
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": repository, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        else:
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                for name, content in files.items()
            ]
            self._json(rows)

    def _may_read(self, repository: str, revision: str) -> bool:
        if self.hub.knows_tokens and self.headers.get("Authorization") not in (None, "Bearer good"):
            self._error(401, "", "Invalid credentials in Authorization header")
        elif repository not in self.hub.files:
            self._error(404, "RepoNotFound")
        elif repository in self.hub.gated and self.headers.get("Authorization") != "Bearer good":
            self._error(403, "GatedRepo")
        elif revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
        else:
            return True
        return False

    def _answer_file(self, repository: str, name: str) -> None:
        content = self.hub.files[repository].get(name)
        if content is None:
            return self._error(404, "EntryNotFound")
        if self.command == "GET" and name in self.hub.fails_with:
            return self._error(self.hub.fails_with[name], "")
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = content[start:]
        if self.command == "GET" and name in self.hub.lies_shorter:
            body = body[: self.hub.lies_shorter[name]]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{_etag(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            if (stop := self.hub.hangs_up_after.pop(name, None)) is not None:
                self.wfile.write(body[:stop])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(body)
        return None

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str, message: str = "") -> None:
        self.send_response(status)
        if message:
            self.send_header("X-Error-Message", message)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
