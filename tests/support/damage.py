"""Damaged files: strategies that damage the bytes of a whole file or the values in it, and what a reader may do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings, strategies as st

from prlm_bench.errors import PrlmBenchError

#: Few examples, the same in each run, for `make test`; many for `make nightly`, EXAMPLES or 10,000 a
#: reader, others with each `--hypothesis-seed`.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
}
SHORT = settings(max_examples=20, derandomize=True, database=None, **_COMMON)
LONG = settings(max_examples=int(os.environ.get("EXAMPLES", "10000")), database=None, **_COMMON)

#: Scalars of JSON that readers stumble over.
_SCALARS: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "0", "1e999", "\0", "\ud800", "\u202e\x1b[31m", "a\nb", "../x", "nan"),
    *("{x}", "{", "%s", "=1+1", "2001-01-01", "y" * 3000, "mini_lamp_4", "bm25:k1=nan", "\u00e9\U0001f600"),
]
_TEXTS = st.text(max_size=8)
VALUES = st.recursive(
    st.sampled_from(_SCALARS) | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
#: Bytes that mean something to readers of text, JSON, YAML, CSV and TREC files.
_PIECES: list[bytes] = [
    *(b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"\r", b"\n", b"\t", b" ", b'"', b"'", b"\\"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"[" * 3000, b'{"a":' * 3000, b"-", b"?", b"!", b"&a ", b"*a", b"<<: ", b"#"),
    *(b"!!int ''", b"!!python/object:os.system x", b"!!timestamp x", b"2001-13-45", b"1:30", b"0o17", b"017", b"yes"),
    *(b"9" * 5000, b"1e999", b"NaN", b"null", b"\\ud800", b"%", b"|", b">", b"---\n", b"...", b"=", b"@", b"`"),
]


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with one to three small changes: flips, cuts, insertions, repetitions."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "put"]))
        if kind == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[place:]
        elif kind in ("insert", "put"):
            piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
            data[place : place + (len(piece) if kind == "put" and len(piece) < 9 else 0)] = piece
        elif kind == "remove":
            del data[place : place + draw(st.integers(1, 40))]
        elif kind == "repeat":
            data[place:place] = data[place : place + draw(st.integers(1, 200))]
    return bytes(data)


@st.composite
def changed_value(draw: st.DrawFn, value: Any) -> Any:
    """The JSON value with another one somewhere in it, or without a part of it."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key = draw(st.sampled_from(sorted(value)) if isinstance(value, dict) else st.integers(0, len(value) - 1))
    kind = draw(st.sampled_from(["change", "change", "change", "remove", "add", "nest"]))
    if kind == "change":
        copy[key] = draw(changed_value(value[key]))
    elif kind == "remove":
        del copy[key]
    elif kind == "nest":
        for _ in range(draw(st.sampled_from([1, 60, 300]))):
            copy[key] = [copy[key]]
    elif isinstance(copy, dict):
        copy[draw(_TEXTS)] = draw(VALUES)
    else:
        copy.insert(key, draw(VALUES))
    return copy


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, path: Path, whole: bytes) -> bytes:
    """Damage to a file: to its bytes, or to the values in it, by the end of its name."""
    kind = draw(st.sampled_from(["bytes", "value", "value"]))
    if kind == "bytes" or path.suffix not in (".json", ".jsonl", ".yaml"):
        return draw(damaged_bytes(whole))
    if path.suffix == ".yaml":
        return _yaml(draw(changed_value(yaml.safe_load(whole))))
    if path.suffix == ".json":
        return _json(draw(changed_value(json.loads(whole))))
    lines = whole.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    lines[place] = _json(draw(changed_value(json.loads(lines[place]))))
    return b"\n".join(lines) + b"\n"


def read_or_refuse(path: Path, read: Callable[[], Any], *names: str) -> None:
    """Read; whatever is refused is refused in one line that names the file, or what it is called."""
    try:
        read()
    except PrlmBenchError as error:
        said = str(error)
        assert "\n" not in said, said
        assert len(said) < 2000, said
        assert any(name in said for name in (path.name, *names)), said
