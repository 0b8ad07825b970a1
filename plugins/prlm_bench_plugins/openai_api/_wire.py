"""Watches the bytes of one attempt: no reply is taken that is older than its question, or belongs to another."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import h11

_TAG = re.compile(rb"prlm-[0-9a-f]{32}")
_ID = re.compile(rb'"id"\s*:\s*"[^"]')


class Wire:
    """A trace function of httpx that watches one connection.

    A reply is the answer to a request only if it arrives after it. Each attempt has its own connection, so what
    follows a reply is dropped with the connection. It is counted, because a server that sends it is broken.
    """

    def __init__(self) -> None:
        #: Bytes had arrived before the request was written.
        self.early = False
        self._stream: Any = None
        self._received = bytearray()

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore at each step of a request."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._watch(info["return_value"])
        elif event.endswith("send_request_headers.started"):
            self.early = self.early or self._is_readable()
        elif event.endswith("send_request_body.started") and info["request"].method == b"POST":
            self.early = self.early or self._is_readable()  # other requests are whole by now and may be answered

    def _watch(self, stream: Any) -> None:
        """Keep a copy of what is read from a network stream of httpcore."""
        self._stream = stream
        self._received = received = bytearray()
        read = stream.read

        async def watched(max_bytes: int, timeout: float | None = None) -> bytes:
            data: bytes = await read(max_bytes, timeout)
            received.extend(data)
            return data

        stream.read = watched

    def _is_readable(self) -> bool:
        if self._stream is None:
            return False
        tls = self._stream.get_extra_info("ssl_object")
        # A socket with TLS is readable when the server has sent the tickets of a session, which are no reply.
        return bool(tls.pending() if tls is not None else self._stream.get_extra_info("is_readable"))

    def has_more(self) -> bool:
        """Whether more bytes came with the end of the reply."""
        if self._received.count(b"HTTP/1.") < 2:  # most replies need no second look
            return False
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="POST", target="/", headers=[("Host", "any")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(bytes(self._received))
        try:
            while not isinstance(event := parser.next_event(), h11.EndOfMessage):
                if event in (h11.NEED_DATA, h11.PAUSED):
                    return False
        except h11.RemoteProtocolError:
            return False
        return bool(parser.trailing_data[0])


class Replies:
    """Tells replies to other questions by their ids, and counts what was wrong with replies.

    Each attempt sends a tag as `X-Request-Id`. vLLM makes it part of the reply's id, and many gateways send it back: a
    reply with the tag of another attempt is not the answer. Of servers that do neither, a reply that equals an earlier
    one to another question, id included, is not taken the first time.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._questions: dict[bytes, bytes] = {}
        self._doubted: set[bytes] = set()

    @staticmethod
    def new_tag() -> str:
        """A tag for one attempt."""
        return f"prlm-{uuid4().hex}"

    def is_foreign(self, tag: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a reply names the tag of another attempt."""
        named = {*_TAG.findall(body), *(found for text in headers.values() for found in _TAG.findall(text.encode()))}
        return bool(named) and tag.encode() not in named

    def is_repeated(self, content: Mapping[str, Any] | None, body: bytes) -> bool:
        """Whether a reply with an id was the reply to another question before; False when the doubt is raised again.

        Servers with few ids, or one id for all, send equal replies for equal answers.
        """
        if content is None or not _ID.search(body):
            return False
        question = hashlib.sha256(json.dumps(content).encode()).digest()
        first = self._questions.setdefault(hashlib.sha256(body).digest(), question)
        if first == question or question in self._doubted:
            return False
        self._doubted.add(question)
        return True
