"""How long before its occurrence a schedule makes its request."""

from typing import Any

import pytest

from config.policy.model import Schedule
from tasks.schedules.lead_time import MAX_ADAPTIVE_S, lead_time_s, rounds


def schedule(**more: Any) -> Schedule:
    given = {
        "name": "s",
        "cron": "0 19 * * *",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_count": 64,
        "ready_by": True,
        "lead_time_s": 900,
    }
    return Schedule.model_validate({**given, **more})


@pytest.mark.parametrize(
    ("nodes", "expected"), [(1, 1), (99, 1), (100, 2), (198, 2), (250, 3), (10_000, 102)]
)
def test_a_request_takes_a_round_for_each_ninety_nine_nodes(nodes: int, expected: int) -> None:
    assert rounds(schedule(node_count=nodes)) == expected


@pytest.mark.parametrize(
    ("more", "p90_ms", "expected"),
    [
        ({"ready_by": False, "lead_time_s": None}, 5_000_000, 0),
        ({"lead_time": "fixed"}, 5_000_000, 900),
        ({}, None, 900),
        ({}, 600_000, 900),
        ({}, 1_200_000, 1200),
        ({}, 1_200_001, 1201),
        ({"node_count": 250}, 1_200_000, 3600),
        ({"node_count": 250}, 200_000, 900),
        ({}, 86_400_000, MAX_ADAPTIVE_S),
        ({"lead_time_s": 30_000}, 86_400_000, 30_000),
    ],
)
def test_the_lead_time_is_the_floor_or_the_percentile_of_all_rounds(
    more: dict[str, Any], p90_ms: int | None, expected: int
) -> None:
    assert lead_time_s(schedule(**more), p90_ms) == expected
