"""Digests change when results may, and at no other time."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import prlm_bench
from prlm_bench.errors import PrlmBenchError
from prlm_bench.identity import RESULT_MODULES, code_digest, core_digest, json_digest, object_state

PACKAGE = Path(prlm_bench.__file__).parent
RETRIEVER = '''"""A retriever."""
from {helper} import order


class Mine:
    """Orders items."""

    def rank(self, examples, k=None):
        return [order(example, k) for example in examples]
'''
HELPER = '"""Helps."""\ndef order(example, k):\n    return example.profile[:k]\n'


def load(file: Path) -> ModuleType:
    """A plugin file under a name of its own, as `--plugin` loads it."""
    spec = importlib.util.spec_from_file_location(f"local_{file.stem}_{abs(hash(str(file)))}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def digest_in_a_new_process(folder: Path, module: str, what: str) -> str:
    """The digest of `module.what`, with `folder` on Python's path."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {module} as m\n"
    code += f"from prlm_bench.identity import code_digest; print(code_digest(m.{what}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


class TestCore:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(PACKAGE, tmp_path / "prlm_bench", ignore=shutil.ignore_patterns("__pycache__")))

    def files(self, package: Path) -> list[Path]:
        found = []
        for name in RESULT_MODULES:
            path = package.joinpath(*name.split(".")[1:])
            found += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        return [f for f in found if f.name != "_download.py" and "synth" not in f.parts]

    def test_the_same_code_elsewhere_is_the_same(self, copy: Path) -> None:
        assert core_digest(copy) == core_digest()

    def test_every_edit_of_code_that_decides_results_is_seen(self, copy: Path) -> None:
        files = self.files(copy)
        assert len(files) > 30
        seen = {core_digest()}
        for file in files:
            before = file.read_text()
            file.write_text(before + "\nEDITED = 1\n")
            core_digest.cache_clear()
            digest = core_digest(copy)
            assert digest not in seen, file
            seen.add(digest)
            file.write_text(before)
        core_digest.cache_clear()

    def test_comments_docstrings_and_layout_are_not(self, copy: Path) -> None:
        for file in self.files(copy):
            text = file.read_text().replace("\n\n\n", "\n\n\n\n# a comment\n")
            file.write_text(text + "\n# the end\n")
        core_digest.cache_clear()
        assert core_digest(copy) == core_digest()
        metric = copy / "metrics" / "_metric.py"
        text = metric.read_text()
        edited = text.replace('"""', '"""Reworded: ', 1)
        assert edited != text
        metric.write_text(edited)
        core_digest.cache_clear()
        assert core_digest(copy) == core_digest()

    @pytest.mark.parametrize("outside", ["cli/_run.py", "report/_text.py", "site/_build.py", "data/_download.py"])
    def test_code_that_decides_nothing_is_not(self, copy: Path, outside: str) -> None:
        with (copy / outside).open("a") as file:
            file.write("\nEDITED = 1\n")
        core_digest.cache_clear()
        assert core_digest(copy) == core_digest()


class TestPlugins:
    def test_a_helper_beside_a_plugin_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "helper_of_mine.py").write_text(HELPER)
        file = tmp_path / "mine.py"
        file.write_text(RETRIEVER.format(helper="helper_of_mine"))
        before = code_digest(load(file).Mine)
        (tmp_path / "helper_of_mine.py").write_text(HELPER.replace("[:k]", "[::-1]"))
        assert code_digest(load(file).Mine) != before
        (tmp_path / "helper_of_mine.py").write_text("# why\n" + HELPER.replace("Helps", "Helps much"))
        assert code_digest(load(file).Mine) == before

    def test_a_file_below_the_folder_of_a_package(self, tmp_path: Path) -> None:
        package = tmp_path / "some_plugin"
        (package / "deep" / "er").mkdir(parents=True)
        (package / "__init__.py").write_text("from .mine import Mine\n")
        (package / "mine.py").write_text("class Mine:\n    pass\n")
        for folder in ("deep", "deep/er"):
            (package / folder / "__init__.py").write_text("")
        (package / "deep" / "er" / "way.py").write_text("WEIGHT = 1\n")
        before = digest_in_a_new_process(tmp_path, "some_plugin", "Mine")
        (package / "deep" / "er" / "way.py").write_text("WEIGHT = 2\n")
        assert digest_in_a_new_process(tmp_path, "some_plugin", "Mine") != before

    def test_another_package_of_the_project_that_is_imported(self, tmp_path: Path) -> None:
        for name in ("one", "two", "three"):
            (tmp_path / "project" / name).mkdir(parents=True)
            (tmp_path / "project" / name / "__init__.py").write_text("")
        (tmp_path / "project" / "__init__.py").write_text("")
        (tmp_path / "project" / "one" / "mine.py").write_text(
            "class Mine:\n    def rank(self):\n        from ..two import shared\n        return shared.X\n"
        )
        (tmp_path / "project" / "two" / "shared.py").write_text("X = 1\n")
        (tmp_path / "project" / "three" / "other.py").write_text("X = 1\n")
        before = digest_in_a_new_process(tmp_path, "project.one.mine", "Mine")
        (tmp_path / "project" / "three" / "other.py").write_text("X = 2\n")
        assert digest_in_a_new_process(tmp_path, "project.one.mine", "Mine") == before
        (tmp_path / "project" / "two" / "shared.py").write_text("X = 2\n")
        assert digest_in_a_new_process(tmp_path, "project.one.mine", "Mine") != before

    def test_a_base_class_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "base_of_mine.py").write_text("class Base:\n    step = 1\n")
        (tmp_path / "mine.py").write_text("import base_of_mine as b\n\n\nclass Mine(b.Base):\n    pass\n")
        before = digest_in_a_new_process(tmp_path, "mine", "Mine")
        (tmp_path / "base_of_mine.py").write_text("class Base:\n    step = 2\n")
        assert digest_in_a_new_process(tmp_path, "mine", "Mine") != before

    def test_the_folder_of_a_plugin_file_is_no_part_of_it(self, tmp_path: Path) -> None:
        digests = set()
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "mine.py").write_text("class Mine:\n    pass\n")
            digests.add(code_digest(load(tmp_path / folder / "mine.py").Mine))
        assert len(digests) == 1

    def test_the_arguments_of_a_partial(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.py"
        file.write_text("def make(weight, words=()):\n    return weight\n")
        make = load(file).make
        digests = {code_digest(make), *(code_digest(functools.partial(make, w)) for w in (1, 2, "1", (1, 2)))}
        digests.add(code_digest(functools.partial(make, 1, words=["a"])))
        assert len(digests) == 6
        assert code_digest(functools.partial(make, 1)) == code_digest(functools.partial(make, 1))

    def test_the_standard_library_and_values_of_it(self) -> None:
        assert code_digest(json_digest) == ""
        assert code_digest(Path) == ""


class TestObjects:
    def make(self, **state: Any) -> object:
        value = type("Mine", (), {})()
        value.__dict__.update(state)
        return value

    def test_state_tells_objects_apart(self) -> None:
        states = [{}, {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"a": [1]}, {"a": {"b": None}}, {"a": Path("x")}]
        assert len({object_state(self.make(**state)) for state in states}) == len(states)

    def test_it_is_stable(self) -> None:
        assert object_state(self.make(a={3, 1, 2}, b=1)) == object_state(self.make(b=1, a={2, 3, 1}))

    def test_what_has_no_stable_form_is_refused(self) -> None:
        with pytest.raises(PrlmBenchError, match=r"cannot be told from another.*fingerprint"):
            object_state(self.make(file=(i for i in range(3))))
