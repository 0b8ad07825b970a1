from ._cached_generator import CachedGenerator as CachedGenerator, CachedStream as CachedStream
from ._components import Components as Components, missing_requirement as missing_requirement
from ._config import (
    RunConfig as RunConfig,
    read_run_config as read_run_config,
    run_file_plugins as run_file_plugins,
)
from ._execute import BATCH as BATCH, Outcome as Outcome, execute as execute, preview as preview
from ._exports import prompt_lines as prompt_lines, ranking_file as ranking_file
from ._generation_cache import GenerationCache as GenerationCache
from ._generation_files import GenerationFile as GenerationFile, generation_files as generation_files, prune as prune
from ._plan import Cell as Cell, Skipped as Skipped, remedy as remedy
from ._prepare import PreparedTask as PreparedTask, prepare_tasks as prepare_tasks
