"""`scaleout doctor`: is everything as it has to be, and what needs a person."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from typing import Literal

from redis.exceptions import RedisError, ResponseError

from config.policy.file import PolicyError
from config.redaction import redact
from config.settings import LedgerSettings, Settings, SettingsError, load, unknown_variables
from config.timestamps import timestamp
from tasks.contract.policy_file import read_policy
from tasks.ehpc.connections import open_connections
from tasks.ehpc.errors import AccountRefused, EhpcError, InDoubt, NotSent
from tasks.ehpc.models import JobStatus
from tasks.engine.wiring import open_api, open_governor, open_ledger
from tasks.handlers.provider_calls import moment
from tasks.handlers.submit_operation import MOST_SKEW_S
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import CallClass, Wait
from tasks.views.blockers import read_stops
from workers.cli.commands.blocker_findings import show_stop, stops_so_far
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say

A_DAY_MS = 86_400_000

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `unreachable`: nothing could be learnt of it."""

    what: str
    verdict: Verdict
    says: str
    unreachable: bool = False


def examine(zone: str | None, *, accept_ledger: bool, as_json: bool) -> Exit:
    """Exit code 1 if anything is wrong, 2 for wrong settings, 5 if Redis or the API is unreachable."""
    if accept_ledger:
        with_ledger(lambda ledger, _: ledger.accept())
        say("the ledger is accepted as it is: workers send again")
    findings = asyncio.run(_findings(zone))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.what, finding.verdict, finding.says) for finding in findings]
        print_table(None, ("what", "verdict", "says"), rows)
    if any(finding.unreachable for finding in findings):
        return Exit.UNREACHABLE
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if any(finding.what == "settings" for finding in wrong):
        return Exit.USAGE
    return Exit.ENDED_OTHERWISE if wrong else Exit.SUCCEEDED


async def _findings(zone: str | None) -> list[Finding]:
    settings, findings = _settings()
    findings += [
        Finding("environment", "warning", f"{name} is no setting of this program")
        for name in unknown_variables(os.environ)
    ]
    if settings is None:
        return findings
    findings += _policy(settings)
    try:
        ledger = await open_ledger(settings)
    except RedisError as error:
        says = redact(f"cannot be reached: {error}")
        return [*findings, Finding("redis", "wrong", says, unreachable=True)]
    try:
        findings += await _redis(ledger)
        findings += await _ledger(ledger)
        if isinstance(settings, Settings):
            zone = zone or await _some_zone(ledger)
            findings += await _api(settings, ledger, zone)
            if zone is not None and await ledger.lost_since() is not None:
                findings += await _running_at_the_provider(settings, ledger, zone)
    finally:
        await ledger.redis.aclose()
    return findings


def _settings() -> tuple[LedgerSettings | None, list[Finding]]:
    """A worker's settings; if only those of a producer are right, the rest can be looked at by them."""
    try:
        settings = load(Settings)
    except SettingsError as error:
        wrong = [Finding("settings", "wrong", redact(str(error)))]
        try:
            return load(LedgerSettings), wrong
        except SettingsError:
            return None, wrong
    return settings, [Finding("settings", "ok", f"API at {settings.api_url}")]


def _policy(settings: LedgerSettings) -> list[Finding]:
    if settings.policy_file is None:
        return []
    try:
        policy = read_policy(settings.policy_file)
    except PolicyError as error:
        return [Finding("policy", "wrong", redact(str(error)))]
    says = f"{settings.policy_file}, schedules: {len(policy.schedules)}"
    return [Finding("policy", "ok", says)]


async def _redis(ledger: Ledger) -> list[Finding]:
    info = await ledger.redis.info()
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version", info.get("redis_version", "unknown"))
    findings = [Finding("redis", "ok", f"{name} {version}, {info.get('used_memory_human', '?')} used")]
    wanted = {
        "appendonly": ("yes", "what was accepted is lost when the server dies"),
        "appendfsync": ("always", "the last second is lost when the machine dies"),
        "maxmemory-policy": ("noeviction", "records of running operations may be thrown out"),
    }
    for option, (value, else_) in wanted.items():
        try:
            found = (await ledger.redis.config_get(option)).get(option)
        except ResponseError:
            findings.append(Finding(option, "warning", f"cannot be read here; it has to be {value}"))
            continue
        right = found == value
        says = str(found) if right else f"{found}, should be {value}: {else_}"
        findings.append(Finding(option, "ok" if right else "warning", says))
    return findings


