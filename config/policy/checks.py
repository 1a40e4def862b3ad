"""PURE: contradictions within a policy, one sentence for each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from config.policy.cron import LONG_AGO
from config.policy.model import Limits, Policy, Schedule


def limit_problems(where: str, limits: Limits) -> list[str]:
    """Return limits that contradict each other."""
    hour, day = limits.nodes_per_hour, limits.nodes_per_day
    if hour is not None and day is not None and day < hour:
        problem = f"{where}.nodes_per_day={day}: is less than nodes_per_hour={hour}, which then has no effect"
        return [f"{problem}: raise the one or lower the other"]
    return []


def schedule_problems(schedule: Schedule) -> list[str]:
    """Return the keys of a schedule that contradict each other."""
    where = place(schedule.name)
    problems = []
    if schedule.ready_by and schedule.lead_time_s is None:
        problems.append(f"{where}.lead_time_s is missing: ready_by needs a lead time, at least as the floor")
    if not schedule.ready_by and (schedule.lead_time_s is not None or schedule.lead_time == "fixed"):
        problems.append(f"{where}.lead_time_s: has no effect without ready_by = true: add that, or remove it")
    if next(schedule.occurrences(LONG_AGO - timedelta(days=1)), None) is None:
        problems.append(
            f"{where}: never fires: cron={schedule.cron!r} has no occurrence between not_before and "
            "not_after that is not in skip_dates"
        )
    return problems


def duplicate_names(kind: str, names: Sequence[str]) -> list[str]:
    """Return names of schedules, or of another kind, that are used twice or differ in case alone."""
    counted = Counter(name.lower() for name in names)
    doubled = [name for name in names if counted[name.lower()] > 1]
    seen: dict[str, list[str]] = {}
    for name in doubled:
        seen.setdefault(name.lower(), []).append(name)
    return [
        f"{kind}: {len(spelt)} have the name {' or '.join(dict.fromkeys(spelt))}: names must differ"
        for spelt in seen.values()
    ]


# Over such a limit with `wait`, a request gets the nodes that fit, one part after the other.
BOUGHT_IN_PARTS = frozenset({"nodes_in_flight_per_cluster", "nodes_per_hour", "nodes_per_day"})


def unsatisfiable_schedules(policy: Policy) -> list[str]:
    """Return schedules whose every request the policy itself would reject."""
    return [problem for schedule in policy.schedules for problem in _refusals(policy, schedule)]


def _refusals(policy: Policy, schedule: Schedule) -> Iterable[str]:
    where = place(schedule.name)
    broken = policy.allow.refused(cluster_id=schedule.cluster_id, zone=schedule.zone, role=schedule.role)
    names = {"allow.clusters": "cluster_id", "allow.zones": "zone", "allow.roles": "node_role"}
    for rule, value, globs in broken:
        yield f"{where}.{names[rule]}={value!r}: is not in {rule}, which allows {', '.join(globs)}"
    for table, limits in policy.limits.tables(schedule.cluster_id, schedule.producer):
        for name in Limits.model_fields:
            limit = getattr(limits, name)
            if name == "wait" or limit is None or (limits.wait and name in BOUGHT_IN_PARTS):
                continue
            if schedule.node_count > limit:
                yield (
                    f"{where}.node_count={schedule.node_count}: is over {table}.{name}={limit}: "
                    "each of its requests would be rejected"
                )


def place(name: str) -> str:
    """Return the key path of a schedule, with its name instead of a number."""
    return f'schedule."{name}"'
