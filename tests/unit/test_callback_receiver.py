"""verify(): what a receiver written in Python accepts, and what not."""

from __future__ import annotations

from typing import Any

import pytest

from pgqueue.callback import BadSignature, verify

# The example of the Standard Webhooks specification.
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_BODY = b'{"test": 2432232314}'
_NOW = 1614265330
_HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "Webhook-Timestamp": str(_NOW),
    "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def _verify(body: bytes = _BODY, now: float = _NOW, secrets: Any = _SECRET, **headers: str) -> Any:
    changed = {f"Webhook-{name.title()}": value for name, value in headers.items()}
    return verify(body, {**_HEADERS, **changed}, secrets, now=now)


def test_the_example_of_the_specification_is_accepted() -> None:
    """Id, timestamp, secret and signature as published."""
    assert _verify() == {"test": 2432232314}


def test_any_of_several_secrets_and_signatures_will_do() -> None:
    """While a secret is rotated there are two of each."""
    other = "whsec_" + "A" * 32

    assert _verify(secrets=[other, _SECRET])
    assert _verify(signature="v1,AAAA v2,x " + _HEADERS["Webhook-Signature"])
    assert _verify(secrets=iter([_SECRET]))


@pytest.mark.parametrize(
    "changed",
    [
        {"body": _BODY + b" "},
        {"id": "msg_other"},
        {"timestamp": str(_NOW + 1)},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"signature": "v1,ä"},
        {"secrets": []},
        {"secrets": "whsec_" + "A" * 32},
        {"now": _NOW + 301},
        {"now": _NOW - 301},
        {"timestamp": "now"},
        {"timestamp": "-1"},
        {"timestamp": "٣"},
        {"timestamp": "9" * 5000},
    ],
    ids=str,
)
def test_whatever_is_not_as_it_was_signed_is_refused(changed: dict[str, Any]) -> None:
    """Body, id, time, signature, secret; too old, in the future."""
    with pytest.raises(BadSignature):
        _verify(**changed)


@pytest.mark.parametrize("name", _HEADERS)
def test_a_missing_header_is_refused(name: str) -> None:
    """Each of the three."""
    headers = {key: value for key, value in _HEADERS.items() if key != name}

    with pytest.raises(BadSignature, match=name.lower()):
        verify(_BODY, headers, _SECRET, now=_NOW)
