"""`scaleout doctor`: the replicas of the ledger's server, and the sentinels that choose the master."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from config.logs.redaction import redact
from config.sentinels import Sentinels, names_sentinels, parse_sentinels
from config.settings import LedgerSettings
from tasks.runtime.redis_servers import sentinel_client
from workers.cli.commands.findings import Finding, Status

MIN_REPLICAS = "min-replicas-to-write"
LATE_S = 10


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a sentinel says. `problem`: it does not answer, or could not replace the master now."""

    host: str
    problem: str
    master: str = ""
    quorum: int = 0


async def sentinel_findings(settings: LedgerSettings) -> list[Finding]:
    """Ask every sentinel of the ledger's URL; nothing for a URL without. Never raises."""
    address = settings.ledger_address
    if not names_sentinels(address):
        return []
    sentinels = parse_sentinels(address)
    # One by one: a few, and each answers within two seconds or not at all.
    answers = [await _ask(sentinels, host, port) for host, port in sentinels.hosts]
    masters = Counter(answer.master for answer in answers if answer.master)
    problems = [f"{answer.host}: {answer.problem}" for answer in answers if answer.problem]
    if len(masters) > 1:
        named = ", ".join(f"{master} by {number}" for master, number in masters.most_common())
        problems.append(f"they name different masters: {named}")
    good = sum(not answer.problem for answer in answers)
    quorum = max((answer.quorum for answer in answers), default=0)
    known = f"{sentinels.name} is {masters.most_common(1)[0][0]}, quorum {quorum}" if masters else ""
    detail = "; ".join([f"{good} of {len(answers)} are well", *([known] if known else []), *problems])
    usable = len(masters) == 1 and good > 0
    status: Status = "ok" if not problems else "warning" if usable else "error"
    return [Finding("sentinels", status, redact(detail))]


async def replica_findings(redis: Redis) -> list[Finding]:
    """Return how far the server's replicas are behind, and whether it accepts what none of them has."""
    try:
        info: Mapping[str, Any] = await redis.info("replication")
    except ResponseError:
        return []
    if info.get("role") == "slave":
        detail = (
            f"it is a replica of {info.get('master_host')}:{info.get('master_port')}, which takes no writes: "
            "name the master in SCALEOUT_REDIS_URL, or the sentinels that know it"
        )
        return [Finding("replicas", "error", detail)]
    replicas = [info[f"slave{number}"] for number in range(int(info.get("connected_slaves", 0)))]
    needed = await _min_replicas(redis)
    if not replicas and not needed:
        return []
    findings = [_replicas(replicas)]
    if needed is None:
        findings.append(Finding(MIN_REPLICAS, "warning", "cannot be read here; it should be 1 or more"))
    elif needed == 0:
        detail = "0, should be 1 or more: a failover loses what the master has accepted alone"
        findings.append(Finding(MIN_REPLICAS, "warning", detail))
    elif needed > len(replicas):
        detail = f"{needed}, and {len(replicas)} are connected: the server accepts nothing"
        findings.append(Finding(MIN_REPLICAS, "error", detail))
    else:
        findings.append(Finding(MIN_REPLICAS, "ok", str(needed)))
    return findings


def _replicas(replicas: list[Mapping[str, Any]]) -> Finding:
    if not replicas:
        return Finding("replicas", "error", "none is connected")
    told = []
    for one in replicas:
        lag = f"{one.get('lag', '?')} s ago" if one.get("state") == "online" else str(one.get("state"))
        told.append(f"{one.get('ip')}:{one.get('port')} {lag}")
    late = [one for one in replicas if one.get("state") != "online" or int(one.get("lag", 0)) > LATE_S]
    detail = f"{len(replicas)} connected, last heard of: {', '.join(told)}"
    return Finding("replicas", "warning" if late else "ok", detail)


async def _min_replicas(redis: Redis) -> int | None:
    try:
        value = (await redis.config_get(MIN_REPLICAS)).get(MIN_REPLICAS)
    except ResponseError:
        return None
    return None if value is None else int(value)


async def _ask(sentinels: Sentinels, host: str, port: int) -> _Answer:
    shown = f"{host}:{port}"
    client: Any = sentinel_client(sentinels, host, port)
    try:
        known = await client.sentinel_masters()
        state = known.get(sentinels.name)
        if state is None:
            names = ", ".join(sorted(known)) or "nothing"
            return _Answer(shown, f"watches {names}, and no {sentinels.name}")
        master, quorum = f"{state['ip']}:{state['port']}", int(state["quorum"])
        problem = ""
        try:
            await client.execute_command("SENTINEL", "CKQUORUM", sentinels.name)
        except ResponseError as error:
            problem = str(error)
        return _Answer(shown, problem, master, quorum)
    except (RedisError, OSError) as error:
        return _Answer(shown, f"does not answer: {error}")
    finally:
        await client.aclose()
