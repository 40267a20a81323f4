"""A check that the built pages load nothing over the network, so that they work offline."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# The attributes by which a page loads something by itself. Links that a reader may follow are
# allowed.
_LOADS = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src", "srcdoc"),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src", "href", "xlink:href"),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_HARMLESS_LINKS = {
    "author",
    "canonical",
    "help",
    "license",
    "me",
    "next",
    "prev",
    "search",
    "index",
}
_REMOTE = re.compile(r"\s*(?:https?:|wss?:|ftp:|//)[^\s\"')]*", re.IGNORECASE)
_CSS_LOAD = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:|//)[^\s\"')]+)", re.IGNORECASE)
_JS_IMPORT = re.compile(r"\b(?:from|import)\s*\(?\s*[\"']((?:https?:)?//[^\"']+)[\"']")


def external_loads(site: Path) -> list[str]:
    """The addresses that pages and style sheets below a folder would load: ``page: address``."""
    loads = []
    for path in sorted(site.rglob("*")):
        if path.suffix not in (".html", ".css"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        addresses = _page(text) if path.suffix == ".html" else _CSS_LOAD.findall(text)
        loads += [
            f"{path.relative_to(site).as_posix()}: {address.strip()}" for address in addresses
        ]
    return loads


def _page(text: str) -> list[str]:
    page = _Page()
    page.feed(text)
    page.close()
    return page.addresses


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        attributes = {name: value or "" for name, value in attrs}
        # The style attribute of any element may load an image.
        self.addresses += _CSS_LOAD.findall(attributes.get("style", ""))
        # A link to a canonical page or a licence loads nothing.
        if tag == "link" and set(attributes.get("rel", "").lower().split()) <= _HARMLESS_LINKS:
            return
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":  # a redirect
            self.addresses += re.findall(r"https?://\S+", attributes.get("content", ""))
        for name in _LOADS.get(tag, ()):
            self.addresses += self._remote(attributes.get(name, ""), name)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.addresses += _CSS_LOAD.findall(data)
        elif self._within == "script":
            self.addresses += _JS_IMPORT.findall(data)

    @staticmethod
    def _remote(value: str, name: str) -> Iterator[str]:
        # `srcset` lists several images, each with its size.
        for candidate in value.split(",") if name == "srcset" else [value]:
            if match := _REMOTE.match(candidate):
                yield match.group()
