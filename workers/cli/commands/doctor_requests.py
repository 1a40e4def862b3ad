"""`scaleout doctor`: the requests that have not ended."""

from tasks.ledger.ledger import Ledger
from tasks.metrics.requests import running_operations, stuck_jobs
from tasks.views.read_status import read_documents
from workers.cli.commands.findings import Finding
from workers.cli.commands.status import reason_text
from workers.cli.durations import age_text

LOOKED_AT = 500


async def request_findings(ledger: Ledger) -> list[Finding]:
    """Return which request is the oldest and what it waits for, and the jobs that no listing shows."""
    ids = await ledger.overview.open_requests(LOOKED_AT)
    requests = list((await ledger.requests(ids, readable_only=True)).values())
    if not requests:
        return []
    oldest = min(requests, key=lambda request: request.accepted_at)
    (document,) = await read_documents(ledger, [oldest])
    now = ledger.clock.now_ms()
    age = age_text((now - oldest.accepted_at) / 1000)
    reason = reason_text(document["reason"])
    detail = f"{oldest.request_id}, accepted {age} ago, is {document['state']}: {reason}"
    late = now > oldest.deadline_at
    findings = [Finding("oldest request", "warning" if late else "ok", detail)]
    zones = {request.spec.zone for request in requests if request.spec is not None}
    for zone in sorted(zones):
        for job_id, since in (await ledger.zone(zone)).missing.items():
            detail = f"no listing of zone {zone} has shown it for {age_text((now - since) / 1000)}"
            findings.append(Finding(f"missing {job_id}", "warning", detail))
    for operation, age_ms, usual_ms in await stuck_jobs(ledger, await running_operations(ledger)):
        age, usual = age_text(age_ms / 1000), age_text(usual_ms / 1000)
        detail = f"job {operation.job_id} has run for {age}; 95 % of its pool's jobs took {usual} at most"
        findings.append(Finding(f"stuck {operation.operation_id}", "warning", detail))
    return findings
