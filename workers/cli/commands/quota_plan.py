"""`scaleout quota --plan`."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config.settings import QuotaSettings, load
from config.validation_messages import messages
from tasks.ledger.outcome_entries import Retention
from tasks.quota.plan import HOUR_S, Account, Load, Plan, plan
from workers.cli.durations import InvalidDuration, age_text, parse_duration
from workers.cli.exit_codes import Exit
from workers.cli.tables import print_table
from workers.cli.terminal import echo, echo_problems, print_json

MB = 1_000_000
DURATION = "2m"
REMEDIES = {
    "quota": "the account's API calls: let requests share jobs, or have the quota raised",
    "clusters": "the clusters: each runs one job at a time, so let jobs have more nodes",
}


def show_plan(given: Mapping[str, str | None], *, as_json: bool) -> Exit:
    """Show what a load takes of the account that the settings describe. Nothing is read from Redis.

    Args:
        given: the options by the names of the fields of Load, as written; None for one that is left out.
    """
    settings = load(QuotaSettings)
    wanted, problems = read_load(given)
    if wanted is None:
        echo_problems(problems, as_json=as_json, kind="usage")
        return Exit.USAGE
    account = Account(
        limit=settings.quota_calls,
        window_s=settings.quota_period_s,
        poll_interval_s=settings.poll_interval_s,
        kept_s=Retention(settings.outcome_ttl_s, settings.stream_maxlen).records_ttl_s,
    )
    found = plan(wanted, account)
    if as_json:
        print_json(as_data(wanted, account, found))
    else:
        _print(wanted, account, found)
    return Exit.SUCCEEDED


def read_load(given: Mapping[str, str | None]) -> tuple[Load | None, list[str]]:
    """Return what the options say, or None and every problem of them."""
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    problems = []
    try:
        fields["job_duration"] = parse_duration(fields.get("job_duration", DURATION))
    except InvalidDuration as error:
        problems.append(f"--job-duration: {error}")
        # So that the other options are checked, too.
        fields["job_duration"] = 1
    try:
        wanted = Load.model_validate(fields)
    except ValidationError as error:
        problems = [*messages(error, Load, name=_option), *problems]
    return (None, problems) if problems else (wanted, [])


def as_data(wanted: Load, account: Account, found: Plan) -> dict[str, Any]:
    """Return the plan as JSON."""
    return {
        "load": {
            "jobs_per_hour": wanted.jobs,
            "clusters": wanted.clusters,
            "zones": wanted.zones,
            "nodes_per_job": wanted.nodes,
            "requests_per_job": wanted.requests,
            "job_duration_s": wanted.job_duration,
        },
        "limit": account.limit,
        "period_s": account.window_s,
        "fits": not found.limited_by,
        "limited_by": list(found.limited_by),
        "running_jobs": found.running,
        "poll_interval_s": round(found.poll_interval_s, 3),
        "calls_per_hour": {
            "polling": round(found.polling_calls),
            "submissions": round(found.submission_calls),
            "submissions_at_most": round(found.max_submission_calls),
            "left": round(found.left_calls),
        },
        "mean_delay_s": round(found.mean_delay_s, 3),
        "worst_delay_s": round(found.worst_delay_s, 3),
        "max_jobs_per_hour": found.max_jobs,
        "max_nodes_per_hour": found.max_nodes,
        "max_requests_per_hour": found.max_requests,
        "redis_mb": max(1, round(found.redis_bytes / MB)),
        "worker_cpu_percent": round(100 * found.worker_cpu, 1),
        "workers": found.workers,
    }


def _print(wanted: Load, account: Account, found: Plan) -> None:
    hourly = account.limit * HOUR_S / account.window_s
    rows = [
        ("jobs that run at once", f"{found.running:,}"),
        ("calls an hour: the account's", f"{hourly:,.0f}"),
        ("  polling", f"{found.polling_calls:,.0f}"),
        ("  submissions", f"{found.submission_calls:,.0f}"),
        ("  submissions at most", f"{found.max_submission_calls:,.0f}"),
        ("  left", f"{found.left_calls:,.0f}"),
        ("a poll every", _seconds(found.poll_interval_s)),
        ("from a job's end to its outcome: mean", _seconds(found.mean_delay_s)),
        ("  if an hour's jobs come together", f"up to {_seconds(found.worst_delay_s)}"),
        ("at most in an hour: jobs", f"{found.max_jobs:,}"),
        ("  nodes", f"{found.max_nodes:,}"),
        ("  requests", f"{found.max_requests:,}"),
        ("memory of Redis", f"{max(1, round(found.redis_bytes / MB)):,} MB"),
        ("workers by their CPU", f"{found.workers} ({100 * found.worker_cpu:.1f} % of a core)"),
    ]
    duration = age_text(wanted.job_duration)
    print_table(
        f"{wanted.jobs:,} jobs of {duration} in an hour, on {wanted.clusters:,} clusters",
        ("figure", "value"),
        rows,
    )
    for name in found.limited_by:
        echo(f"too many jobs for {REMEDIES[name]}")
    if found.limited_by and found.max_jobs:
        echo(f"the figures are for {found.max_jobs:,} jobs an hour; the others wait")
    elif found.limited_by:
        echo("the figures are for one job an hour; while it is polled, no calls are left for others")


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def _option(location: tuple[Any, ...]) -> str:
    return f"--{str(location[0]).replace('_', '-')}" if location else ""