async def _ledger(ledger: Ledger) -> list[Finding]:
    findings = []
    lost_since = await ledger.lost_since()
    if lost_since is not None:
        says = (
            f"data that a worker had seen is missing since {timestamp(lost_since)}: nothing is sent. "
            "Compare with what runs at the provider (--zone), then `scaleout doctor --accept-ledger`"
        )
        findings.append(Finding("ledger lost", "wrong", says))
    for operation in (await ledger.operations(await ledger.overview.held_operations())).values():
        says = f"cluster {operation.cluster_id}: {operation.held_because}"
        findings.append(Finding(f"held {operation.operation_id}", "wrong", says))
    findings += [Finding(*show_stop(stop)) for stop in await read_stops(ledger)]
    so_far = await stops_so_far(ledger)
    if so_far:
        findings.append(Finding("stops so far", "ok", so_far))
    aside = int(await ledger.overview.counter("messages_set_aside"))
    if aside:
        says = f"{aside} so far could not be understood; the last are in {ledger.keys.set_aside}"
        findings.append(Finding("messages", "warning", says))
    overdue_s = await ledger.overview.overdue_s()
    if overdue_s > 60:
        says = f"the oldest due entry has waited for {overdue_s:.0f} s: is a worker running?"
        findings.append(Finding("workers", "wrong", says))
    if all(finding.verdict == "ok" for finding in findings):
        findings.append(Finding("ledger", "ok", "nothing is held, nothing is overdue"))
    return findings


async def _some_zone(ledger: Ledger) -> str | None:
    ids = [*await ledger.overview.open_requests(1), *await ledger.overview.ended_requests(5)]
    found = await ledger.requests(ids)
    return next((request.form.zone for request in found.values() if request.asked), None)


async def _api(settings: Settings, ledger: Ledger, zone: str | None) -> list[Finding]:
    if zone is None:
        return [Finding("credentials", "warning", "not checked: give --zone, for a call needs one")]
    grant = await open_governor(settings, ledger).reserve(CallClass.FOLLOW)
    if isinstance(grant, Wait):
        return [Finding("api", "warning", f"not checked: no call is free until {timestamp(grant.until_ms)}")]
    async with open_connections() as connections:
        api = open_api(settings, connections, ledger.clock)
        now = ledger.clock.now_ms()
        try:
            await api.list_operations(
                zone, at=moment(now), start_time=moment(now), offset=0, newest_first=True
            )
        except (NotSent, InDoubt) as error:
            return [Finding("api", "wrong", f"{settings.api_url}: {error}", unreachable=True)]
        except AccountRefused as error:
            return [Finding("credentials", "wrong", str(error))]
        except EhpcError as error:
            return [Finding("api", "wrong", str(error))]
        return [Finding("credentials", "ok", f"accepted in zone {zone}"), _clock(api.skew_s)]


async def _running_at_the_provider(settings: Settings, ledger: Ledger, zone: str) -> list[Finding]:
    """What the ledger may have forgotten: jobs of the last day that have not ended, the newest hundred."""
    governor = open_governor(settings, ledger)
    if isinstance(await governor.reserve(CallClass.FOLLOW), Wait):
        return []
    async with open_connections() as connections:
        api = open_api(settings, connections, ledger.clock)
        now = ledger.clock.now_ms()
        try:
            page = await api.list_operations(
                zone, at=moment(now), start_time=moment(now - A_DAY_MS), offset=0, newest_first=True
            )
        except EhpcError as error:
            return [Finding("provider", "wrong", f"its jobs cannot be listed: {error}")]
    running = [row for row in page.rows if row.status is JobStatus.PENDING]
    findings = [
        Finding(f"running {row.job_id}", "warning", f"{row.job_action} on {' '.join(row.resource_ids)}")
        for row in running
    ]
    return findings or [Finding("provider", "ok", f"nothing of the last day is running in zone {zone}")]


def _clock(skew_s: float | None) -> Finding:
    if skew_s is None:
        return Finding("clock", "warning", "the API sends no Date header, so its clock is not known")
    says = f"the provider is {skew_s:+.1f} s from the Redis server"
    if abs(skew_s) > MOST_SKEW_S:
        return Finding("clock", "wrong", f"{says}: nothing is sent beyond {MOST_SKEW_S:g} s")
    return Finding("clock", "ok", says)
