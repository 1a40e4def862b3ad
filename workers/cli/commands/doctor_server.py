"""`scaleout doctor`: the server of the ledger."""

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from config.settings import LedgerSettings
from tasks.ledger.server_options import ClusterNode, looking_at, read_options, refuse_cluster
from workers.cli.commands.doctor_replicas import replica_findings
from workers.cli.commands.findings import Finding


async def server_findings(settings: LedgerSettings) -> list[Finding]:
    """Return what the server is and how it is set, as far as it says."""
    async with looking_at(settings.ledger_address) as redis:
        findings = [await _version(redis)]
        try:
            await refuse_cluster(redis)
        except ClusterNode as error:
            return [*findings, Finding("redis", "error", str(error))]
        findings += [
            Finding(option.name, "ok" if option.right else "warning", option.detail)
            for option in await read_options(redis)
        ]
        findings += await replica_findings(redis)
    return findings


async def _version(redis: Redis) -> Finding:
    try:
        info = await redis.info()
    except ResponseError as error:
        return Finding("redis", "warning", f"it refuses INFO, so that its version is unknown: {error}")
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version", info.get("redis_version", "unknown"))
    return Finding("redis", "ok", f"{name} {version}, {info.get('used_memory_human', '?')} used")
