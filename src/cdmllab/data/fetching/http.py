"""One address to one ``.part`` file: resumed where it was cut, begun anew where the file has
changed.

A resumed request carries ``Range`` and, where the server gave a validator, ``If-Range`` (RFC 9110,
sections 13.1.5 and 14.2): a file that was changed since arrives whole, and the old bytes are
dropped.
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
"""Called with the bytes there and all of them; None where the server does not say how many."""

_CHUNK = 1 << 18
_AGAIN = (
    408,
    425,
    429,
    500,
    502,
    503,
    504,
)  # statuses after which the same question may be answered
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Patience:
    """How long a mirror is given.

    Attributes
    ----------
    stall_s : seconds within which at least `least_bytes` have to arrive
    least_bytes : see `stall_s`
    attempts : how many in a row may end with fewer than `least_bytes` new ones
    pause_s : before the second attempt; doubled before each further one
    """

    stall_s: float = 60.0
    least_bytes: int = 1024
    attempts: int = 5
    pause_s: float = 1.0


PATIENT = Patience()


class MirrorError(DataError):
    """A mirror that does not have what is wanted; the next one may."""


class _CutError(Exception):
    """The connection failed on the way; the same mirror may go on."""


class _ChangedError(_CutError):
    """What was there so far is not the beginning of what the mirror has now."""


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
    """Bring `part` to the whole of what an address has.

    Parameters
    ----------
    part : may hold a beginning; what else is known of it is in ``<part>.json`` next to it
    expected : bytes it has to have
    any_origin : go on also from a beginning that another address gave; for files whose hash is
        checked

    Raises
    ------
    MirrorError : the mirror does not have the file, has another one, or does not get to its end
    OSError : the disk is full, or cannot be written
    """
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
    if have and known.get("url") != url and not any_origin:
        have = 0
    if expected is not None and have > expected:
        have = 0
    if have and have == expected:
        return
    validator = known.get("validator") if known.get("url") == url else None
    headers = {"User-Agent": "cdmllab", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if isinstance(validator, str):
            headers["If-Range"] = validator
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(
            urllib.request.Request(url, headers=headers), timeout=patience.stall_s
        ) as answer:
            start, total = _range(answer, have)
            now = _validator(answer.headers)
            if start and (
                (validator and now and now != validator) or known.get("total") not in (None, total)
            ):
                _forget(part, note)
                raise _ChangedError("the file was changed in mid-download")
            _refuse_page(answer.headers.get_content_type(), part.name)
            if expected is not None and total is not None and total != expected:
                raise MirrorError(f"it offers {total:,} bytes, {expected:,} are expected")
            if start == 0:
                _forget(
                    part, note
                )  # in this order: a kill in between leaves a file that is begun anew
            write_text(note, json.dumps({"url": url, "validator": now, "total": total}))
            _take(answer, part, start, total, expected, patience, progress)
    except urllib.error.HTTPError as error:
        _answered(error, part, note, have)
    except (
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
        urllib.error.URLError,
    ) as error:
        raise _CutError(_why(error, patience)) from error


def _take(
    answer: Any,
    part: Path,
    start: int,
    total: int | None,
    expected: int | None,
    patience: Patience,
    progress: Progress | None,
) -> None:
    """Append what arrives, and see that it arrives, is no web page, and ends where it should."""
    done, most = start, expected if expected is not None else total
    since, then = time.monotonic(), done
    with part.open("ab") as file:
        while block := answer.read1(_CHUNK):
            if done == 0 and sniff.what(block).startswith("an HTML page"):
                raise MirrorError("it answers with an HTML page in place of the file")
            if most is not None and done + len(block) > most:
                raise MirrorError(f"it sends more than the {most:,} bytes that are expected")
            file.write(block)
            file.flush()
            done += len(block)
            if progress is not None:
                progress(done, most)
            if time.monotonic() - since > patience.stall_s:
                if done - then < patience.least_bytes:
                    raise _CutError(f"it sent {done - then:,} bytes in {patience.stall_s:g} s")
                since, then = time.monotonic(), done
    if total is not None and done < total:
        raise _CutError(f"it was cut after {done:,} of {total:,} bytes")
    if expected is not None and done < expected:
        raise MirrorError(f"it ends after {done:,} bytes, {expected:,} are expected")


def _range(answer: Any, have: int) -> tuple[int, int | None]:
    """Where in the file an answer begins, and how long the whole is."""
    length = answer.headers.get("Content-Length", "")
    if answer.status != 206:
        return 0, int(length) if length.isdigit() else None
    said = answer.headers.get("Content-Range", "")
    unit, _, rest = said.partition(" ")
    place, _, total = rest.partition("/")
    if unit != "bytes" or place.split("-")[0] != str(have):
        raise MirrorError(
            f"asked for the bytes from {have:,} on, it answers "
            f"{plain(said or 'without a range', 60)}"
        )
    return have, int(total) if total.isdigit() else None


def _answered(error: urllib.error.HTTPError, part: Path, note: Path, have: int) -> None:
    """What an error status means; returns where the part is whole already."""
    with error:
        said = f"it answers {error.code} {plain(error.reason, 60)}"
        if error.code == 416:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            _forget(part, note)
            raise _ChangedError("the file is now shorter than what was there of it")
        if error.code in _AGAIN:
            wait = error.headers.get("Retry-After", "")
            if wait.isdigit():
                time.sleep(min(float(wait), _LONGEST_PAUSE_S))
            raise _CutError(said) from error
        raise MirrorError(said) from error


def _why(error: Exception, patience: Patience) -> str:
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
        raise MirrorError("it answers with an HTML page in place of the file")


def _validator(headers: Any) -> str | None:
    """A strong entity tag, or else the date of the last change."""
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return headers.get("Last-Modified") or None


def _forget(part: Path, note: Path) -> None:
    part.open("wb").close()
    note.unlink(missing_ok=True)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _read(note: Path) -> dict[str, Any]:
    with suppress(DataError):  # missing, or half of it lost with the machine's power: begun anew
        return read_record(note)
    return {}
