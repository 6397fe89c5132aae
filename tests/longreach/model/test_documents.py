"""Where documents begin, and that what was read once is never taken for other positions."""

import torch

from longreach.model.documents import documents_of


def test_a_document_begins_wherever_a_position_does_not_follow_the_last() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 0, 5, 6, 7]])
    documents = documents_of(positions, 2)
    assert documents.lengths == [3, 2, 1, 1, 3]
    assert documents.cumulative.tolist() == [0, 3, 5, 6, 7, 10]
    assert documents.numbers.tolist() == [[0, 0, 0, 1, 1], [2, 3, 4, 4, 4]]
    assert not documents.one_each


def test_positions_of_one_row_stand_for_all() -> None:
    documents = documents_of(torch.arange(4)[None], 3)
    assert documents.lengths == [4, 4, 4]
    assert documents.one_each


def test_positions_are_read_once_and_again_when_they_changed() -> None:
    positions = torch.arange(6)[None].clone()
    first = documents_of(positions, 1)
    assert documents_of(positions, 1) is first
    positions[0, 3:] -= 3  # the same tensor, filled with the next batch
    assert documents_of(positions, 1).lengths == [3, 3]
    assert documents_of(positions, 2).lengths == [3, 3, 3, 3]
    assert documents_of(torch.arange(6)[None], 2).lengths == [6, 6]


def test_positions_without_a_version_are_read_each_time() -> None:
    with torch.inference_mode():
        positions = torch.arange(4)[None].clone()
        assert documents_of(positions, 1).lengths == [4]
        positions[0, 2:] -= 2
        assert documents_of(positions, 1).lengths == [2, 2]
