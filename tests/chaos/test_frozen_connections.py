"""Messages that reach the broker while the workers' connections are frozen."""

from pathlib import Path

from tests.chaos.frozen_connections import measure


def test_no_message_is_lost_to_a_frozen_connection(tmp_path: Path) -> None:
    measured = measure(tmp_path, rounds=2)

    assert measured.lost == 0, measured
    assert measured.sent == 4
