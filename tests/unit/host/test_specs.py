"""Specs: text and YAML to typed options, and back to one text."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings, strategies as st

from prlm_bench.errors import SpecError
from prlm_bench.host import Spec, parse_spec
from prlm_bench.host._specs import bind, canonical, options_of
from prlm_bench.interfaces import SameResults


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large, really"


def every_type(
    context: object,
    number: float = 1.5,
    count: int = 3,
    flag: bool = False,
    text: str = "words",
    maybe: str | None = None,
    path: Path = Path("here"),
    ties: Literal["profile", "numpy"] = "profile",
    level: Literal[1, 2, "[1]", True, None] = 1,
    names: list[str] | None = None,
    sizes: tuple[int, ...] = (),
    shares: Sequence[float] = (0.5,),
    flags: list[bool] = [],  # noqa: B006
    size: Size = Size.SMALL,
    table: dict[str, Any] = {},  # noqa: B006
    untyped: Any = None,
) -> None:
    """A factory with an option of each type."""


def read(spec: str | Mapping[str, Any], factory: Callable[..., Any] = every_type) -> dict[str, Any]:
    return bind("retriever", factory, parse_spec(spec))


TEXTS = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from(["a", "b", "+", ",", "=", '"', "'", " ", "[", "]", "{", "none", "\n", "1"])).map("".join),
)
# An option that may be None cannot hold the word: `none` is how None is written.
WORDS = TEXTS.filter(lambda text: text.lower() not in ("none", "null"))
FLOATS = st.floats(allow_nan=False)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "number": FLOATS,
        "count": st.integers(),
        "flag": st.booleans(),
        "text": TEXTS,
        "maybe": st.one_of(st.none(), WORDS),
        "path": st.text("abc/., '\"+", min_size=1, max_size=8).map(Path),
        "ties": st.sampled_from(["profile", "numpy"]),
        "level": st.sampled_from([1, 2, "[1]", True, None]),
        "names": st.one_of(st.none(), st.lists(TEXTS, max_size=4)),
        "sizes": st.lists(st.integers(), max_size=4).map(tuple),
        "shares": st.lists(FLOATS, max_size=4),
        "flags": st.lists(st.booleans(), max_size=3),
        "size": st.sampled_from(Size),
        "table": st.dictionaries(TEXTS, st.one_of(st.none(), st.integers(), TEXTS, st.lists(TEXTS)), max_size=3),
        "untyped": WORDS,
    },
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_the_canonical_text_gives_the_same_options_again(values: dict[str, Any]) -> None:
    bound = read({"name": "it", **values})
    text = canonical("it", every_type, bound)
    again = read(text)
    defaults = {name: option.default for name, option in options_of(every_type).items()}
    # Only defaults are left out; sequences are equal by what they hold.
    for name, default in defaults.items():
        assert _plain(again.get(name, default)) == _plain(bound.get(name, default))
    assert canonical("it", every_type, again) == text
    assert parse_spec(text).name == "it"


def _plain(value: Any) -> Any:
    return (bool, value) if isinstance(value, bool) else list(value) if isinstance(value, list | tuple) else value


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_a_spec_or_a_clean_mistake(name: str, rest: str) -> None:
    for text in (name + rest, f"{name}:{rest}", f"it:text={rest}"):
        try:
            read(text)
        except SpecError as error:
            assert "\n" not in repr(str(error))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("bm25", Spec("bm25", {})),
        ("  bm25  ", Spec("bm25", {})),
        ("dist/bm25", Spec("dist/bm25", {})),
        ("bm25:k1=1.2", Spec("bm25", {"k1": "1.2"})),
        ("bm25 : k1 = 1.2 , b = 0.5 ", Spec("bm25", {"k1": "1.2", "b": "0.5"})),
        ("hybrid:bm25+dense", Spec("hybrid", {"": "bm25+dense"})),
        ("hybrid:bm25+dense,depth=5", Spec("hybrid", {"": "bm25+dense", "depth": "5"})),
        ("lm:model=org/name:7b", Spec("lm", {"model": "org/name:7b"})),
        ("lm:model=a=b", Spec("lm", {"model": "a=b"})),
        ('lm:stop="a,b",n=1', Spec("lm", {"stop": "a,b", "n": "1"})),
        ("lm:stop='a,b'", Spec("lm", {"stop": "a,b"})),
        ('lm:stop="it\'s"', Spec("lm", {"stop": "it's"})),
        ('lm:stop="say ""yes"", please"', Spec("lm", {"stop": 'say "yes", please'})),
        ("lm:stop='it''s'", Spec("lm", {"stop": "it's"})),
        ('lm:stop=" padded "', Spec("lm", {"stop": " padded "})),
        ("lm:stop=,n=1", Spec("lm", {"stop": "", "n": "1"})),
        ('lm:stop=""', Spec("lm", {"stop": ""})),
        ({"name": "bm25"}, Spec("bm25", {})),
        ({"k1": 1.2, "name": "bm25"}, Spec("bm25", {"k1": 1.2})),
        ({"name": "bm25", True: 1}, Spec("bm25", {"True": 1})),
    ],
)
def test_what_can_be_written(spec: Any, expected: Spec) -> None:
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "'' is not a component spec (write NAME or NAME:key=value,key=value)"),
        (":k1=1", "':k1=1' is not a component"),
        ("bm25:", "'bm25:' is not a component"),
        ("bm25:k1=1,k1=2", "'bm25:k1=1,k1=2': 'k1' is given twice or lacks a key"),
        ("bm25:k1=1,2", "'bm25:k1=1,2': '2' is given twice or lacks a key"),
        ("bm25:1,2", "'bm25:1,2': '2' is given twice or lacks a key"),
        ('bm25:k1="1', 'cannot read \'k1="1\' (quote a value that holds commas or quotes: key="a,b")'),
        ("bm25:text=it's", 'cannot read "text=it\'s" (quote a value that holds commas or quotes'),
        ('bm25:text="a" b', "cannot read"),
        ({}, "a component needs a name: {} (write {name: bm25, k1: 1.2})"),
        ({"k1": 1.2}, "a component needs a name: {'k1': 1.2}"),
        ({"name": 3}, "a component needs a name"),
        ({"name": ""}, "a component needs a name"),
    ],
)
def test_what_cannot(spec: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("it:2", {"number": 2.0}),
        ("it:2,count=4", {"number": 2.0, "count": 4}),
        ("it:flag=true", {"flag": True}),
        ("it:flag=No", {"flag": False}),
        ("it:flag=1", {"flag": True}),
        ("it:text=none", {"text": "none"}),
        ("it:maybe=none", {"maybe": None}),
        ("it:maybe=NULL", {"maybe": None}),
        ("it:path=a/b", {"path": Path("a/b")}),
        ("it:ties=numpy", {"ties": "numpy"}),
        ("it:level=2", {"level": 2}),
        ("it:level=[1]", {"level": "[1]"}),
        ("it:level=true", {"level": True}),
        ("it:level=none", {"level": None}),
        ("it:names=a", {"names": ["a"]}),
        ("it:names=a + b", {"names": ["a", "b"]}),
        ("it:names=[1]+[2]", {"names": ["[1]", "[2]"]}),
        ("it:names=[1]", {"names": ["[1]"]}),
        ("it:names='[\"a+b\", \"c\"]'", {"names": ["a+b", "c"]}),
        ("it:names=[]", {"names": []}),
        ("it:names=none", {"names": None}),
        ("it:sizes=1+2", {"sizes": (1, 2)}),
        ("it:shares=0.5+1e-3", {"shares": [0.5, 0.001]}),
        ("it:flags=true+no", {"flags": [True, False]}),
        ("it:size=small", {"size": Size.SMALL}),
        ("it:table='{\"a\": [1, null]}'", {"table": {"a": [1, None]}}),
        ("it:untyped=3", {"untyped": "3"}),
        ("it:untyped=none", {"untyped": None}),
        ({"name": "it", "number": 2, "names": ["a", "b"]}, {"number": 2.0, "names": ["a", "b"]}),
        ({"name": "it", "untyped": 3}, {"untyped": "3"}),
        ({"name": "it", "path": "x", "flag": True, "maybe": None}, {"path": Path("x"), "flag": True, "maybe": None}),
        ({"name": "it", "names": "a+b"}, {"names": ["a", "b"]}),
    ],
)  # fmt: skip
def test_options_have_their_types(spec: Any, expected: dict[str, Any]) -> None:
    bound = read(spec)
    assert {name: list(v) if name == "shares" else v for name, v in bound.items()} == expected
    assert {name: type(value) for name, value in bound.items() if name != "shares"} == {
        name: type(value) for name, value in expected.items() if name != "shares"
    }


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("it:numbr=2", "retriever 'it' has no option 'numbr' (did you mean number?)"),
        ("it:zzz=2", "retriever 'it' has no option 'zzz' (known: number, count, flag, text,"),
        ({"name": "it", "k": 1}, "retriever 'it' has no option 'k' (known: number,"),
        ({"name": "it", 3: 1}, "retriever 'it' has no option '3' (known: number,"),
        ("it:2,number=3", "retriever 'it': option 'number' is given twice"),
        ("it:number=many", "retriever 'it': number='many': Input should be a valid number"),
        ("it:count=1.5", "retriever 'it': count='1.5': Input should be a valid integer"),
        ("it:flag=perhaps", "retriever 'it': flag='perhaps': Input should be a valid boolean"),
        ("it:number=none", "retriever 'it': number='none': Input should be a valid number"),
        ("it:ties=random", "retriever 'it': ties='random': Input should be 'profile' or 'numpy'"),
        ("it:sizes=1+b", "retriever 'it': sizes='1+b': Input should be a valid integer"),
        ({"name": "it", "text": 3}, "retriever 'it': text=3: Input should be a valid string"),
        ({"name": "it", "names": [1]}, "retriever 'it': names=[1]: Input should be a valid string"),
        ("it:context=3", "retriever 'it' has no option 'context'"),
    ],
)
def test_mistakes_in_options(spec: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(spec)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_needed_option_and_one_too_many() -> None:
    def needs(model: str) -> None: ...

    def bare() -> None: ...

    with pytest.raises(SpecError, match=r"'it' needs the option 'model' \(write it:model=\.\.\.\)"):
        read("it", needs)
    with pytest.raises(SpecError, match=r"'it' has no option '3' \(it has no options\)"):
        read("it:3", bare)
    with pytest.raises(SpecError, match=r"'it' has no option 'x' \(it has no options\)"):
        read("it:x=3", bare)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "it"),
        ({"number": 1.5, "ties": "profile", "maybe": None, "sizes": ()}, "it"),
        ({"flag": True, "number": 2.0}, "it:number=2.0,flag=true"),
        ({"names": ["a", "b"]}, "it:names=a+b"),
        ({"names": []}, "it:names=[]"),
        ({"names": ["a+b"]}, "it:names='[\"a+b\"]'"),
        ({"names": ["[1]"]}, "it:names='[\"[1]\"]'"),
        ({"text": "a,b"}, 'it:text="a,b"'),
        ({"text": "it's"}, 'it:text="it\'s"'),
        ({"text": 'a"b'}, "it:text='a\"b'"),
        ({"text": "a\"b'c"}, 'it:text="a""b\'c"'),
        ({"text": ""}, "it:text="),
        ({"size": Size.LARGE}, 'it:size="large, really"'),
        ({"shares": [1e20]}, "it:shares=[1e+20]"),
        ({"level": None}, "it:level=none"),
    ],
)
def test_the_canonical_text(options: dict[str, Any], text: str) -> None:
    assert canonical("it", every_type, options) == text


def test_options_come_from_the_signature() -> None:
    class Base:
        def __init__(self, ties: Ties = "a", depth=2, *rest: int, **more: int) -> None:  # type: ignore[no-untyped-def]
            """Annotated by a name of this module."""

    class Child(Base):
        pass

    Child.__module__ = "json"  # as if it were defined where `Ties` is not known
    for factory in (Base, Child, partial(Base), partial(Base, "b")):
        options = options_of(factory)
        assert "rest" not in options and "more" not in options
        assert options["depth"].type is int
        assert read("it:depth=5", factory) == {"depth": 5}
    assert options_of(Child)["ties"].type == Ties
    with pytest.raises(SpecError, match="Input should be 'a' or 'b'"):
        read("it:ties=c", Child)


Ties = Literal["a", "b"]


def test_an_annotation_that_cannot_be_read_leaves_text() -> None:
    def factory(size: "Nowhere" = None, other: "1 +" = None) -> None: ...  # type: ignore # noqa: F722, F821, UP037

    assert read("it:size=3,other=4", factory) == {"size": "3", "other": "4"}


def test_a_type_that_pydantic_does_not_know_is_passed_on() -> None:
    class Odd:
        pass

    def factory(odd: Any = None) -> None: ...

    factory.__annotations__["odd"] = Odd
    factory.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("odd", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Odd)]
    )
    assert read("it:odd=3", factory) == {"odd": "3"}


def open_ended(context: object, size: int = 3, **more: str) -> None:
    """A factory that takes options which it does not name."""


def test_further_options_are_text_and_stand_last_in_order() -> None:
    found = bind("generator", open_ended, parse_spec('open:zeta=1,alpha="a,b",size=4'))
    assert found == {"zeta": "1", "alpha": "a,b", "size": 4}
    text = canonical("open", open_ended, found)
    assert text == 'open:size=4,alpha="a,b",zeta=1'
    assert bind("generator", open_ended, parse_spec(text)) == found
    assert bind("generator", open_ended, parse_spec({"name": "open", "zeta": 1, "on": True})) == {
        "zeta": "1",
        "on": "true",
    }
    assert "zeta" not in options_of(open_ended)


@pytest.mark.parametrize("spec", ["open:sizes=4", "open:context=x", {"name": "open", "a b": 1}])
def test_what_is_no_further_option(spec: Any) -> None:
    with pytest.raises(SpecError, match="has no option"):
        bind("generator", open_ended, parse_spec(spec))


def test_only_a_factory_that_says_text_takes_further_options() -> None:
    def wrapped(*arguments: Any, **options: Any) -> None: ...

    with pytest.raises(SpecError, match="has no option 'zeta'"):
        bind("generator", wrapped, parse_spec("wrapped:zeta=1"))


def test_an_option_that_leaves_the_results_the_same_is_bound_and_not_named() -> None:
    def fast(size: int = 3, threads: Annotated[int, SameResults] = 1) -> None: ...

    found = bind("retriever", fast, parse_spec("fast:size=4,threads=2"))
    assert found == {"size": 4, "threads": 2}
    assert canonical("fast", fast, found) == "fast:size=4"
