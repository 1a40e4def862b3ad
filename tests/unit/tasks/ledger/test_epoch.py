"""What a process has seen of the ledger."""

from tasks.ledger.epoch import Epoch


def test_a_step_and_its_count_move_together() -> None:
    """A conflict tells the count alone; beside the step of long ago it would look as if data were lost."""
    epoch = Epoch()
    epoch.observe("ledger", 10, 0, "step-10")

    epoch.observe("ledger", 20_000, 0)

    assert (epoch.count, epoch.step) == (10, "step-10")
    epoch.observe("ledger", 20_001, 0, "step-20001")
    assert (epoch.count, epoch.step) == (20_001, "step-20001")


def test_a_count_is_kept_until_a_step_is_known() -> None:
    epoch = Epoch()
    epoch.observe("ledger", 10, 0)
    epoch.observe("ledger", 12, 0)

    assert (epoch.count, epoch.step) == (12, "")
    epoch.observe("ledger", 12, 0, "step-12")
    assert (epoch.count, epoch.step) == (12, "step-12")
