"""What each annotation takes and makes of it."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import enum
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgqueue import jsonio
from pgqueue.binding.annotations import CannotBind, Compiler
from pgqueue.binding.converters import Mismatch

UTC = dt.UTC
OrderId = NewType("OrderId", UUID)
ID = "0196d4d2-0000-7000-8000-000000000001"


class Colour(enum.Enum):
    """Values differ from names."""

    RED = "r"
    DARK_BLUE = "b"


class Level(enum.IntEnum):
    """Values are integers."""

    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    """Values combine."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Item:
    """Validates itself."""

    sku: str
    price: Decimal
    tags: tuple[str, ...] = ()
    total: Decimal = field(init=False, default=Decimal(0))

    def __post_init__(self) -> None:
        if self.price < 0:
            raise ValueError("price is below zero")


@dataclass
class Tree:
    """Holds itself."""

    name: str
    children: list[Tree] = field(default_factory=list)


class Filters(TypedDict):
    """One key may be absent."""

    since: dt.date
    limit: NotRequired[int]


class Point(NamedTuple):
    """One field has a default."""

    x: int
    y: int = 0


class Model(pydantic.BaseModel):
    """Left to pydantic."""

    amount: Decimal
    items: list[Level] = []


class Packed(msgspec.Struct):
    """Left to msgspec."""

    amount: Decimal
    rate: float = 0.0


def convert(annotation: Any, text: str) -> Any:
    """Compile, load the text and convert, as a worker does."""
    compiler = Compiler({})
    converter = compiler.converter(annotation)
    return converter.convert(jsonio.loads(text, exact=compiler.exact_numbers))


def refused(annotation: Any, text: str) -> str:
    """Return what is wrong with *text*."""
    with pytest.raises(Mismatch) as caught:
        convert(annotation, text)
    return "; ".join(f"{path} {what}".strip() for path, what in caught.value.problems)


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (Any, "[1]", [1]),
        (object, "null", None),
        (None, "null", None),
        (str, '"a"', "a"),
        (bool, "true", True),
        (int, "7", 7),
        (int, "1.0", 1),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (Decimal, "10.50", Decimal("10.50")),
        (Decimal, "3", Decimal(3)),
        (Decimal, '"0.1000"', Decimal("0.1000")),
        (Decimal, "1e-7", Decimal("1e-7")),
        (UUID, f'"{ID}"', UUID(ID)),
        (UUID, f'"{{{ID.upper()}}}"', UUID(ID)),
        (OrderId, f'"{ID}"', UUID(ID)),
        (Annotated[int, "positive"], "7", 7),
        (dt.date, '"2026-01-02"', dt.date(2026, 1, 2)),
        (dt.date, '"2026-01-02T00:00:00"', dt.date(2026, 1, 2)),
        (dt.time, '"03:04:05.1234567"', dt.time(3, 4, 5, 123456)),
        (dt.timedelta, "90.5", dt.timedelta(seconds=90.5)),
        (dt.timedelta, '"PT1H30M"', dt.timedelta(minutes=90)),
        (dt.timedelta, '"-P1DT0.5S"', -dt.timedelta(days=1, milliseconds=500)),
        (dt.timedelta, '"P2W"', dt.timedelta(weeks=2)),
        (dt.timedelta, '"01:02:03"', dt.timedelta(hours=1, minutes=2, seconds=3)),
        (dt.timedelta, '"-1.02:03:04.5000000"', -dt.timedelta(1, 4.5, 0, 0, 3, 2)),
        (bytes, '"AP8="', b"\x00\xff"),
        (Path, '"a/b"', Path("a/b")),
        (Colour, '"r"', Colour.RED),
        (Colour, '"DARK_BLUE"', Colour.DARK_BLUE),
        (Colour, '"DarkBlue"', Colour.DARK_BLUE),
        (Level, "2", Level.HIGH),
        (Level, '"high"', Level.HIGH),
        (Rights, "3", Rights.READ | Rights.WRITE),
        (Literal["a", 1], "1", 1),
        (Literal[Colour.RED], '"Red"', Colour.RED),
        (list[int], "[1, 2]", [1, 2]),
        (list, "[1, null]", [1, None]),
        (Sequence[UUID], f'["{ID}"]', [UUID(ID)]),
        (Iterable[str], '["a"]', ["a"]),
        (Collection[str], '["a"]', ["a"]),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (tuple[int, ...], "[1, 2, 3]", (1, 2, 3)),
        (tuple, "[1]", (1,)),
        (set[str], '["a", "a"]', {"a"}),
        (frozenset[int], "[1]", frozenset({1})),
        (AbstractSet[int], "[1]", frozenset({1})),
        (dict[str, Decimal], '{"a": 1.10}', {"a": Decimal("1.10")}),
        (Mapping[int, str], '{"1": "a"}', {1: "a"}),
        (dict[Colour, int], '{"Red": 1}', {Colour.RED: 1}),
        (dict[Literal["a"], int], '{"a": 1}', {"a": 1}),
        (dict, '{"a": null}', {"a": None}),
        (int | None, "null", None),
        (int | str, '"a"', "a"),
        (UUID | str, f'"{ID}"', UUID(ID)),
        (UUID | str, '"a"', "a"),
        (float | int, "1", 1),
        (Item | list[Item], '[{"Sku": "a", "Price": 1}]', [Item("a", Decimal(1))]),
        (Item, '{"sku": "a", "price": 1.10, "tags": ["x"]}', Item("a", Decimal("1.10"), ("x",))),
        (Tree, '{"Name": "a", "Children": [{"Name": "b"}]}', Tree("a", [Tree("b")])),
        (Filters, '{"Since": "2026-01-02"}', {"since": dt.date(2026, 1, 2)}),
        (Point, '{"X": 1}', Point(1)),
        (Point, "[1, 2]", Point(1, 2)),
        (
            Model,
            '{"amount": 10.50, "items": [1]}',
            Model(amount=Decimal("10.50"), items=[Level.LOW]),
        ),
        (list[Packed], '[{"amount": 10.50, "rate": 1.5}]', [Packed(Decimal("10.50"), 1.5)]),
    ],
)
def test_a_value_becomes_what_its_annotation_says(
    annotation: Any, text: str, expected: object
) -> None:
    """Value and type, and Decimals with their scale."""
    value = convert(annotation, text)

    assert value == expected
    assert type(value) is type(expected)
    assert str(value) == str(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1234567Z", dt.datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2026-01-02T03:04:05", dt.datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        ("2026-01-02 03:04:05+00", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            "2026-01-02T03:04:05.5+02:00",
            dt.datetime(2026, 1, 2, 3, 4, 5, 500_000, dt.timezone(dt.timedelta(hours=2))),
        ),
        ("0001-01-01T00:00:00", dt.datetime(1, 1, 1)),  # noqa: DTZ001 - .NET's default(DateTime)
    ],
)
def test_datetimes_of_dotnet_and_postgres_are_read(text: str, expected: dt.datetime) -> None:
    """The seventh digit is cut off; what has no offset stays naive."""
    value = convert(dt.datetime, json.dumps(text))

    assert (value, value.tzinfo is None) == (expected, expected.tzinfo is None)


