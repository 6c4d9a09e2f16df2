"""What a text is made of."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from pgqueue import Fail, JobContext, job

TOP_MAX = 100
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class TextStatistics:
    """What is counted; the job's result. *common*: the most frequent words first."""

    characters: int
    lines: int
    words: int
    distinct_words: int
    sentences: int
    words_per_sentence: float
    longest_word: str
    common: list[tuple[str, int]]


def statistics_of(text: str, top: int) -> TextStatistics:
    """Count. Words are letters and digits, in lower case; the end of the text ends a sentence."""
    words = [found.casefold() for found in _WORD.findall(text)]
    counted = Counter(words)
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    rest = text[ends[-1] if ends else 0 :]
    sentences = len(ends) + (1 if _WORD.search(rest) else 0)
    common = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return TextStatistics(
        characters=len(text),
        lines=len(text.splitlines()),
        words=len(words),
        distinct_words=len(counted),
        sentences=sentences,
        words_per_sentence=round(len(words) / sentences, 2) if sentences else 0.0,
        longest_word=min(words, key=lambda word: (-len(word), word), default=""),
        common=common[:top],
    )


@job("text_statistics", retries=2, timeout=30)
def text_statistics(ctx: JobContext, text: str, top: int = 10) -> TextStatistics:
    """Count characters, words and sentences."""
    if not 1 <= top <= TOP_MAX:
        raise Fail(f"top is {top}, not 1 to {TOP_MAX}", code="bad_top")
    found = statistics_of(text, top)
    if not found.words:
        raise Fail("there is no word in this text", code="no_words")
    ctx.metrics.processed(found.words)
    return found
