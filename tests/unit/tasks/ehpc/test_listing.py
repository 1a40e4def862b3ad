"""What keeps a listing of several pages from being a proof."""

import pytest

from tasks.ehpc.actions import PAGE
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobRow, Page


def page(*names: str, total: int | None, unreadable: int = 0, skew_s: float | None = None) -> Page[JobRow]:
    rows = tuple(JobRow(job_id=name) for name in names)
    return Page(rows, unreadable, total, skew_s)


def listing(*pages: Page[JobRow], to_the_empty_page: bool = False) -> Listing[JobRow]:
    found = Listing[JobRow](to_the_empty_page=to_the_empty_page)
    for each in pages:
        assert not found.complete
        found.add(each)
    return found


def test_a_listing_of_all_that_is_counted_is_a_proof() -> None:
    found = listing(page("a", "b", total=3), page("c", total=3))

    assert (found.complete, found.flaws) == (True, [])


def test_a_listing_that_ends_early_is_none() -> None:
    found = listing(page("a", "b", total=3), page(total=3))

    assert found.complete
    assert found.flaws == ["it ended after 2 of 3 rows"]


def test_a_job_that_is_shown_twice_may_hide_another() -> None:
    found = listing(page("a", "b", total=4), page("b", "c", total=4))

    assert found.complete
    assert found.flaws == ["it shows a row twice, so that another may be missing"]


def test_a_row_that_cannot_be_read_proves_no_absence() -> None:
    assert listing(page("a", total=2, unreadable=1)).flaws == ["1 of its rows cannot be read"]


def test_more_rows_than_counted_are_a_contradiction_unless_pages_are_counted() -> None:
    assert listing(page("a", "b", total=1), page("c", total=1), page(total=1)).flaws == [
        "it has 3 rows and counts 1"
    ]
    of_pages = listing(page("a", "b", total=2), page("c", total=1), page(total=0), to_the_empty_page=True)
    assert of_pages.flaws == []


def test_a_full_page_is_not_the_last_one_whatever_is_counted() -> None:
    full = [f"j-{number}" for number in range(PAGE)]

    assert not listing(page(*full, total=PAGE)).complete


@pytest.mark.parametrize(("first", "second"), [(0.5, -7.0), (-7.0, None)])
def test_the_largest_skew_of_its_pages_counts(first: float, second: float | None) -> None:
    found = listing(page("a", total=2, skew_s=first), page("b", total=2, skew_s=second))

    assert found.skew_s == -7.0