@pytest.mark.parametrize(
    ("annotation", "text", "problem"),
    [
        (int, '"12"', "is a string, not an integer"),
        (int, "true", "is a boolean, not an integer"),
        (int, "1.5", "is a number, but not an integer"),
        (int, "1e300", "is a number, but not an integer"),
        (float, '"1"', "is a string, not a number"),
        (float, "false", "is a boolean, not a number"),
        (float, "1e999", "is a number, but not one that a float can hold"),
        (float, "9" * 400, "is a number, but not one that a float can hold"),
        (str, "1", "is a number, not a string"),
        (bool, "1", "is a number, not a boolean"),
        (None, "1", "is a number, not null"),
        (Decimal, '"NaN"', "is a string, but not a decimal number"),
        (Decimal, '"1_000"', "is a string, but not a decimal number"),
        (Decimal, "true", "is a boolean, not a decimal number"),
        (UUID, '"x"', "is a string, but not a UUID"),
        (UUID, "1", "is a number, not a UUID"),
        (dt.datetime, '"2026-01-02"', "is a string, but not a date and time in ISO 8601"),
        (dt.datetime, '"2026-02-30T00:00:00"', "is a string, but not a date and time in ISO 8601"),
        (dt.datetime, "1767322445", "is a number, not a date and time"),
        (dt.date, '"2026-01-02T03:04:05"', "is a string, but not a date in ISO 8601"),
        (dt.date, '"20260102"', "is a string, but not a date in ISO 8601"),
        (dt.time, '"25:00"', "is a string, but not a time of day in ISO 8601"),
        (bytes, '"AP8"', "is a string, but not base64"),
        (bytes, '"ä"', "is a string, but not base64"),
        (Colour, '"green"', "is a string, but not one of RED, DARK_BLUE"),
        (Level, "true", "is a boolean, but not one of LOW, HIGH"),
        (Level, "1.0", "is a number, but not one of LOW, HIGH"),
        (Rights, "4", "is a number, but not one of READ, WRITE"),
        (Literal[1], "true", "is a boolean, but not one of 1"),
        (list[int], "{}", "is an object, not an array"),
        (list[int], '[1, "a", null]', "[1] is a string, not an integer; [2] is null, not an int"),
        (tuple[int, int], "[1]", "has 1 items, not 2"),
        (set[list[int]], "[[1]]", "is an array, but not an array of single values"),
        (dict[int, int], '{"a": 1}', ".a is a string, but not an integer"),
        (dict[UUID, int], f'{{"{ID}": 1, "{ID.upper()}": 2}}', "has two keys that are the same"),
        (int | UUID, '"x"', "is a string, but not an integer or a UUID"),
        (int | list[int] | None, '["x"]', "[0] is a string, not an integer"),
        (Item, '{"sku": "a", "price": -1}', "is refused by Item: price is below zero"),
        (Item, "[]", "is an array, not an object (Item)"),
        (Item, '{"sku": "a", "price": 1, "total": 2}', ".total is unknown"),
        (Tree, '{"name": "a", "children": [{}]}', ".children[0].name is missing"),
        (Filters, '{"limit": 1}', ".since is missing"),
        (Point, "[1, 2, 3]", "has 3 items, not 2"),
        (Model, '{"amount": 1, "items": [1, 9]}', ".items[1] Input should be 1 or 2"),
        (Packed, '{"amount": "x"}', ".amount Invalid decimal string"),
        *[
            (dt.timedelta, text, "a duration (seconds, ISO 8601 or d.hh:mm:ss)")
            for text in ('"P"', '"PT"', '"P1Y"', '"1:99:00"', "1e300", "true", '"-"')
        ],
    ],
)
def test_a_value_that_does_not_fit_is_refused(annotation: Any, text: str, problem: str) -> None:
    """By its JSON type, or by what the text should have been."""
    assert problem in refused(annotation, text)


