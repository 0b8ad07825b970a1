"""Map the checkout's top-level folders into the distribution.

`plugins/<name>` is importable as `prlm_bench_plugins.<name>`, and `tasks/` travels inside the wheel as
`prlm_bench/_shipped/tasks`, as do the published numbers in `results/`. Everything else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_packages, setup

PLUGINS = "prlm_bench_plugins"
TASKS = "prlm_bench._shipped.tasks"
REPORTED = "prlm_bench._shipped.results"


def folders_below(top: str) -> list[str]:
    """The folders of `top` that hold Python files, as dotted names below `prlm_bench_plugins`."""
    files = Path(top).rglob("*.py")
    parts = {path.parent.relative_to(top).parts for path in files if "__pycache__" not in path.parts}
    return sorted(".".join((PLUGINS, *part)) for part in parts)


setup(
    packages=[*find_packages(include=["prlm_bench", "prlm_bench.*"]), *folders_below("plugins"), TASKS, REPORTED],
    package_dir={"prlm_bench": "prlm_bench", PLUGINS: "plugins", TASKS: "tasks", REPORTED: "results"},
    package_data={"prlm_bench": ["py.typed", "**/*.yaml", "**/*.json"], TASKS: ["*.yaml"], REPORTED: ["*.yaml"]},
)
