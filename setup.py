"""Map the checkout's top-level folders into the distribution.

`plugins/<name>` is importable as `prlm_bench_plugins.<name>`; `tasks/` and the published numbers in
`results/` travel inside the wheel, below `prlm_bench/_shipped`. Everything else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

PLUGINS = "prlm_bench_plugins"
SHIPPED = {f"prlm_bench._shipped.{name}": name for name in ("tasks", "results")}


def folders_below(top: str) -> list[str]:
    """The folders of `top` that hold Python files, as dotted names below `prlm_bench_plugins`."""
    files = Path(top).rglob("*.py")
    parts = {path.parent.relative_to(top).parts for path in files if "__pycache__" not in path.parts}
    return sorted(".".join((PLUGINS, *part)) for part in parts)


core = [name for name in find_namespace_packages(include=["prlm_bench", "prlm_bench.*"]) if "__pycache__" not in name]
setup(
    packages=[*core, *folders_below("plugins"), *SHIPPED],
    package_dir={"prlm_bench": "prlm_bench", PLUGINS: "plugins", **SHIPPED},
    package_data={
        "": ["py.typed", "*.yaml", "*.txt", "*.html", "*.css", "*.js", "model/*", "recipes/*", "tasks/*.yaml"]
    },
)
