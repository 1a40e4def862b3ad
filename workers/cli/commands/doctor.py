"""`scaleout doctor`: is everything as it should be, and what needs an operator?"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from redis.exceptions import RedisError

from config.logs.redaction import redact
from config.policy.file import PolicyError
from config.secret_files import readable_by_others
from config.settings import LedgerSettings, Settings, SettingsError, load, unknown_variables
from config.timestamps import timestamp, utc_second
from tasks import admin
from tasks.contract.policy_file import read_policy
from tasks.ehpc.errors import AccountRefused, EhpcError, InDoubt, NotSent
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.engine.wiring import open_api, open_api_connections, open_ledger, open_rate_limiter
from tasks.ledger.identity import ImportUnfinished, OtherAccount
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import Denied
from tasks.runtime.clock import MAX_STEP_MS
from tasks.views.blockers import Blocker, read_blockers
from workers.cli.commands.doctor_broker import broker_findings
from workers.cli.commands.doctor_lost_jobs import lost_jobs
from workers.cli.commands.doctor_replicas import sentinel_findings
from workers.cli.commands.doctor_requests import request_findings
from workers.cli.commands.doctor_server import server_findings
from workers.cli.commands.doctor_webhooks import webhook_findings
from workers.cli.commands.findings import Finding
from workers.cli.errors import describe
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import confirm, echo, print_json, refuse, user_name

COUNTED = (
    "paused",
    "resumed",
    "breaker_opened",
    "breaker_probe",
    "breaker_closed",
    "account_blocked",
    "account_restored",
)
ODD_ANSWERS = ("rows_unreadable", "listing_flawed", "unknown_job_status", "unknown_job_action")


QUESTION = "Have you compared what runs at the provider? Calls are sent again after this."


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The options about a data loss."""

    data_loss: bool
    by: str | None
    reason: str | None
    confirmed: bool


def examine(zone: str | None, acknowledge: Acknowledge, *, acknowledge_account: bool, as_json: bool) -> Exit:
    """Run all checks. Exit code 1 for an error, 2 for invalid settings, 5 if Redis or API are unreachable."""
    if acknowledge.data_loss:
        if with_ledger(lambda ledger, _: ledger.lost_since()) is None:
            problem = "no data is missing from this ledger: there is nothing to acknowledge"
            return refuse(problem, Exit.USAGE, as_json=as_json)
        if not acknowledge.confirmed and not confirm(QUESTION):
            return Exit.USAGE
        by, reason = acknowledge.by or user_name(), acknowledge.reason
        try:
            with_ledger(lambda ledger, _: admin.acknowledge_data_loss(ledger, by=by, reason=reason))
        except ImportUnfinished as error:
            return refuse(str(error), Exit.USAGE, as_json=as_json)
        echo("the data loss is acknowledged: workers send again")
    if acknowledge_account:
        key = load(Settings).access_key_id.get_secret_value()
        is_new = with_ledger(lambda ledger, _: ledger.acknowledge_account(key))
        echo(
            "the access key is acknowledged: start the workers again"
            if is_new
            else "the access key is the ledger's already: nothing was changed"
        )
    findings = asyncio.run(read_findings(zone))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.check, finding.status, finding.detail) for finding in findings]
        print_table(None, ("check", "status", "detail"), rows)
    if any(finding.unreachable for finding in findings):
        return Exit.UNREACHABLE
    errors = [finding.check for finding in findings if finding.status == "error"]
    if "settings" in errors:
        return Exit.USAGE
    return Exit.FAILED if errors else Exit.SUCCEEDED


