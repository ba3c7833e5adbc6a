"""Drafts as data: how pieces are cut, put together again and carried."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from workflow.drafts import PIECE_CHARS_MAX, Piece, Place, joined, packed, pieces_of, unpacked

PLACE = Place(node_id="ask", run_index=0, attempt=1, item_index=2)
NOTIFICATION_BYTES_MAX = 8_000


@given(st.lists(st.text(min_size=1), max_size=20))
def test_what_was_written_is_what_is_read_however_it_was_cut(texts):
    pieces, length = [], 0
    for text in texts:
        pieces += pieces_of(PLACE, length, text)
        length += len(text)

    told = joined(pieces)

    assert "".join(piece.text for piece in told) == "".join(texts)
    assert [piece.offset for piece in told] == [sum(len(p.text) for p in told[:at]) for at in range(len(told))]
    assert len(told) <= len(pieces)


@given(st.text(min_size=1, max_size=3 * PIECE_CHARS_MAX, alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_piece_fits_a_notification_and_comes_back(text):
    identity = uuid4()
    for number, piece in enumerate(pieces_of(PLACE, 0, text)):
        payload = packed(identity, number, piece)
        assert len(payload.encode()) < NOTIFICATION_BYTES_MAX
        assert unpacked(payload) == (identity, piece)


def test_pieces_of_different_drafts_and_gaps_stay_apart():
    other = Place(node_id="ask", run_index=0, attempt=1, item_index=3)
    pieces = [Piece(place=PLACE, offset=0, text="a"), Piece(place=other, offset=1, text="b")]
    assert joined(pieces) == pieces
    gap = [Piece(place=PLACE, offset=0, text="a"), Piece(place=PLACE, offset=2, text="c")]
    assert joined(gap) == gap


def test_taking_back_is_a_piece_of_its_own():
    void = Piece(place=PLACE, offset=0)
    pieces = [Piece(place=PLACE, offset=0, text="a"), void, Piece(place=PLACE, offset=0, text="b")]

    assert joined(pieces) == pieces
    assert void.takes_back
    assert "text" not in void.as_json()
    assert unpacked(packed(uuid4(), 1, void))[1] == void


def test_pieces_that_are_alike_are_told_apart():
    identity, piece = uuid4(), Piece(place=PLACE, offset=0)
    assert packed(identity, 1, piece) != packed(identity, 2, piece)
