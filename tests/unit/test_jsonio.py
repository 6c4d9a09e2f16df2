from __future__ import annotations

import datetime as dt
import enum
import json
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgqueue import jsonio
from pgqueue.errors import InvalidArgument, ResultNotSerializable, UndecodablePayload


class Colour(enum.Enum):
    """Its value is what is stored."""

    RED = "red"


@dataclass
class Line:
    """Its fields are what is stored."""

    sku: str
    price: Decimal


class Model(pydantic.BaseModel):
    """Left to pydantic."""

    at: dt.date


class Packed(msgspec.Struct):
    """Left to msgspec."""

    n: int


def test_a_number_keeps_its_literal_when_asked() -> None:
    """An ExactFloat is a float in every way but str()."""
    number = jsonio.load_payload('{"price": 10.50}', exact=True)["price"]

    assert (number, number + 1, str(number), json.dumps(number)) == (10.5, 11.5, "10.50", "10.5")
    assert pickle.loads(pickle.dumps(number)).literal == "10.50"  # noqa: S301 - our own bytes
    assert type(jsonio.load_payload('{"price": 10.50}')["price"]) is float


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"n": ' + "7" * 5_000 + "}", "more than 4300 digits"),
        ('{"n": NaN}', "NaN"),
        ("{", "not JSON"),
        ("[1]", "an array, not an object"),
        ("null", "null, not an object"),
    ],
)
def test_what_python_refuses_to_load_has_one_error(text: str, reason: str) -> None:
    """The message says why and does not quote the payload."""
    with pytest.raises(UndecodablePayload, match=reason) as caught:
        jsonio.load_payload(text)

    assert "777" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        ({"a": [1, 1.5, True, "ä"]}, '{"a":[1,1.5,true,"ä"]}'),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), '"2026-01-02T03:04:05+00:00"'),
        (dt.date(2026, 1, 2), '"2026-01-02"'),
        (dt.time(3, 4), '"03:04:00"'),
        (dt.timedelta(seconds=90, milliseconds=500), '"PT90.5S"'),
        (dt.timedelta(days=-1), '"-PT86400S"'),
        (Decimal("10.50"), '"10.50"'),
        (Colour.RED, '"red"'),
        (Line("a", Decimal(1)), '{"sku":"a","price":"1"}'),
        ({3, 1, 2}, "[1,2,3]"),
        (b"\x00\xff", '"AP8="'),
        (PurePosixPath("/tmp/x"), '"/tmp/x"'),  # noqa: S108 - no file
        (OrderedDict(a=(1, 2)), '{"a":[1,2]}'),
        ({UUID(int=1): 1, 2: 2, dt.date(2026, 1, 2): 3, Colour.RED: 4, True: 5}, None),
        (Model(at=dt.date(2026, 1, 2)), '{"at":"2026-01-02"}'),
        (Packed(n=1), '{"n":1}'),
    ],
)
def test_results_of_every_common_type_become_json(value: object, expected: str | None) -> None:
    """What a handler naturally returns can be stored."""
    text = jsonio.dumps(value)

    assert expected is None or text == expected
    assert json.loads(text) == jsonio.to_json_value(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": math.nan}]}, "result.a[1].b"),
        ([math.inf], "result[0]"),
        ({"text": "a\0b"}, "result.text"),
        ({"a\0b": 1}, "a key of result"),
        (["\ud800"], "result[0]"),
        ({"f": open}, "result.f"),
        ({"k": {(1, 2): 3}}, "result.k"),
        ({"d": Decimal("NaN")}, "result.d"),
        ({"n": 10**5_000}, "result.n"),
        ((n for n in range(3)), "result"),
        (Line, "result"),
    ],
)
def test_what_jsonb_cannot_hold_is_refused_by_its_path(value: object, path: str) -> None:
    """The path says where in the result to look."""
    with pytest.raises(ResultNotSerializable) as caught:
        jsonio.dumps(value)

    assert caught.value.path == path


def test_a_result_that_holds_itself_is_refused() -> None:
    """Neither a crash nor an endless loop."""
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(ResultNotSerializable, match="in itself"):
        jsonio.dumps(loop)


def test_a_backslash_is_not_a_nul() -> None:
    """Six characters that look like an escape are legal text."""
    text = "\\u0000"

    assert json.loads(jsonio.dumps({"t": text})) == {"t": text}


def test_a_result_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is the one of finished_result_size_check."""
    monkeypatch.setattr(jsonio, "RESULT_BYTES_MAX", 10)

    with pytest.raises(ResultNotSerializable, match="at most 10"):
        jsonio.dumps("ä" * 10)
    assert jsonio.dumps("ä" * 4)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (object(), "result.a is an object, which JSON cannot hold"),
        (Line, "result.a is a type, which JSON cannot hold"),
        ({(1, 2): 3}, "result.a has a key that is a tuple, not a string"),
        ({object(): 3}, "result.a has a key that is an object, not a string"),
    ],
)
def test_a_refusal_is_a_sentence(value: object, told: str) -> None:
    """The article fits the type's name."""
    with pytest.raises(ResultNotSerializable) as caught:
        jsonio.dumps({"a": value})

    assert str(caught.value) == told


def test_a_payload_to_enqueue_is_an_object() -> None:
    """The refusal is an InvalidArgument: the producer is to blame, not a handler."""
    with pytest.raises(InvalidArgument, match="must be an object"):
        jsonio.dump_payload([1])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"payload\.a"):
        jsonio.dump_payload({"a": math.nan})

    assert jsonio.dump_payload({"a": Decimal("1.0")}) == '{"a":"1.0"}'


@given(st.text())
def test_cleaned_text_can_be_stored(text: str) -> None:
    """No NUL, nothing that UTF-8 cannot encode, never longer than asked."""
    clean = jsonio.clean_text(text, 20)

    assert "\0" not in clean
    assert len(clean.encode().decode()) <= 20


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner
        )
    ),
)


@given(JSON)
def test_json_comes_back_as_it_was(value: object) -> None:
    """Encoding and decoding are inverse on JSON, by the fast way and by the slow one."""
    assert jsonio.loads(jsonio.dumps(value)) == value
    assert jsonio.to_json_value(value) == value


@given(st.timedeltas())
def test_durations_are_written_exactly(span: dt.timedelta) -> None:
    """To the microsecond, whatever the sign."""
    text = jsonio.format_duration(span)
    sign = -1 if text.startswith("-") else 1
    seconds = Decimal(text.removeprefix("-").removeprefix("PT").removesuffix("S"))

    assert int(sign * seconds * 10**6) == span // dt.timedelta(microseconds=1)
