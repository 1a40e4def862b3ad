"""What `scaleout doctor` finds at the provider that a ledger with missing data may not know."""

from collections.abc import Sequence

from config.settings import Settings
from config.timestamps import timestamp, utc_second
from tasks.ehpc.actions import PAGE
from tasks.ehpc.errors import EhpcError
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobRow
from tasks.engine.wiring import open_api, open_api_connections, open_rate_limiter
from tasks.ledger.ledger import Ledger
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import Denied
from workers.cli.commands.findings import Finding

DAY_MS = 86_400_000
MAX_PAGES = 20
# The provider's clock may differ from the server's.
MARGIN_MS = 10_000


async def lost_jobs(settings: Settings, ledger: Ledger, zone: str) -> list[Finding]:
    """List the zone's jobs that no operation owns, and all that still run.

    They are of the last day, or since the copy that the ledger was filled from if that is older.
    """
    # Once it is acknowledged, the time of a copy is that of the change.
    copied = await ledger.imported_at() or await ledger.server_changed_since()
    since = min(ledger.clock.now_ms() - DAY_MS, (copied or ledger.clock.now_ms()) - MARGIN_MS)
    rows, problem = await _rows(settings, ledger, zone, since)
    findings = [Finding("provider", "error", problem)] if problem else []
    named = {row.job_id for row in rows if row.job_action == settings.add_nodes_job_action}
    # The name is a guess: until the zone's log has shown it, any job may be one of ours.
    action_seen = bool(named) or (await ledger.zone(zone)).action_seen
    for row in rows:
        text, owned = f"{row.job_action} on {' '.join(row.resource_ids)}", await _is_owned(ledger, row)
        made = timestamp(round(row.create_time.timestamp() * 1000)) if row.create_time else "an unknown time"
        if not owned and (row.job_id in named or not action_seen):
            detail = (
                f"{text} of {made} belongs to no operation of the ledger: its nodes were bought by a request "
                "that is missing here or still waits here, or by somebody else. Cancel what it served before "
                "you acknowledge"
            )
            findings.append(Finding(f"unknown {row.job_id}", "error", detail))
        if row.status is JobStatus.PENDING:
            findings.append(Finding(f"running {row.job_id}", "warning", text))
    if not findings:
        detail = f"in zone {zone} no job runs, and none since {timestamp(since)} is without its operation"
        findings.append(Finding("provider", "ok", detail))
    return findings


async def _rows(
    settings: Settings, ledger: Ledger, zone: str, since: int
) -> tuple[Sequence[JobRow], str | None]:
    """Return the rows of the operation log, newest first, and why they are not all of them."""
    rate_limiter, rows = open_rate_limiter(settings, ledger), list[JobRow]()
    async with open_api_connections(settings) as connections:
        api = open_api(settings, connections, ledger.clock)
        for number in range(MAX_PAGES):
            if isinstance(await rate_limiter.reserve(CallPriority.POLL), Denied):
                return rows, f"only the newest {len(rows)} jobs were listed: no API call is free"
            try:
                page = await api.list_jobs(
                    zone,
                    at=utc_second(ledger.clock.now_ms()),
                    start_time=utc_second(since),
                    offset=number * PAGE,
                    newest_first=True,
                )
            except EhpcError as error:
                return rows, f"the jobs cannot be listed: {error}"
            rows += page.rows
            if len(page.rows) < PAGE:
                return rows, None
    return rows, f"only the newest {len(rows)} jobs were listed: there are more"


async def _is_owned(ledger: Ledger, row: JobRow) -> bool:
    """Return whether an operation owns the job. One that names no cluster is found by its own key."""
    for cluster_id in row.cluster_ids or ("",):
        if await ledger.job_owners(cluster_id, [row.job_id]):
            return True
    return False
