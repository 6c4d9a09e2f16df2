"""Which keys go to which parameters, and what is refused where."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the binder reads annotations at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from pgqueue import ConfigurationError, JobContext, PayloadMismatch
from pgqueue.binding import Binder, compile_binder
from pgqueue.context import JobInfo
from pgqueue.follow_up import new_job_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from nowhere import Missing  # type: ignore[import-not-found]


@dataclass
class Item:
    """A nested object."""

    sku: str
    price: int = 0


class Options(TypedDict):
    """A whole payload."""

    limit: int


def binder(function: Callable[..., Any]) -> Binder:
    """Compile *function*."""
    return compile_binder(function, "test")


def problems(function: Callable[..., Any], payload: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with *payload*, by path."""
    with pytest.raises(PayloadMismatch) as caught:
        binder(function).bind(payload)
    return dict(caught.value.problems)


def test_keys_bind_to_parameters_by_name() -> None:
    """Defaults stay with the function: only what was given is passed."""

    def handler(order_id: int, note: str = "none") -> None: ...

    assert binder(handler).bind({"order_id": 1}) == {"order_id": 1}


@pytest.mark.parametrize("key", ["order_id", "OrderId", "orderId", "orderID", "ORDER_ID"])
def test_every_producers_spelling_reaches_the_parameter(key: str) -> None:
    """System.Text.Json writes PascalCase or camelCase, Python snake_case."""

    def handler(order_id: int) -> None: ...

    bound = binder(handler)

    assert [bound.bind({key: 1}), bound.bind({key: 2})] == [{"order_id": 1}, {"order_id": 2}]


def test_two_keys_for_one_parameter_are_refused() -> None:
    """Nobody can know which one was meant."""

    def handler(order_id: int) -> None: ...

    assert problems(handler, {"order_id": 1, "OrderId": 2}) == {
        "OrderId": "means the same as order_id"
    }


def test_parameters_that_differ_by_case_are_reached_exactly() -> None:
    """Any other spelling is unknown, not a guess."""

    def handler(orderid: int, order_id: int) -> None: ...

    assert binder(handler).bind({"orderid": 1, "order_id": 2}) == {"orderid": 1, "order_id": 2}
    assert "OrderId" in problems(handler, {"orderid": 1, "order_id": 2, "OrderId": 3})


def test_all_problems_are_reported_at_once() -> None:
    """By dotted path; a person mends a payload in one go."""

    def handler(customer: str, items: list[Item], limit: int) -> None: ...

    payload = {"customer": 7, "items": [{"sku": "a"}, {"Price": "x", "tax": 1}], "extra": None}

    assert problems(handler, payload) == {
        "limit": "is missing",
        "customer": "is a number, not a string",
        "items[1].sku": "is missing",
        "items[1].Price": "is a string, not an integer",
        "items[1].tax": "is unknown",
        "extra": "is unknown",
    }


def test_at_most_ten_problems_are_reported() -> None:
    """A million wrong rows do not make a message of a million lines."""

    def handler(rows: list[int]) -> None: ...

    assert len(problems(handler, {"rows": ["x"] * 1_000_000})) == 10


def test_the_message_names_fields_and_never_values() -> None:
    """It reaches logs and views, the payload must not."""

    def handler(iban: int) -> None: ...

    with pytest.raises(PayloadMismatch) as caught:
        binder(handler).bind({"iban": "DE12 3456"})

    assert str(caught.value) == (
        "payload does not fit job type test: iban is a string, not an integer"
    )
    assert caught.value.field == "iban"


def test_hostile_keys_cannot_break_the_message() -> None:
    """NUL and line feeds in keys are quoted, long keys cut."""

    def handler() -> None: ...

    fields = list(problems(handler, {"a\0\nb": 1, "x" * 10_000: 2}))

    assert "\0" not in fields[0]
    assert "\n" not in fields[0]
    assert len(fields[1]) <= 110


def test_kwargs_take_the_rest() -> None:
    """Converted by their annotation, under the keys as they came."""

    def handler(a: int, **rest: int) -> None: ...

    assert binder(handler).bind({"A": 1, "OtherKey": 2}) == {"a": 1, "OtherKey": 2}
    assert problems(handler, {"a": 1, "b": "x"}) == {"b": "is a string, not an integer"}


