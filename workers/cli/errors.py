"""Expected failures as one line and an exit code."""

from redis import exceptions as redis

from config.logs.redaction import redact
from config.policy.file import PolicyError
from config.settings import SettingsError
from tasks.ledger.identity import OtherAccount
from tasks.ledger.server_options import A_CLUSTER, ClusterNode
from workers.cli.exit_codes import Exit


def describe(error: Exception) -> tuple[str, Exit] | None:
    """Return a line and an exit code; None for a bug of ours, whose traceback is wanted."""
    match error:
        case SettingsError() | PolicyError() | OtherAccount():
            return redact(str(error)), Exit.USAGE
        case redis.AuthenticationError():
            return "Redis refuses this user or password; see SCALEOUT_REDIS_URL", Exit.UNREACHABLE
        case redis.ConnectionError() | redis.TimeoutError():
            return redact(
                f"Redis cannot be reached: {_without_dot(error)}; see SCALEOUT_REDIS_URL"
            ), Exit.UNREACHABLE
        case redis.MovedError() | redis.AskError() | redis.ClusterError() | redis.ClusterCrossSlotError():
            return f"{A_CLUSTER}; see SCALEOUT_REDIS_URL", Exit.USAGE
        case ClusterNode():
            return f"{error}; see SCALEOUT_REDIS_URL", Exit.USAGE
        case redis.RedisError():
            return redact(f"Redis: {_without_dot(error)}; see SCALEOUT_REDIS_URL"), Exit.UNREACHABLE
        case _:
            return None


def _without_dot(error: Exception) -> str:
    return str(error).rstrip(".")
