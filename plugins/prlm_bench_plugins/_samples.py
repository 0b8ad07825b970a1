"""What generators that draw several samples of a prompt share (see `Samples` in `prlm_bench.interfaces`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prlm_bench import Completion
from prlm_bench.errors import PrlmBenchError


def require_sampling(n: int, temperature: object, what: str) -> None:
    """Refuse to draw one answer several times.

    Args:
        n: samples of a prompt.
        temperature: of the sampling; 0 decodes greedily.
        what: what writes the most likely answer, for the message, such as "model 'x' writes".

    Raises:
        PrlmBenchError: more than one sample is asked of greedy decoding.
    """
    if n > 1 and temperature == 0:
        message = f"{what} the most likely answer, so {n} samples of it would be the same"
        raise PrlmBenchError(message, "set a temperature, such as temperature=0.7")


def gathered(samples: Iterable[tuple[int, int, Completion]], n: int) -> Iterator[tuple[int, list[Completion]]]:
    """Prompts with all their samples, in the order of these, as soon as the last one is there.

    Args:
        samples: index of a prompt, number of the sample, and the sample; in any order.
        n: samples of each prompt.
    """
    found: dict[int, dict[int, Completion]] = {}
    for index, number, completion in samples:
        mine = found.setdefault(index, {})
        mine[number] = completion
        if len(mine) == n:
            del found[index]
            yield index, [mine[place] for place in range(n)]
