"""The simple retrievers, generators and rewards against expectations made by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.baselines import date_parts, day_number

from prlm_bench import Answer, Completion, Document, Example, Prompt, Ranking, Sample
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import DataError, SpecError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context

Make = Callable[..., Any]


def ask(
    *items: dict[str, str], name: str = "q", text: str = "Ask: it", relevant: frozenset[str] | None = None
) -> Example:
    """A question; each item may have the pseudo-fields `id`, `date` and `doc` (what retrieval reads)."""
    profile = tuple(
        Document(item.get("id", str(place)), item.get("doc", ""), item, item.get("date"))
        for place, item in enumerate(items)
    )
    return Example(name, f"user {name}", text, text.partition(":")[2].strip(), profile, "gold", relevant)


def ids(ranking: Ranking) -> list[str]:
    return [item.id for item in ranking.items]


def prompt(example: Example, count: int | None = None) -> Prompt:
    items = example.profile[:count]
    return Prompt(example, Ranking(items, (0.0,) * len(items)), example.input)


@pytest.fixture
def datasets() -> Callable[[str, str], Dataset]:
    host = PluginHost()
    return lambda task, split="dev": open_split(host.tasks.get(task), split, synth_users=5)


@pytest.fixture
def make(host: PluginHost, tmp_path: Path, datasets: Callable[[str], Dataset]) -> Make:
    """Components by kind and spec, for a mini-LaMP task and a seed."""

    def build(kind: str, spec: str, task: str = "mini_lamp_4", seed: int = 0) -> Any:
        def inner(kind: str, spec: Any) -> Any:
            return host.registry.choose(kind, spec).make(context)

        dataset = datasets(task)
        context = Context(dataset.task, dataset, seed, tmp_path, inner, lambda kind, spec: {}, lambda other: context)
        return inner(kind, spec)

    return build


def answers(generator: Any, *prompts: Prompt) -> list[str]:
    found = dict(generator.generate(prompts))
    assert all(completion.is_answer for completion in found.values())
    return [found[index].text for index in range(len(prompts))]


def test_none_gives_no_items(make: Make) -> None:
    assert make("retriever", "none").rank([ask({"doc": "x"}), ask()], 3) == [Ranking(), Ranking()]


MANY = [{"doc": f"text {place}"} for place in range(20)]


def test_random_is_a_permutation(make: Make) -> None:
    example = ask(*MANY)
    (ranking,) = make("retriever", "random").rank([example])
    assert sorted(ids(ranking), key=int) == [item.id for item in example.profile]
    assert ids(ranking) != [item.id for item in example.profile]
    assert ranking.scores == tuple(map(float, range(20, 0, -1)))
    (cut,) = make("retriever", "random-own").rank([example], 6)
    assert (cut.items, cut.scores) == (ranking.items[:6], ranking.scores[:6])


def test_random_is_seeded_for_each_question(make: Make) -> None:
    examples = [ask(*MANY, name=name) for name in ("a", "b", "c")]
    together = make("retriever", "random").rank(examples)
    assert together == make("retriever", "random").rank(examples)
    assert together[::-1] == make("retriever", "random").rank(examples[::-1])
    assert len({tuple(ids(ranking)) for ranking in together}) == 3
    assert together != make("retriever", "random", seed=1).rank(examples)


def test_random_draws_every_item_alike(make: Make) -> None:
    examples = [ask(*MANY[:4], name=str(number)) for number in range(2000)]
    first = Counter(ids(ranking)[0] for ranking in make("retriever", "random").rank(examples, 1))
    assert all(400 < first[str(place)] < 600 for place in range(4))


def test_recency(make: Make) -> None:
    dates = ["2019-12-31", "2020-01-10", "2020-01-9", "2020-01-10", "2020", "999-12-31"]
    (ranking,) = make("retriever", "recency").rank([ask(*({"date": date} for date in dates))])
    # By number, not by letter; of one day the last of the profile first; a bare year is before its months.
    assert ids(ranking) == ["3", "1", "2", "4", "0", "5"]
    assert ranking.scores == (4.0, 4.0, 3.0, 2.0, 1.0, 0.0)
    (cut,) = make("retriever", "recency").rank([ask(*({"date": date} for date in dates))], 2)
    assert ids(cut) == ["3", "1"]
    (forwards,) = make("retriever", "recency:ties=profile").rank([ask(*({"date": date} for date in dates))])
    assert ids(forwards) == ["1", "3", "2", "4", "0", "5"]


def test_recency_is_a_stable_sort_reversed(make: Make) -> None:
    """As `rank_profiles.py` of LaMP sorts."""
    recency, draw = make("retriever", "recency"), random.Random(0)
    for size in range(13):
        days = [f"2010-{draw.randint(1, 2)}-{draw.randint(9, 10)}" for _ in range(size)]
        expected = sorted(range(size), key=lambda place: tuple(map(int, days[place].split("-"))))[::-1]
        (ranking,) = recency.rank([ask(*({"date": day} for day in days))])
        assert ids(ranking) == list(map(str, expected))


@pytest.mark.parametrize("date", ["May 2020", "", "2020-05-x", None])
def test_recency_names_the_date_that_it_cannot_order(make: Make, date: str | None) -> None:
    item = {"id": "i7"} if date is None else {"id": "i7", "date": date}
    with pytest.raises(DataError, match=rf"question q: item i7 has the date {date!r}, which recency cannot order"):
        make("retriever", "recency").rank([ask(item)])


def test_dates_are_ordered_by_their_numbers_and_counted_in_days() -> None:
    assert date_parts("2020-1-9") == date_parts("2020-01-09") == (2020, 1, 9)
    assert date_parts("2019-12-31") < date_parts("2020") < date_parts("2020-01")
    assert day_number("2020-03-01") - day_number("2020-2-28T23:59") == 2
    assert day_number("2020") == day_number("2020-01") == day_number("2020-01-01")
    for read in (date_parts, day_number):
        for written in (None, "", "May 2020", "2020-05-x"):
            with pytest.raises(ValueError):
                read(written)
    assert date_parts("2020-02-31") == (2020, 2, 31)
    with pytest.raises(ValueError):
        day_number("2020-02-31")


def test_oracle(make: Make) -> None:
    example = ask(*MANY[:5], relevant=frozenset({"3", "1", "absent"}))
    (ranking,) = make("retriever", "oracle").rank([example])
    assert ids(ranking) == ["1", "3", "0", "2", "4"]
    assert ranking.scores == (1.0, 1.0, 0.0, 0.0, 0.0)
    (unknown,) = make("retriever", "oracle").rank([ask(*MANY[:3])])
    assert ids(unknown) == ["0", "1", "2"]


def test_oracle_finds_what_mini_lamp_has_planted(make: Make, datasets: Callable[[str], Dataset]) -> None:
    (examples,) = datasets("mini_lamp_4").batches(10_000)
    for example, ranking in zip(examples, make("retriever", "oracle").rank(examples), strict=True):
        assert example.relevant
        assert set(ids(ranking)[: len(example.relevant)]) == example.relevant


@pytest.mark.parametrize("by", ["random", "recency", "bm25", "bm25:k1=2"])
def test_other_user_never_shows_own_items(make: Make, datasets: Callable[[str], Dataset], by: str) -> None:
    (examples,) = datasets("mini_lamp_4").batches(10_000)
    owners: dict[str, set[str]] = {}
    for example in examples:
        for item in example.profile:
            owners.setdefault(item.id, set()).add(example.user)
    retriever = make("retriever", f"other-user:by={by}")
    rankings = retriever.rank(examples)
    for example, ranking in zip(examples, rankings, strict=True):
        assert ranking.items
        assert all(example.user not in owners[item.id] for item in ranking.items)
        (user,) = set.intersection(*(owners[item.id] for item in ranking.items))
        assert user != example.user
    assert [retriever.rank([example])[0] for example in examples] == rankings
    assert make("retriever", f"other-user:by={by}").rank(examples, 2)[0].items == rankings[0].items[:2]
    assert make("retriever", f"other-user:by={by}", seed=1).rank(examples) != rankings


def test_other_user_ranks_for_the_own_query(make: Make, datasets: Callable[[str], Dataset]) -> None:
    (examples,) = datasets("mini_lamp_4").batches(10_000)
    bm25 = make("retriever", "bm25")
    for example, ranking in zip(examples, make("retriever", "other-user:by=bm25").rank(examples), strict=True):
        profile = sorted(ranking.items, key=lambda item: item.id)
        again = Example("", "", "", example.query, tuple(profile))
        assert sorted(bm25.rank([again])[0].scores) == pytest.approx(sorted(ranking.scores))


def test_echo(make: Make) -> None:
    assert answers(make("generator", "echo"), prompt(ask(text="Ask: the query ")), prompt(ask(text=": x"))) == [
        "the query",
        "x",
    ]


def test_copy(make: Make) -> None:
    example = ask({"title": "First", "text": "t"}, {"title": "Second", "text": "t"})
    assert answers(make("generator", "copy"), prompt(example), prompt(example, 0)) == ["First", ""]
    tweets = ask({"text": "own words"})
    assert answers(make("generator", "copy", "mini_lamp_7"), prompt(tweets)) == ["own words"]
    with_score = ask({"text": "x", "score": "4"})
    assert answers(make("generator", "copy", "mini_lamp_3"), prompt(with_score)) == ["4"]


def test_vote_takes_the_majority_and_the_better_ranked_of_a_tie(make: Make) -> None:
    vote = make("generator", "vote", "mini_lamp_2")
    tags = [{"tag": tag} for tag in ("comedy", "action", "action", "comedy", "violence")]
    example = ask(*tags)
    found = answers(vote, *(prompt(example, k) for k in range(6)))
    assert found == ["", "comedy", "comedy", "action", "comedy", "comedy"]


def test_vote_is_the_mean_of_scores(make: Make) -> None:
    vote = make("generator", "vote", "mini_lamp_3")
    example = ask({"score": "1"}, {"score": "4"}, {"score": "5"})
    found = answers(vote, *(prompt(example, k) for k in range(4)))
    assert found[0] == ""
    assert [float(text) for text in found[1:]] == [1.0, 2.5, pytest.approx(10 / 3)]


def test_constant_is_the_majority_of_train(make: Make, datasets: Callable[..., Dataset]) -> None:
    golds = Counter(datasets("mini_lamp_2", "train").golds)
    constant = make("generator", "constant", "mini_lamp_2")
    (found,) = set(answers(constant, prompt(ask()), prompt(ask(name="r"))))
    assert golds[found] == max(golds.values())
    assert constant.fingerprint() == found


def test_constant_needs_a_training_split(host: PluginHost, tmp_path: Path, datasets: Callable[[str], Dataset]) -> None:
    class Alone:
        @staticmethod
        def sibling(split: str) -> None:
            return None

    context: Any = Context(datasets("mini_lamp_2").task, Alone(), 0, tmp_path, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="generator constant: there is no training split with golds"):
        host.registry.choose("generator", "constant").make(context)


CITATION = (
    'For an author who has written the paper with the title "own title", which reference is related? Just answer with '
    '[1] or [2] without explanation. [1]: "{first}" [2]: "{second}"'
)


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        ("Sparse ranking of users", "Deep fish biology", "[1]"),
        ("Deep fish biology", "SPARSE Ranking of users", "[2]"),
        ("ranking fish", "ranking birds", "[1]"),  # a tie
        ("ranking of birds and of fish", "ranking", "[2]"),  # the share of words counts, not their number
        ("", "ranking", "[2]"),
        ("", "", "[1]"),
    ],
)
def test_nearest_chooses_the_candidate_that_the_items_cover(make: Make, first: str, second: str, label: str) -> None:
    nearest = make("generator", "nearest", "mini_lamp_1")
    items = [{"doc": "Ranking with sparse"}, {"doc": "profiles of users"}]
    example = ask(*items, text=CITATION.format(first=first, second=second))
    assert answers(nearest, prompt(example)) == [label]
    assert answers(nearest, prompt(example, 0)) == ["[1]"]


def sample(answer: str, gold: str | None, parsed: str | None = "whole") -> Sample:
    example = Example("q", "u", "Ask: it", "it", (), gold)
    return Sample(Prompt(example, Ranking(), ""), Completion(answer), Answer(answer, parsed))


def test_overlap_is_the_task_s_first_metric(make: Make) -> None:
    reward = make("reward", "overlap")
    assert reward.score([sample("a b", "a b"), sample("a", "a b"), sample("", "a b")]) == pytest.approx([1, 2 / 3, 0])
    assert reward.fingerprint() == "rouge1@lamp"
    citation = make("reward", "overlap", "mini_lamp_1")
    assert citation.score([sample("[1]", "[1]"), sample("[2]", "[1]"), sample("", "[1]")]) == [1.0, 0.0, 0.0]


def test_overlap_of_errors_is_negative(make: Make) -> None:
    reward = make("reward", "overlap", "mini_lamp_3")
    # What is no number counts as the worse of 1 and 5.
    assert reward.score([sample("4", "4"), sample("2", "5"), sample("five", "5")]) == [0.0, -3.0, -4.0]


def test_overlap_is_the_mean_of_several_metrics(make: Make) -> None:
    reward = make("reward", "overlap:rouge1@lamp+rouge2@lamp")
    assert reward.score([sample("a b", "a b c"), sample("c", "a b c")]) == pytest.approx([(0.8 + 2 / 3) / 2, 0.25])
    assert reward.fingerprint() == "rouge1@lamp+rouge2@lamp"


def test_overlap_needs_golds_and_metrics_of_single_samples(make: Make) -> None:
    with pytest.raises(ValueError, match="overlap needs golds"):
        make("reward", "overlap").score([sample("a", "a"), sample("a", None)])
    with pytest.raises(SpecError, match="bleu@lamp has no value for a single sample"):
        make("reward", "overlap:bleu@lamp")


def test_format_is_whether_the_answer_could_be_parsed(make: Make) -> None:
    assert make("reward", "format").score([sample("a", "a"), sample("", "a", None), sample("b", None)]) == [1, 0, 1]


def test_the_named_methods_are_the_controls(host: PluginHost) -> None:
    parts = {
        name: host.method(name) for name in ("echo", "constant", "random-copy", "other-user-copy", "stranger-copy")
    }
    assert parts["echo"].generator == "echo"
    assert parts["constant"].generator == "constant"
    assert (parts["random-copy"].retriever, parts["random-copy"].generator, parts["random-copy"].k) == (
        "random",
        "copy",
        1,
    )
    for name in ("other-user-copy", "stranger-copy"):
        assert (parts[name].retriever, parts[name].generator, parts[name].k) == ("other-user", "copy", 1)
    for kind, names in (("retriever", {"none", "random", "other-user"}), ("generator", {"echo", "constant", "copy"})):
        found = {c.name for c in host.registry.all(kind) if c.control and c.origin.plugin == "baselines"}
        assert found == names
