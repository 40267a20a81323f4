"""Download an address to a ``.part`` file: resumed after a failure, restarted if the file changed.

A resumed request has a ``Range`` header and, if the server sent a validator, ``If-Range`` (RFC
9110, sections 13.1.5 and 14.2, https://www.rfc-editor.org/rfc/rfc9110): if the file has changed
since, the server sends all of it, and the old bytes are dropped.
"""

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdmllab._util.files import read_record, write_text
from cdmllab.data import sniff
from cdmllab.errors import DataError, cause, plain

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the size of the file; None if the server does not send it."""

_CHUNK = 1 << 18
_RETRIED = (408, 425, 429, 500, 502, 503, 504)  # statuses after which a retry may succeed
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Patience:
    """When to retry a mirror and when to give up on it.

    Attributes
    ----------
    stall_s : seconds within which at least `least_bytes` must arrive
    least_bytes : see `stall_s`
    attempts : give up after so many in a row with fewer than `least_bytes` new bytes
    pause_s : seconds before the second attempt; doubled before each further one
    """

    stall_s: float = 60.0
    least_bytes: int = 1024
    attempts: int = 5
    pause_s: float = 1.0


PATIENT = Patience()


class MirrorError(DataError):
    """A mirror does not have the right file; another one may have it."""


class _CutError(Exception):
    """The connection failed; the same mirror can be retried."""


class _ChangedError(_CutError):
    """The file changed: the bytes received so far are not the beginning of the mirror's file."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from an encrypted address to one that is not."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise MirrorError(f"it redirects from https to {plain(newurl, 100)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str,
    part: Path,
    *,
    expected: int | None = None,
    any_origin: bool = False,
    patience: Patience = PATIENT,
    progress: Progress | None = None,
) -> None:
    """Complete `part` from an address.

    Parameters
    ----------
    part : may contain the beginning of the file, described in ``<part>.json`` next to it
    expected : size of the file in bytes, if known
    any_origin : also resume from a beginning that came from another address; only for files whose
        hash is checked
    patience, progress : as for `cdmllab.data.fetching.fetch`

    Raises
    ------
    MirrorError : the mirror does not have the file, has another one, or does not send all of it
    OSError : the disk is full or cannot be written
    """
    # Attempts that bring new bytes do not count, so a slow mirror may fail any number of times.
    # Changes of the file are limited separately, or one that keeps changing would loop forever.
    fruitless, changes = 0, 0
    while True:
        before = _size(part)
        try:
            return _once(url, part, expected, any_origin, patience, progress)
        except _CutError as error:
            changes += isinstance(error, _ChangedError)
            fruitless = 0 if _size(part) - before >= patience.least_bytes else fruitless + 1
            if fruitless >= patience.attempts or changes >= patience.attempts:
                raise MirrorError(f"{error}, {patience.attempts} times") from error
            pause = patience.pause_s * 2 ** max(0, fruitless - 1)
            time.sleep(min(pause, _LONGEST_PAUSE_S))