@pytest.mark.parametrize(
    "annotation", [complex, list[complex], dict[bytes, int], type, int | complex, enum, "x"]
)
def test_an_annotation_without_json_form_is_refused(annotation: Any) -> None:
    """When the handler is declared."""
    with pytest.raises(CannotBind):
        Compiler({}).converter(annotation)


def test_exact_numbers_are_asked_for_only_where_they_matter() -> None:
    """Loading literals costs time that a handler without Decimals need not spend."""
    wants = {}
    for annotation in (int, float, Any, dict[str, list[float]], Tree, Decimal, Item, list[Model]):
        compiler = Compiler({})
        compiler.converter(annotation)
        wants[annotation] = compiler.exact_numbers

    assert [kind for kind, exact in wants.items() if exact] == [Decimal, Item, list[Model]]


def round_trip(annotation: Any, value: object) -> Any:
    """Write *value* as a result and read it as a parameter."""
    return convert(annotation, jsonio.dumps(value))


AWARE = st.datetimes(timezones=st.just(dt.UTC))


@given(
    st.tuples(
        st.uuids(),
        st.datetimes(),
        AWARE,
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.binary(),
    )
)
def test_what_a_handler_returns_another_can_take(values: tuple[Any, ...]) -> None:
    """Results can be payloads: the binder reads what jsonio writes."""
    kinds = (UUID, dt.datetime, dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, bytes)
    back = [round_trip(kind, value) for kind, value in zip(kinds, values, strict=True)]

    assert tuple(back) == values
    assert str(back[6]) == str(values[6])


@given(
    st.builds(Tree, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
    | st.lists(st.builds(Tree, st.just("leaf"))).map(lambda leaves: Tree("root", leaves))
)
def test_nested_dataclasses_come_back(tree: Tree) -> None:
    """Dataclass to JSON to dataclass is the identity."""
    assert round_trip(Tree, tree) == tree


KINDS: list[Any] = [
    int,
    float,
    str,
    bool,
    Decimal,
    UUID,
    dt.datetime,
    dt.date,
    dt.time,
    dt.timedelta,
    bytes,
]
KINDS += [Colour, Level, Item, Tree, Point, Filters, Path]


@given(
    st.sampled_from(
        [
            *KINDS,
            *[list.__class_getitem__(kind) for kind in KINDS],
            *[kind | None for kind in KINDS],
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_no_payload_breaks_a_converter(annotation: Any, value: object) -> None:
    """It fits or it is a Mismatch; no other exception leaves a converter."""
    converter = Compiler({}).converter(annotation)

    with contextlib.suppress(Mismatch):
        converter.convert(value)


def test_base64_is_the_standard_alphabet() -> None:
    """As .NET's Convert.ToBase64String writes it."""
    data = bytes(range(256))

    assert convert(bytes, json.dumps(base64.b64encode(data).decode())) == data
