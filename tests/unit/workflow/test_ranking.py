"""Ranks fused, and the same not said twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.ranking import RANK_CONSTANT, diverse, fused

RANKINGS = st.lists(st.lists(st.integers(0, 9), unique=True), max_size=3)


def test_what_both_find_comes_before_what_one_finds_first():
    assert list(fused([["a", "b"], ["c", "b"]])) == ["b", "a", "c"]
    assert fused([["a"]])["a"] == pytest.approx(1 / (RANK_CONSTANT + 1))
    assert list(fused([["a"], ["b"]], weights=[1, 2])) == ["b", "a"]


@given(RANKINGS)
def test_everything_is_there_once_best_first(rankings):
    scores = fused(rankings)

    assert set(scores) == {each for ranking in rankings for each in ranking}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@given(st.lists(st.integers(0, 9), unique=True))
def test_one_ranking_stays_as_it_is(ranking):
    assert list(fused([ranking])) == ranking


VECTORS = {"a": [1.0, 0.0], "a again": [0.99, 0.14], "b": [0.0, 1.0]}
SCORES = {"a": 1.0, "a again": 0.9, "b": 0.5}


def test_what_says_the_same_gives_way():
    assert diverse(SCORES, VECTORS, 2, 0.0) == ["a", "a again"]
    assert diverse(SCORES, VECTORS, 2, 0.7) == ["a", "b"]
    assert diverse(SCORES, VECTORS, 3, 0.7) == ["a", "b", "a again"]


def test_what_has_no_vector_is_like_nothing():
    assert diverse({"x": 1.0, "y": 1.0}, {}, 5, 1.0) == ["x", "y"]
    assert diverse({}, {}, 5, 0.5) == []
