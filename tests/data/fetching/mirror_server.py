"""A mirror on the loopback interface that serves files, with faults on request."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head>"
    b"<body>Please sign in to download</body></html>"
)


class Mirror:
    """Files by path, each with a list of faults: one per request, the last for all further ones.

    A fault is a name, or a name with a number: ``("cut", 100)`` closes after 100 bytes,
    ``("trickle", 0.1)`` waits that many seconds between bytes, ``("longer", 10)`` and
    ``("shorter", 10)`` lie about the size, ``("status", 503)`` answers with that status.
    The others are ``page``, ``stall``, ``redirect``, ``loop``, ``gone``, ``no range``,
    ``wrong range``, ``wrong byte``, ``zeros``, and ``changes``, with a number: then closes early.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []  # method, path, headers
        self.posted: list[tuple[str, bytes]] = []
        self.answers: dict[str, bytes] = {}  # to what is posted, JSON
        self.released = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                mirror._serve(self, body=True)

            def do_HEAD(self) -> None:
                mirror._serve(self, body=False)

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                mirror.posted.append((self.path, content))
                answer = mirror.answers.get(urlsplit(self.path).path, b"{}")
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def ranges(self) -> list[str]:
        """What was asked for, request by request."""
        return [headers.get("Range", "") for method, _, headers in self.asked if method == "GET"]

    def _fault(self, path: str) -> Any:
        waiting = self.faults.get(path, [])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0] if waiting else None

    def _serve(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        parts = urlsplit(request.path)
        path = parts.path
        if path == "/uc":  # Google Drive
            path = f"/uc/{parse_qs(parts.query)['id'][0]}"
        self.asked.append((request.command, request.path, dict(request.headers)))
        fault = self._fault(path) if body else None
        name, amount = fault if isinstance(fault, tuple) else (fault, 0)
        request.close_connection = True
        if name == "stall":
            self.released.wait(20)
            return
        if path not in self.files or name == "gone":
            self._short(request, 404)
            return
        if name == "status":
            self._short(request, int(amount), {"Retry-After": "0"})
            return
        if name == "redirect":
            moved = f"/moved{path}"
            self.files[moved] = self.files[path]
            self._short(request, 302, {"Location": moved})
            return
        if name == "loop":
            self._short(request, 302, {"Location": path})
            return
        if name == "changes":
            self.files[path] = bytes(reversed(self.files[path]))
        content = self.files[path]
        if name == "zeros":
            content = bytes(len(content))
        if name == "wrong byte":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if name == "page":
            self._send(request, PAGE, PAGE, 200, {"Content-Type": "text/html; charset=utf-8"}, body)
            return
        if name == "hidden page":
            self._send(request, PAGE, PAGE, 200, {"Content-Type": "application/octet-stream"}, body)
            return
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "X-Repo-Commit": "0" * 40}
        start, requested = 0, request.headers.get("Range", "")
        if requested and name != "no range" and request.headers.get("If-Range", tag) == tag:
            start = int(requested.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                self._short(request, 416, {"Content-Range": f"bytes */{len(content)}"})
                return
            reported = 0 if name == "wrong range" else start
            total = "*" if name == "unknown total" else len(content)
            headers["Content-Range"] = f"bytes {reported}-{len(content) - 1}/{total}"
        sent = content[start:]
        if name == "cut" or (name == "changes" and amount):
            self._send(request, sent[: int(amount)], sent, 206 if start else 200, headers, body)
            return
        if name == "longer":
            self._send(
                request, sent, sent + bytes(int(amount)), 206 if start else 200, headers, body
            )
            return
        if name == "shorter":
            self._send(request, sent, sent[: -int(amount)], 206 if start else 200, headers, body)
            return
        pause = float(amount) if name == "trickle" else 0.0
        self._send(request, sent, sent, 206 if start else 200, headers, body, pause)

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        sent: bytes,
        announced: bytes,
        status: int,
        headers: dict[str, str],
        body: bool,
        pause: float = 0.0,
    ) -> None:
        request.send_response(status)
        for key, value in ({"Content-Type": "application/octet-stream"} | headers).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(announced)))
        request.send_header("Connection", "close")
        request.end_headers()
        if not body:
            return
        try:
            if not pause:
                request.wfile.write(sent)
            for k in range(len(sent) if pause else 0):
                request.wfile.write(sent[k : k + 1])
                time.sleep(pause)
        except ConnectionError:
            pass

    def _short(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header("Content-Length", "0")
        request.send_header("Connection", "close")
        request.end_headers()


@contextmanager
def serving() -> Iterator[Mirror]:
    """A mirror that answers within the block."""
    mirror = Mirror()
    thread = threading.Thread(
        target=mirror.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield mirror
    finally:
        mirror.released.set()
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()
