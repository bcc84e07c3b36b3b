"""Working ahead: how far, on which threads, and what becomes of work that nobody wants any more."""

import threading

import pytest

from importstats.store.ahead import map_ahead


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_results_come_in_the_order_of_the_items(count, threads):
    assert list(map_ahead(lambda item: item * 2, range(count), threads)) == [
        item * 2 for item in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "threads", "is_here"), [(1, 2, True), (2, 1, True), (2, 2, False)]
)
def test_other_threads_work_only_on_several_items(count, threads, is_here):
    found = set(map_ahead(lambda _: threading.current_thread(), range(count), threads))
    assert (found == {threading.main_thread()}) == is_here


def test_one_item_more_than_there_are_threads_is_taken_ahead():
    taken = []

    def items():
        for item in range(9):
            taken.append(item)
            yield item

    results = map_ahead(abs, items(), 2)
    assert taken == []
    assert next(results) == 0
    assert taken == [0, 1, 2]
    assert next(results) == 1
    assert taken == [0, 1, 2, 3]
    assert list(results) == [2, 3, 4, 5, 6, 7, 8]
