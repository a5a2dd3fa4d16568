"""Any series of messages, undone in reverse, gives the first image back."""

import pytest

from tests.uvm.history.reverse import there_and_back


@pytest.mark.parametrize("seed", [1, 2])
def test_random_messages_undone_in_reverse_give_the_first_image_back(past, seed):
    assert there_and_back(past, 500, seed)[0] >= 500
