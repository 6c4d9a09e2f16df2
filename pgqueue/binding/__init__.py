"""
From a payload to a handler's arguments, converted by annotation.

Compiled once per handler, when it is declared: what cannot be bound is refused there. At run time
a payload that does not fit raises PayloadMismatch, which lists up to ten problems by their path.
The rules, each proved by a test in tests/unit/test_binding*.py:

- A payload key goes to the parameter of that name; else to the one that equals it without case and
  underscores (`OrderId`, `orderId` and `order_id`). Two keys for one parameter are refused.
- A key without a parameter is refused, unless the handler takes `**kwargs`.
- Strict where JSON is: "12" is not an int, true is not an int, null is only None. 1.0 is an int.
- A single parameter named `payload` annotated as an object takes the whole payload.
- Whatever pydantic or msgspec define is left to pydantic and msgspec.
"""

from __future__ import annotations

from pgqueue.binding.binder import Binder, compile_binder

__all__ = ["Binder", "compile_binder"]
