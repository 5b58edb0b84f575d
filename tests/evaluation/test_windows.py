"""Words, and windows that contain each of them once."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from detour.evaluation.windows import cut, first_tokens, word_places

TEXT = st.text(st.sampled_from("ab é.!\n1'"), max_size=80)


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in word_places(text)]


def test_words_end_between_letters_digits_and_other_characters() -> None:
    assert words_of("L'aspirine 5mg, à jeun.") == ["L", "'", "aspirine", "5", "mg", ",", "à", "jeun", "."]
    assert words_of(unicodedata.normalize("NFD", "fièvre")) == [unicodedata.normalize("NFD", "fièvre")]
    assert words_of(" \n") == []


@given(TEXT, st.integers(1, 12))
def test_windows_hold_every_word_once_and_at_most_their_capacity(text: str, capacity: int) -> None:
    words = word_places(text)
    tokens = [(place, place + 1) for place in range(len(text))]  # a token a character
    firsts = first_tokens(words, tokens)
    ranges = cut(text, words, firsts, len(tokens), capacity)
    assert [word for start, end in ranges for word in range(start, end)] == list(range(len(words)))
    ends = [*firsts[1:], len(tokens)]
    for start, end in ranges:
        assert end - start == 1 or ends[end - 1] - firsts[start] <= capacity


def test_a_window_ends_at_a_line_or_else_a_sentence_or_else_a_word() -> None:
    def first_window(text: str, capacity: int) -> str:
        words = word_places(text)
        start, end = cut(text, words, list(range(len(words))), len(words), capacity)[0]
        return text[words[start][0] : words[end - 1][1]]

    assert first_window("a b c d. e f\ng h", 7) == "a b c d. e f"
    assert first_window("a\nb c d. e f g h", 6) == "a\nb c d."
    assert first_window("a b c d. e f g h", 7) == "a b c d."
    assert first_window("a b c d e f g h", 5) == "a b c d e"


def test_the_token_of_a_word_is_the_first_that_shares_a_character_with_it() -> None:
    assert first_tokens([(0, 1), (1, 3), (4, 6)], [(0, 2), (2, 3), (3, 5), (5, 6)]) == [0, 0, 2]
    assert first_tokens([(0, 1), (2, 3)], [(0, 1)]) == [0, 0]