def test_the_context_is_no_part_of_the_payload() -> None:
    """By annotation or by the name ctx; a payload cannot fill it."""
    ctx = JobContext(JobInfo(id=new_job_id(), job_type="test", token=1))

    def annotated(job: JobContext, a: int) -> None: ...
    def optional(*, job: JobContext | None = None, a: int) -> None: ...
    def named(ctx, a: int) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
    def rest(ctx: JobContext, **others: Any) -> None: ...

    for function, name in ((annotated, "job"), (optional, "job"), (named, "ctx")):
        assert binder(function).arguments({"a": 1}, ctx) == {"a": 1, name: ctx}
    assert problems(annotated, {"a": 1, "job": 2}) == {"job": "is unknown"}
    assert problems(rest, {"ctx": 2}) == {"ctx": "has the name of another parameter"}


def test_a_single_parameter_named_payload_takes_everything() -> None:
    """As a dict, a mapping, a dataclass or a TypedDict."""

    def as_dict(ctx: JobContext, payload: dict[str, Any]) -> None: ...
    def as_mapping(payload: Mapping[str, object]) -> None: ...
    def as_class(payload: Item) -> None: ...
    def as_typed_dict(payload: Options) -> None: ...

    assert binder(as_dict).bind({"a": 1}) == {"payload": {"a": 1}}
    assert binder(as_mapping).bind({"a": 1}) == {"payload": {"a": 1}}
    assert binder(as_class).bind({"Sku": "a"}) == {"payload": Item("a")}
    assert binder(as_typed_dict).bind({"Limit": 1}) == {"payload": {"limit": 1}}
    assert problems(as_class, {}) == {"sku": "is missing"}


def test_a_parameter_named_payload_among_others_is_like_them() -> None:
    """So is one that holds no object."""

    def two(payload: dict[str, int], n: int) -> None: ...
    def text(payload: str) -> None: ...

    assert binder(two).bind({"payload": {"a": 1}, "n": 1}) == {"payload": {"a": 1}, "n": 1}
    assert binder(text).bind({"payload": "x"}) == {"payload": "x"}


def test_null_is_not_a_default() -> None:
    """A parameter that may be absent may not be null, unless it says so."""

    def handler(a: int = 1, b: int | None = 2) -> None: ...

    assert binder(handler).bind({"b": None}) == {"b": None}
    assert problems(handler, {"a": None}) == {"a": "is null, not an integer"}


def test_a_parameter_without_annotation_takes_anything() -> None:
    """It gets the JSON value as it is."""

    def handler(a) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    assert binder(handler).bind({"a": [{}]}) == {"a": [{}]}


def test_what_cannot_be_bound_is_refused_at_once() -> None:
    """The message names handler and parameter."""

    def positional(a: int, /) -> None: ...
    def variable(*a: int) -> None: ...
    def unknown(a: object, b: list[complex] | None) -> None: ...
    def keys(a: dict[float, int]) -> None: ...
    def contexts(a: JobContext, b: JobContext) -> None: ...
    def no_context(ctx: int) -> None: ...

    expected: dict[Callable[..., Any], str] = {
        positional: "parameter a takes no keyword",
        variable: "parameter a takes no keyword",
        unknown: "parameter b: complex has no JSON form",
        keys: "float cannot be the key of a mapping",
        contexts: "a and b are both the context",
        no_context: "parameter ctx is not annotated JobContext",
    }
    for function, message in expected.items():
        with pytest.raises(ConfigurationError, match=message):
            binder(function)


def test_a_return_annotation_for_type_checkers_does_no_harm() -> None:
    """Only parameters are read at run time."""

    def handler(a: int) -> Missing: ...

    assert binder(handler).bind({"a": 1}) == {"a": 1}


def test_names_of_type_checking_blocks_are_not_found() -> None:
    """NameError, which the registry turns into advice."""

    def handler(a: Missing) -> None: ...

    with pytest.raises(NameError, match="Missing"):
        binder(handler)


def test_endless_nesting_is_a_mismatch() -> None:
    """Not a RecursionError in the worker."""
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"child": deep}

    def handler(node: Node) -> None: ...

    assert problems(handler, {"node": deep}) == {"payload": "is nested too deeply"}


@dataclass
class Node:
    """Holds itself."""

    child: Node | None = None
