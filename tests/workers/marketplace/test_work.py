"""What workers/marketplace computes: texts, primes, amounts, pages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from workers.marketplace.documents import amount_of, page
from workers.marketplace.figures import primes_between, primes_up_to
from workers.marketplace.texts import statistics_of


def naive(start: int, end: int) -> list[int]:
    """Primes by trial division."""
    return [n for n in range(max(start, 2), end) if all(n % d for d in range(2, int(n**0.5) + 1))]


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 3), (2, 3), (0, 100), (24, 29), (49, 50), (262_100, 262_200)]
)
def test_the_sieve_finds_what_division_finds(start: int, end: int) -> None:
    """At the borders, too."""
    found = [prime for piece in primes_between(start, end) for prime in piece]

    assert found == naive(start, end)


def test_pieces_of_the_sieve_join_without_gap_or_overlap() -> None:
    """The number of primes below a million is known: 78,498, in four pieces."""
    pieces = list(primes_between(0, 1_000_000))
    found = [prime for piece in pieces for prime in piece]

    assert (len(pieces), len(found), found[-1]) == (4, 78_498, 999_983)
    assert found == primes_up_to(999_999)


def test_primes_are_found_far_out() -> None:
    """The first one beyond 10^12 less 100 is known."""
    found = [prime for piece in primes_between(10**12 - 100, 10**12) for prime in piece]

    assert found == [999_999_999_937, 999_999_999_959, 999_999_999_961, 999_999_999_989]


def test_words_are_counted_without_case_and_sentences_by_their_stops() -> None:
    """An apostrophe and a hyphen join; a number's point ends nothing."""
    found = statistics_of("Don't go. GO!\nWell-known: 3.5 don't… go", 2)

    assert found.common == [("go", 3), ("don't", 2)]
    assert (found.words, found.distinct_words, found.lines, found.characters) == (8, 5, 2, 39)
    assert (found.sentences, found.longest_word) == (4, "well-known")


@pytest.mark.parametrize(
    ("cell", "amount"),
    [
        ("24.00", Decimal("24.00")),
        (7, Decimal(7)),
        (Decimal("-1.5"), Decimal("-1.5")),
        ("many", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e400", None),
        ("1e-400", None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_an_amount_is_exact_or_none(cell: object, amount: Decimal | None) -> None:
    """What is too long for a page is none."""
    assert amount_of(cell) == amount


def test_what_customers_sent_cannot_become_markup() -> None:
    """Titles and names are escaped; the total is exact."""
    html = page("<b>", [("<script>", Decimal("0.1")), ("&", Decimal("0.2"))])

    assert "<script>" not in html
    assert "<td>&lt;script&gt;</td><td>0.1</td>" in html
    assert "<h1>&lt;b&gt;</h1>" in html
    assert "<th>0.3</th>" in html
