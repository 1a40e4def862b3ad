"""The policy file: every mistake at once, and what is in force when the file changes."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.policy.file import PolicyError, PolicyFile, load_policy
from config.policy.model import Allow, Limits, Policy, PolicyLimits, ProducerLimits, Schedule

EXAMPLE = """
[limits]
nodes_per_request = 500
nodes_in_flight_per_cluster = 300
nodes_per_cluster = 1000
nodes_per_hour = 2000
nodes_per_day = 5000
[limits.clusters."ehpc-8jqdq0mz"]
nodes_per_cluster = 200
[limits.producers."nightly-batch"]
nodes_per_day = 800
[allow]
clusters = ["ehpc-*"]
zones = ["jn1a", "jn1b"]
roles = ["compute"]
[[schedule]]
name = "evening-batch"
cron = "0 19 * * 1-5"
timezone = "Asia/Shanghai"
mode = "ensure"
ready_by = true
lead_time_s = 900
cluster_id = "ehpc-8jqdq0mz"
zone = "jn1a"
node_role = "compute"
node_count = 64
skip_dates = ["2026-12-25"]
catch_up_s = 1800
"""
MINIMAL = """
[[schedule]]
name = "{name}"
cron = "0 19 * * *"
cluster_id = "ehpc-a"
zone = "jn1a"
node_count = {count}
"""
EXAMPLE_FILE = Path(__file__).parents[4] / "config" / "policy" / "example.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def problems(path: Path, text: str | bytes) -> list[str]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable(), "one line"
    return caught.value.problems


def minimal(**changed: str) -> str:
    """A schedule with the given keys changed or added; values are TOML."""
    keys = {
        "name": '"s"',
        "cron": '"0 19 * * *"',
        "cluster_id": '"ehpc-a"',
        "zone": '"jn1a"',
        "node_count": "64",
        **changed,
    }
    return "[[schedule]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) + "\n"


# --- what a good file says ---------------------------------------------------------------------------------


def test_the_example_of_the_documentation_is_read_as_it_is_meant(path: Path) -> None:
    path.write_text(EXAMPLE)

    policy = load_policy(path)

    assert policy.limits == PolicyLimits(
        nodes_per_request=500,
        nodes_in_flight_per_cluster=300,
        nodes_per_cluster=1000,
        nodes_per_hour=2000,
        nodes_per_day=5000,
        clusters={"ehpc-8jqdq0mz": Limits(nodes_per_cluster=200)},
        producers={"nightly-batch": ProducerLimits(nodes_per_day=800)},
    )
    assert policy.allow == Allow(clusters=("ehpc-*",), zones=("jn1a", "jn1b"), roles=("compute",))
    (schedule,) = policy.schedules
    assert schedule == policy.schedule("evening-batch")
    assert (schedule.mode, schedule.ready_by, schedule.floor_s, schedule.catch_up_s) == (
        "ensure",
        True,
        900,
        1800,
    )
    assert schedule.skip_dates == (date(2026, 12, 25),)
    evening = islice(schedule.occurrences(datetime(2026, 12, 24, tzinfo=UTC)), 2)
    assert [at.isoformat() for at in evening] == ["2026-12-24T11:00:00+00:00", "2026-12-28T11:00:00+00:00"]
    assert schedule.request("an-id") == {
        "request_id": "an-id",
        "cluster_id": "ehpc-8jqdq0mz",
        "zone": "jn1a",
        "node_role": "compute",
        "node_count": 64,
        "requested_by": "schedule:evening-batch",
    }


def test_an_empty_file_and_no_file_limit_nothing(path: Path) -> None:
    path.write_text("")

    assert load_policy(path) == Policy() == PolicyFile(None)()


def test_the_file_in_the_repository_changes_nothing_as_it_stands() -> None:
    assert load_policy(EXAMPLE_FILE) == Policy()


def test_the_file_in_the_repository_is_right_without_its_comment_signs(path: Path) -> None:
    lines = EXAMPLE_FILE.read_text(encoding="utf-8").splitlines()
    bare = [re.sub(r"^# (?=[\[a-z_]+)", "", line) for line in lines if re.match(r"# (\[|[a-z_]+ = )", line)]
    path.write_text("\n".join(bare))

    policy = load_policy(path)

    assert policy.limits.nodes_per_day == 5000
    assert policy.limits.clusters["ehpc-8jqdq0mz"].nodes_per_cluster == 200
    assert policy.allow.roles == ("compute",)
    assert [schedule.name for schedule in policy.schedules] == ["evening-batch"]


def test_dates_and_times_may_be_toml_values_or_text(path: Path) -> None:
    path.write_text(
        minimal(not_before="2026-05-01", not_after='"2026-05-31T12:00:00+08:00"', skip_dates='["2026-05-02"]')
        + minimal(
            name='"t"',
            not_before='"2026-05-01"',
            not_after="2026-05-31T12:00:00+08:00",
            skip_dates="[2026-05-02]",
        )
    )

    one, other = load_policy(path).schedules

    assert one.model_copy(update={"name": "t"}) == other
    assert Schedule.model_validate_json(one.model_dump_json()) == one


def test_a_request_keeps_to_every_table_that_names_it() -> None:
    limits = PolicyLimits(
        clusters={"ehpc-a": Limits(nodes_per_hour=1)}, producers={"batch": ProducerLimits(nodes_per_day=2)}
    )

    assert [where for where, _ in limits.tables("ehpc-a", "batch")] == [
        "limits",
        'limits.clusters."ehpc-a"',
        'limits.producers."batch"',
    ]
    assert [where for where, _ in limits.tables("ehpc-b", None)] == ["limits"]


def test_what_is_allowed_goes_by_globs_that_mind_upper_and_lower_case() -> None:
    allow = Allow(clusters=("ehpc-[ab]*",), zones=("jn1?",))

    assert allow.refused(cluster_id="ehpc-a1", zone="jn1a", role="login") == []
    assert allow.refused(cluster_id="ehpc-c", zone="JN1a", role="login") == [
        ("allow.clusters", "ehpc-c", ("ehpc-[ab]*",)),
        ("allow.zones", "JN1a", ("jn1?",)),
    ]


# --- what is wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[limits]\na = [1,,2]", "is not TOML: Invalid value (at line 2, column 8)"),
        (b"[limits]\n# \xff", "line 2: is not UTF-8"),
        ("[limit]", "unknown key limit (did you mean limits?)"),
        ("limits = 3", "limits: must be a table, such as [limits]"),
        ("[schedule]", "schedule: must be written [[schedule]], once for each schedule"),
        ("schedule = [1]", "schedule #1: must be a table"),
        ("[limits]\nnodes_per_day = 0", "limits.nodes_per_day=0: must be at least 1"),
        ("[limits]\nnodes_per_day = -5", "limits.nodes_per_day=-5: must be at least 1"),
        ("[limits]\nnodes_per_day = true", "limits.nodes_per_day=True: must be a valid integer"),
        ("[limits]\nnodes_per_day = 1.5", "limits.nodes_per_day=1.5: must be a valid integer"),
        ("[limits]\nwait = 1", "limits.wait=1: must be a valid boolean"),
        (
            "[limits]\nnodes_per_hour = 9\nnodes_per_day = 8",
            "limits.nodes_per_day=8: is less than nodes_per_hour=9, which then has no effect: raise",
        ),
        (
            '[limits.clusters."ehpc-a"]\nnodes_per_hour = 9\nnodes_per_day = 8',
            'limits.clusters."ehpc-a".nodes_per_day=8: is less than',
        ),
        (
            '[limits.clusters."ehpc-a"]\nnodes_per_dya = 9',
            'unknown key limits.clusters."ehpc-a".nodes_per_dya (did you mean nodes_per_day?)',
        ),
        (
            "[limits.producers.batch]\nnodes_per_cluster = 9",
            "limits.producers.batch.nodes_per_cluster=9: cannot be limited by producer: use [limits]",
        ),
        ("[limits.producers]\nbatch = 5", "limits.producers.batch: must be a table"),
        ('[allow]\nzones = "jn1a"', "allow.zones='jn1a': must be a list"),
        ("[allow]\nroles = []", "allow.roles=[]: must not be empty"),
        ('[allow]\nroles = ["login", 5]', "allow.roles[1]=5: must be a valid string"),
        (minimal(name='"a b"'), "schedule.\"a b\".name='a b': must match ^[A-Za-z0-9._-]{1,64}$"),
        (minimal(cron='"0 0 30 2 *"'), "schedule.\"s\".cron='0 0 30 2 *': never fires"),
        (minimal(timezone='"Asia/Peking"'), "schedule.\"s\".timezone='Asia/Peking': is not a time zone"),
        (minimal(mode='"ensured"'), "schedule.\"s\".mode='ensured': must be 'add' or 'ensure'"),
        (minimal(skip_dates='["2026-02-30"]'), "schedule.\"s\".skip_dates[0]='2026-02-30': is not a date"),
        (minimal(skip_dates="[2026-02-20T10:00:00]"), 'schedule."s".skip_dates[0]=datetime.datetime'),
        (minimal(not_after='"soon"'), "schedule.\"s\".not_after='soon': is neither a date nor a time"),
        (minimal(catch_up_s="5"), 'schedule."s".catch_up_s=5: must be at least 60'),
        (minimal(count="5"), 'unknown key schedule."s".count (did you mean node_count?)'),
        (minimal(ready_by="true"), 'schedule."s".lead_time_s is missing'),
        (minimal(lead_time_s="5"), 'schedule."s".lead_time_s: has no effect without ready_by = true'),
        (minimal(lead_time='"fixed"'), 'schedule."s".lead_time_s: has no effect without ready_by = true'),
        (minimal(not_before="2026-05-02", not_after="2026-05-01"), 'schedule."s": never fires'),
        (
            minimal(not_before="2026-05-01", not_after="2026-05-01", skip_dates="[2026-05-01]"),
            'schedule."s": never fires',
        ),
        (minimal() + minimal(), "schedule: 2 have the name s: names must differ"),
        (minimal() + minimal(name='"S"'), "schedule: 2 have the name s or S: names must differ"),
        (
            "[limits]\nnodes_per_request = 63\n" + minimal(),
            'schedule."s".node_count=64: is over limits.nodes_per_request=63: each of its requests would be',
        ),
        (
            '[limits.clusters."ehpc-a"]\nnodes_per_cluster = 63\n' + minimal(mode='"ensure"'),
            'schedule."s".node_count=64: is over limits.clusters."ehpc-a".nodes_per_cluster=63',
        ),
        (
            '[limits.producers."schedule:s"]\nnodes_per_hour = 63\n' + minimal(),
            'schedule."s".node_count=64: is over limits.producers."schedule:s".nodes_per_hour=63',
        ),
        (
            '[allow]\nclusters = ["ehpc-b*"]\n' + minimal(),
            "schedule.\"s\".cluster_id='ehpc-a': is not in allow.clusters, which allows ehpc-b*",
        ),
        (
            '[allow]\nroles = ["compute"]\n' + minimal(cluster_id='"hpc-a"'),
            "schedule.\"s\".node_role='login': is not in allow.roles, which allows compute",
        ),
    ],
)
def test_each_mistake_has_its_place_and_the_remedy(path: Path, text: str | bytes, problem: str) -> None:
    (found,) = problems(path, text)

    assert found.startswith(problem)


def test_every_mistake_is_reported_at_once(path: Path) -> None:
    text = (
        "colour = 1\n[limits]\nnodes_per_day = 0\n[allow]\nzones = []\n"
        + minimal(cron='"x"', node_count='"5"')
        + minimal(name='"t"', timezone='"Mars"', ready_by="true")
        + minimal(name='"u"', ready_by="true")
        + minimal(name='"u"')
    )

    assert len(problems(path, text)) == 8


def test_a_schedule_without_its_keys_lacks_each_of_them(path: Path) -> None:
    missing = problems(path, "[[schedule]]")

    keys = ("name", "cron", "cluster_id", "zone", "node_count")
    assert missing == [f"schedule #1.{name} is missing" for name in keys]


def test_a_schedule_may_exceed_a_limit_that_waits(path: Path) -> None:
    path.write_text("[limits]\nnodes_per_hour = 63\nwait = true\n" + minimal(), encoding="utf-8")

    assert load_policy(path).schedules[0].node_count == 64


def test_a_clusters_limit_may_exceed_the_accounts(path: Path) -> None:
    path.write_text('[limits]\nnodes_per_day = 5\n[limits.clusters."ehpc-a"]\nnodes_per_day = 9')

    assert load_policy(path).limits.clusters["ehpc-a"].nodes_per_day == 9


def test_the_contract_checks_the_fields_of_scheduled_requests(
    path: Path,
) -> None:
    seen: list[Mapping[str, Any]] = []

    def contract(fields: Mapping[str, Any]) -> Sequence[str]:
        seen.append(fields)
        return [] if fields["zone"] == "jn1a" else [f"zone={fields['zone']!r}: is not a zone"]

    path.write_text(minimal() + minimal(name='"t"', zone="7", node_count='"5"', node_cuont="3"))
    with pytest.raises(PolicyError) as caught:
        load_policy(path, contract)

    assert caught.value.problems == [
        'unknown key schedule."t".node_cuont (did you mean node_count?)',
        'schedule."t".zone=7: is not a zone',
    ]
    assert seen[0] == {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 64}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy file .*nowhere\.toml: cannot be read: No such file"):
        load_policy(tmp_path / "nowhere.toml")
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        load_policy(tmp_path)


# --- when it changes ---------------------------------------------------------------------------------------


class Watch:
    """A clock in seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


