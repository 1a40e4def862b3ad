"""Every row of a listing is read, whatever the provider makes of pages and counts."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.ehpc.paging import PageCursor


def read(place: PageCursor, rows: int, page: int, *, surplus: int, at_once: int) -> tuple[set[int], int]:
    """The rows that are seen until the listing has come to its end, and in how many pages."""
    seen: set[int] = set()
    pages = 0
    while place.pages_left:
        number = min(place.pages_for(max(1, rows - len(seen))), at_once)
        offsets = place.offsets(number, rows - len(seen))
        for offset in offsets:
            seen.update(range(offset, min(rows, offset + page)))
        pages += number
        place.advance(offsets, max(0, min(rows - offsets[0], page)), rows + surplus)
        assert pages <= 4 * rows + 10, "it comes to no end"
    return seen, pages


@given(
    rows=st.integers(0, 400),
    page=st.integers(1, 120),
    remembered=st.integers(1, 120),
    expected=st.integers(0, 500),
    surplus=st.integers(0, 3),
    at_once=st.integers(1, 8),
)
def test_all_rows_are_read_however_many_a_page_has(
    rows: int, page: int, remembered: int, expected: int, surplus: int, at_once: int
) -> None:
    place = PageCursor(remembered, expected, remembered)

    seen, _ = read(place, rows, page, surplus=surplus, at_once=at_once)

    assert seen == set(range(rows))


@given(rows=st.integers(0, 400), counts=st.sampled_from(["page", "nothing"]))
def test_all_rows_are_read_where_the_count_is_that_of_the_page(rows: int, counts: str) -> None:
    place = PageCursor(100, 0, 100)
    seen: set[int] = set()
    while place.pages_left:
        offset = place.offset
        shown = range(offset, min(rows, offset + 100))
        seen.update(shown)
        place.advance([offset], len(shown), len(shown) if counts == "page" else None)

    assert seen == set(range(rows))


@given(rows=st.integers(1, 400), page=st.integers(10, 120), begins=st.integers(0, 450))
def test_a_resumed_listing_is_read_from_there_to_its_end(rows: int, page: int, begins: int) -> None:
    place = PageCursor(page, rows, page, offset=begins)

    seen, pages = read(place, rows, page, surplus=0, at_once=8)

    assert seen == set(range(begins, rows))
    # Behind a full page there may be another, so that a listing that ends with one takes a page more.
    assert pages <= max(1, (rows - begins) // page + 1)


@given(rows=st.integers(1, 400), page=st.integers(1, 100), surplus=st.integers(0, 3))
def test_a_size_is_remembered_only_as_far_as_it_was_seen(rows: int, page: int, surplus: int) -> None:
    place = PageCursor(100, 0, 100)

    read(place, rows, page, surplus=surplus, at_once=8)

    assert place.known_size in ({page} if rows > page else {100})