def _once(
    url: str,
    part: Path,
    expected: int | None,
    any_origin: bool,
    patience: Patience,
    progress: Progress | None,
) -> None:
    note = part.with_name(f"{part.name}.json")
    have, known = _size(part), _read(note)
    # What can be resumed: nothing beyond the expected size,
    # and bytes of another address only if the hash is checked.
    if have and known.get("url") != url and not any_origin:
        have = 0
    if expected is not None and have > expected:
        have = 0
    if have and have == expected:
        return
    # Only a validator from this address says anything about its file.
    validator = known.get("validator") if known.get("url") == url else None
    # No compression: sizes are of the file.
    headers = {"User-Agent": "cdmllab", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if isinstance(validator, str):
            headers["If-Range"] = validator
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(
            urllib.request.Request(url, headers=headers), timeout=patience.stall_s
        ) as response:
            # Where the answer begins, and whether it continues the same file.
            start, total = _range(response, have)
            if start and total is None and isinstance(known.get("total"), int):
                total = known["total"]  # a server need not repeat it
            now = _validator(response.headers)
            if start and (
                (validator and now and now != validator) or known.get("total") not in (None, total)
            ):
                _discard(part, note)
                raise _ChangedError("the file changed during the download")
            _refuse_page(response.headers.get_content_type(), part.name)
            if expected is not None and total is not None and total != expected:
                raise MirrorError(f"it offers {total:,} bytes, expected {expected:,}")
            if start == 0:
                # Before the note is written: after a kill in between, the download starts again.
                _discard(part, note)
            write_text(note, json.dumps({"url": url, "validator": now, "total": total}))
            _receive(response, part, start, total, expected, patience, progress)
    except urllib.error.HTTPError as error:
        _handle_status(error, part, note, have)
    except (
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
        urllib.error.URLError,
    ) as error:
        raise _CutError(_reason(error, patience)) from error


def _receive(
    response: Any,
    part: Path,
    start: int,
    total: int | None,
    expected: int | None,
    patience: Patience,
    progress: Progress | None,
) -> None:
    """Append the body to `part`; reject web pages, stalls, and bodies of the wrong length."""
    # Stop at the expected size rather than at whatever the server goes on sending.
    done, most = start, expected if expected is not None else total
    # A timeout of the socket does not notice a server that sends a byte now and then.
    since, then = time.monotonic(), done
    with part.open("ab") as file:
        # `read1` returns what has arrived, so that a slow
        # server's bytes are not lost when it stalls.
        while block := response.read1(_CHUNK):
            if done == 0 and sniff.guess(block).startswith("an HTML page"):
                raise MirrorError("it answers with an HTML page instead of the file")
            if most is not None and done + len(block) > most:
                raise MirrorError(f"it sends more than the expected {most:,} bytes")
            file.write(block)
            file.flush()
            done += len(block)
            if progress is not None:
                progress(done, most)
            # Once per `stall_s`: has enough arrived since the last check?
            if time.monotonic() - since > patience.stall_s:
                if done - then < patience.least_bytes:
                    raise _CutError(f"it sent {done - then:,} bytes in {patience.stall_s:g} s")
                since, then = time.monotonic(), done
    if total is not None and done < total:
        raise _CutError(f"the connection closed after {done:,} of {total:,} bytes")
    if expected is not None and done < expected:
        raise MirrorError(f"it ends after {done:,} bytes, expected {expected:,}")


def _range(response: Any, have: int) -> tuple[int, int | None]:
    """The position in the file at which a response begins, and the size of the file if known."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:  # 206: partial content; otherwise the file from its start
        return 0, int(length) if length.isdigit() else None
    # As in "bytes 100-199/200": unit, range and total.
    content_range = response.headers.get("Content-Range", "")
    unit, _, rest = content_range.partition(" ")
    place, _, total = rest.partition("/")
    if unit != "bytes" or place.split("-")[0] != str(have):
        raise MirrorError(
            f"asked for the bytes from {have:,} on, it answers "
            f"{plain(content_range or 'without a range', 60)}"
        )
    return have, int(total) if total.isdigit() else None


def _handle_status(error: urllib.error.HTTPError, part: Path, note: Path, have: int) -> None:
    """Raise the error that a status means; return if the part turns out to be complete."""
    with error:
        message = f"it answers {error.code} {plain(error.reason, 60)}"
        if error.code == 416:  # no bytes after the part: it is complete, or the file is shorter
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            _discard(part, note)
            raise _ChangedError("the file is now shorter than the part received before")
        if error.code in _RETRIED:
            wait = error.headers.get("Retry-After", "")
            if wait.isdigit():
                time.sleep(min(float(wait), _LONGEST_PAUSE_S))
            raise _CutError(message) from error
        raise MirrorError(message) from error


def _reason(error: Exception, patience: Patience) -> str:
    # urllib wraps errors of the connection in its own.
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return f"nothing arrived for {patience.stall_s:g} s"
    if isinstance(inner, socket.gaierror):
        return "its address cannot be found"
    if isinstance(inner, ConnectionRefusedError):
        return "it refuses the connection"
    return (
        f"the connection failed: "
        f"{cause(inner, 100) if isinstance(inner, BaseException) else plain(inner, 100)}"
    )


def _refuse_page(kind: str, name: str) -> None:
    if kind == "text/html" and not name.endswith((".html.part", ".htm.part")):
        raise MirrorError("it answers with an HTML page instead of the file")


def _validator(headers: Any) -> str | None:
    """A strong entity tag, or else the date of the last change; weak tags allow other bytes."""
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return headers.get("Last-Modified") or None


def _discard(part: Path, note: Path) -> None:
    part.open("wb").close()
    note.unlink(missing_ok=True)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _read(note: Path) -> dict[str, Any]:
    with suppress(DataError):  # missing, or damaged by a power cut: the download starts again
        return read_record(note)
    return {}
