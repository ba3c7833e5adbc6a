"""Texts cut into passages: nothing lost, nothing too long, each where it says that it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.passages import GAP_CHARS_MAX, cut, joined, token_counter
from workflow.knowledge import Page, Passage

WORDS = st.lists(st.sampled_from(["loom", "warp", "weft.", "a", "\n\n", "Sentence!", "éß"]), min_size=1, max_size=120)


def by_words(text: str) -> int:
    return len(text.split())


@settings(max_examples=80, deadline=None)
@given(
    pages=st.lists(WORDS.map(" ".join), min_size=1, max_size=3), tokens=st.integers(2, 20), overlap=st.integers(0, 1)
)
def test_every_word_is_in_a_passage_and_each_stands_where_it_says(pages, tokens, overlap):
    found = cut([Page(n, text) for n, text in enumerate(pages, 1)], tokens=tokens, overlap=overlap, count=by_words)

    assert [each.index for each in found.passages] == list(range(len(found.passages)))
    for each in found.passages:
        assert found.text[each.start : each.end] == each.content
        assert each.tokens == by_words(each.content) <= tokens
    for number, text in enumerate(pages, 1):
        there = " ".join(each.content for each in found.passages if each.page == number).split()
        assert set(text.split()) == set(there)


def test_a_passage_never_reaches_over_the_end_of_a_page():
    found = cut([Page(1, "one two"), Page(2, "three four")], tokens=100, overlap=0, count=by_words)

    assert [(each.page, each.content) for each in found.passages] == [(1, "one two"), (2, "three four")]
    assert joined(found.passages).text == found.text == "one two\n\nthree four"


def test_pages_without_text_are_passed_over():
    found = cut([Page(1, " \n"), Page(2, "x")], tokens=5, overlap=0, count=by_words)

    assert [(each.page, each.index, found.text[each.start : each.end]) for each in found.passages] == [(2, 0, "x")]


def test_a_text_is_there_once_where_passages_overlap():
    text = " ".join(f"word{number}" for number in range(200))
    found = cut([Page(None, text)], tokens=20, overlap=6, count=by_words)

    assert len(found.passages) > 10
    assert found.passages[1].start < found.passages[0].end
    assert joined(found.passages).text.split() == text.split()


def passage(content: str, start: int) -> Passage:
    return Passage(index=0, content=content, start=start, end=start + len(content), tokens=1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["aa", "aaa", "ab", "b"]), st.integers(0, 9) | st.integers(0, 2**40))))
def test_whatever_places_passages_say_they_are_in_the_joined_text_where_they_say_then(said):
    found = joined([passage(*each) for each in said])

    assert [each.content for each in found.passages] == [content for content, _ in said]
    assert all(found.text[each.start : each.end] == each.content for each in found.passages)
    assert len(found.text) <= sum(len(content) + GAP_CHARS_MAX for content, _ in said)


@settings(max_examples=50, deadline=None)
@given(pages=st.lists(WORDS.map(" ".join), min_size=1, max_size=3), overlap=st.integers(0, 2))
def test_passages_as_they_were_cut_stay_at_their_places(pages, overlap):
    found = cut([Page(n, text) for n, text in enumerate(pages, 1)], tokens=5, overlap=overlap, count=by_words)

    assert joined(found.passages).passages == found.passages


def test_a_long_gap_is_closed_up_to_one_separator_and_what_follows_moves_up():
    far = 60_000_000
    found = joined([passage("late", far + 5), passage("one", 0), passage("two", far)])

    assert found.text == "one\n\ntwo\n\nlate"
    assert joined([passage("alone", far)]).text == "alone"


def test_a_passage_that_was_changed_after_it_had_been_cut_stands_behind_what_is_there():
    found = joined([passage("Looms: one", 0), passage("Looms: two", 4), passage("three", 100)])

    assert found.text.startswith("Looms: one\n\nLooms: two\n")
    assert found.passages[2].start == 100


def test_the_tokenizer_is_that_of_the_model_that_comes_with_it():
    assert token_counter()("Durable workflows, unbelievably") == 10