async def read_findings(zone: str | None, *, ask_provider: bool = True) -> list[Finding]:
    """Run all checks. `zone`: of the one call that checks the credentials, if the provider is asked."""
    settings, findings = _settings()
    findings += [
        Finding("environment", "warning", f"unknown setting {name}") for name in unknown_variables(os.environ)
    ]
    if settings is None:
        return findings
    findings += _policy(settings)
    findings += await sentinel_findings(settings)
    try:
        ledger = await open_ledger(settings)
    except RedisError as error:
        line, _ = describe(error) or (redact(str(error)), None)
        return [*findings, Finding("redis", "error", line, unreachable=True)]
    try:
        findings += _secret_files(type(settings))
        findings += await server_findings(settings)
        findings += await _ledger(ledger)
        findings += await request_findings(ledger)
        findings += await webhook_findings(ledger)
        try:
            findings += await broker_findings(settings, ledger)
        except RedisError as error:
            detail = redact(f"cannot be reached: {error}")
            findings.append(Finding("broker", "error", detail, unreachable=True))
        if isinstance(settings, Settings) and ask_provider:
            findings += await _account(settings, ledger)
            zone = zone or await _some_zone(ledger)
            findings += await _api(settings, ledger, zone)
            if zone is not None and await ledger.lost_since() is not None:
                findings += await lost_jobs(settings, ledger, zone)
    finally:
        await ledger.redis.aclose()
    return findings


def _settings() -> tuple[LedgerSettings | None, list[Finding]]:
    """Load a worker's settings; if only those of a producer are valid, they suffice for the other checks."""
    try:
        settings = load(Settings)
    except SettingsError as error:
        invalid = [Finding("settings", "error", redact(str(error)))]
        try:
            return load(LedgerSettings), invalid
        except SettingsError:
            return None, invalid
    return settings, [Finding("settings", "ok", f"API at {settings.api_url}")]


def _secret_files(kind: type[LedgerSettings]) -> list[Finding]:
    return [
        Finding("secrets", "warning", f"{problem}: only the user of the workers has to be able to read it")
        for problem in readable_by_others(kind)
    ]


def _policy(settings: LedgerSettings) -> list[Finding]:
    if settings.policy_file is None:
        return []
    try:
        policy = read_policy(settings.policy_file)
    except PolicyError as error:
        return [Finding("policy", "error", redact(str(error)))]
    detail = f"{settings.policy_file}, schedules: {len(policy.schedules)}"
    return [Finding("policy", "ok", detail)]


async def _account(settings: Settings, ledger: Ledger) -> list[Finding]:
    try:
        await ledger.claim_for_account(settings.access_key_id.get_secret_value())
    except OtherAccount as error:
        return [Finding("account", "error", str(error))]
    return []


async def _ledger(ledger: Ledger) -> list[Finding]:
    findings = []
    lost_since = await ledger.lost_since()
    if lost_since is not None:
        detail = (
            f"data that a worker had seen is missing since {timestamp(lost_since)}: nothing is sent. Compare "
            "with what runs at the provider (--zone), then run `scaleout doctor --acknowledge-data-loss`"
        )
        findings.append(Finding("data loss", "error", detail))
    findings += [
        Finding(f"unreadable {key}", "error", detail)
        for key, detail in (await ledger.overview.unreadable()).items()
    ]
    stepped_ms = await ledger.clock_stepped_ms()
    if abs(stepped_ms) > MAX_STEP_MS:
        detail = f"the server's clock has stepped by {stepped_ms / 1000:+.0f} s, which workers do not follow"
        findings.append(Finding("server clock", "error", detail))
    since = await ledger.server_changed_since()
    if since is not None:
        detail = (
            f"restarted or replaced after {timestamp(since)}: before a cluster's next call, its operation "
            "log is compared with the ledger"
        )
        findings.append(Finding("server", "warning", detail))
    held = await ledger.operations(await ledger.overview.held_operations(), readable_only=True)
    for operation in held.values():
        decide = f"`scaleout resolve {operation.operation_id}` shows the evidence and decides"
        detail = f"cluster {operation.cluster_id}: {operation.held_reason}. {decide}"
        findings.append(Finding(f"held {operation.operation_id}", "error", detail))
    findings += [_blocker(blocker) for blocker in await read_blockers(ledger)]
    if blockers := await _counted(ledger, COUNTED):
        findings.append(Finding("blockers so far", "ok", blockers))
    if odd := await _counted(ledger, ODD_ANSWERS):
        detail = f"odd answers so far: {odd}; `scaleout history --events` has the last ones"
        findings.append(Finding("provider", "warning", detail))
    dead = int(await ledger.overview.counter("messages_dead_lettered"))
    if dead:
        detail = f"{dead} so far could not be read; `scaleout dead-letters list` has the last ones"
        findings.append(Finding("messages", "warning", detail))
    overdue_s = await ledger.overview.overdue_s()
    if overdue_s > 60:
        detail = f"the oldest due entry has been overdue for {overdue_s:.0f} s: is a worker running?"
        findings.append(Finding("workers", "error", detail))
    if all(finding.status == "ok" for finding in findings):
        findings.append(Finding("ledger", "ok", "nothing is held, nothing is overdue"))
    return findings


