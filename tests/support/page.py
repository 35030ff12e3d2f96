"""A page as text: what it says, what it would fetch, and what its script reads."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np


class Page(HTMLParser):
    """Words, pictures, scripts with their attributes, and everything that a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.images: list[dict[str, str]] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.policy = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "script":
            self.scripts.append((found, ""))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag == "img":
            self.images.append(found)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        for key in ("src", "href"):
            if key in found and not found[key].startswith(("data:", "#")):
                self.fetched.append(found[key])

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            about, text = self.scripts.pop()
            self.scripts.append((about, text + data))
        elif not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def arrays_of(page: Page) -> tuple[dict[str, Any], Callable[[dict[str, Any]], np.ndarray]]:
    """The data of a page's script, and what finds an array in them."""
    (text,) = [text for about, text in page.scripts if about.get("id") == "page-data"]
    data = json.loads(text)
    content = zlib.decompress(base64.b64decode(data["arrays"]))

    def array(place: dict[str, Any]) -> np.ndarray:
        size, kind = math.prod(place["shape"]), place["kind"]
        if kind == "b1":
            packed = np.frombuffer(content, np.uint8, -(-size // 8), place["at"])
            flat = np.unpackbits(packed, count=size, bitorder="little")
        else:
            flat = np.frombuffer(content, f"<{kind}", size, place["at"])
        return flat.reshape(place["shape"])

    return data, array