def names_after(file: PolicyFile, watch: Watch, looks: int) -> list[str]:
    for _ in range(looks):
        watch.now += 1.0
        file()
    return [schedule.name for schedule in file().schedules]


def write(path: Path, text: str) -> None:
    """As an editor does that puts a new file in the place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_file_is_loaded_once_it_has_been_unchanged_a_second(path: Path, watch: Watch) -> None:
    write(path, minimal())
    with capture_logs() as logs:
        file = PolicyFile(path, now_s=watch)
        first = file.digest
        write(path, minimal(name='"t"'))
        assert names_after(file, watch, 0) == ["s"]
        assert names_after(file, watch, 1) == ["s"], "it may still be being written"
        assert names_after(file, watch, 1) == ["t"]
        assert names_after(file, watch, 5) == ["t"]

    assert [entry["event"] for entry in logs] == ["policy_loaded", "policy_loaded"]
    assert [entry["digest"] for entry in logs] == [first, file.digest]
    assert first != file.digest
    assert len(first) == 12


def test_a_file_written_in_pieces_is_never_in_force_in_part(path: Path, watch: Watch) -> None:
    path.write_text(EXAMPLE)
    file = PolicyFile(path, now_s=watch)
    # Emptied first: an empty file is a policy without any limit.
    path.write_text("")
    assert names_after(file, watch, 1) == ["evening-batch"]
    path.write_text("[limits]\n")
    assert names_after(file, watch, 1) == ["evening-batch"]
    path.write_text(EXAMPLE + minimal(name='"t"', cluster_id='"ehpc-t"', node_role='"compute"'))
    assert names_after(file, watch, 1) == ["evening-batch"]
    assert names_after(file, watch, 1) == ["evening-batch", "t"]


def test_a_broken_file_is_refused_once_and_the_last_good_one_stays(path: Path, watch: Watch) -> None:
    write(path, minimal())
    file = PolicyFile(path, now_s=watch)
    with capture_logs() as logs:
        write(path, "[[schedule]")
        assert names_after(file, watch, 10) == ["s"]
        path.unlink()
        assert names_after(file, watch, 10) == ["s"]
        write(path, minimal(name='"t"'))
        assert names_after(file, watch, 2) == ["t"]

    refused = [entry for entry in logs if entry["event"] == "policy_invalid"]
    assert [entry["log_level"] for entry in refused] == ["error", "error"]
    assert refused[0]["problems"][0].startswith("is not TOML: ")
    assert refused[1]["problems"] == ["cannot be read: No such file or directory"]


def test_the_file_is_looked_at_once_a_second_at_most(
    path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, minimal())
    file = PolicyFile(path, now_s=watch)
    looks: list[Path] = []
    real = Path.stat

    def stat(self: Path) -> os.stat_result:
        looks.append(self)
        return real(self)

    monkeypatch.setattr(Path, "stat", stat)
    for _ in range(50):
        watch.now += 0.1
        file()

    assert 4 <= len(looks) <= 5


def test_a_file_that_is_broken_from_the_start_is_no_policy(path: Path) -> None:
    path.write_text("[[schedule]")

    with pytest.raises(PolicyError):
        PolicyFile(path)