async def _counted(ledger: Ledger, names: Sequence[str]) -> str:
    """Return those of the events that have happened, each with its count."""
    counts = [(name, await ledger.overview.counter(name)) for name in names]
    return ", ".join(f"{name} {count}" for name, count in counts if count)


def _blocker(blocker: Blocker) -> Finding:
    """Report a pause, which is intended, as a warning; everything else needs an operator."""
    if blocker.kind == "account":
        return Finding("account", "error", f"since {blocker.since}: {blocker.text}")
    if blocker.kind == "pause":
        of = "" if blocker.scope == EVERYTHING else f" --cluster {blocker.scope}"
        detail = f"{blocker.text}. `scaleout resume{of}` lifts it"
        return Finding(f"pause {blocker.scope}", "warning", detail)
    close = f"`scaleout resume --cluster {blocker.scope}` closes it now"
    return Finding(f"breaker {blocker.scope}", "error", f"since {blocker.since}: {blocker.text}. {close}")


async def _some_zone(ledger: Ledger) -> str | None:
    ids = [*await ledger.overview.open_requests(1), *await ledger.overview.ended_requests(5)]
    found = await ledger.requests(ids, readable_only=True)
    return next((request.spec.zone for request in found.values() if request.spec), None)


async def _api(settings: Settings, ledger: Ledger, zone: str | None) -> list[Finding]:
    if zone is None:
        return [Finding("credentials", "warning", "not checked: pass --zone, which a call needs")]
    grant = await open_rate_limiter(settings, ledger).reserve(CallPriority.POLL)
    if isinstance(grant, Denied):
        return [Finding("api", "warning", f"not checked: no call is free until {timestamp(grant.until_ms)}")]
    async with open_api_connections(settings) as connections:
        api = open_api(settings, connections, ledger.clock)
        now = ledger.clock.now_ms()
        try:
            await api.list_jobs(
                zone, at=utc_second(now), start_time=utc_second(now), offset=0, newest_first=True
            )
        except (NotSent, InDoubt) as error:
            return [Finding("api", "error", f"{settings.api_url}: {error}", unreachable=True)]
        except AccountRefused as error:
            return [Finding("credentials", "error", str(error))]
        except EhpcError as error:
            return [Finding("api", "error", str(error))]
        return [Finding("credentials", "ok", f"accepted in zone {zone}"), _clock(api.skew_s)]


def _clock(skew_s: float | None) -> Finding:
    if skew_s is None:
        return Finding("clock", "warning", "the API sends no Date header, so its clock is unknown")
    detail = f"the provider is {skew_s:+.1f} s from the Redis server"
    if abs(skew_s) > MAX_SKEW_S:
        return Finding("clock", "error", f"{detail}: nothing is sent above {MAX_SKEW_S:g} s")
    return Finding("clock", "ok", detail)
