"""Errors of API calls, classified by what the caller does next (page "Error codes")."""

from typing import ClassVar

MAX_CHARS = 300


class EhpcError(Exception):
    """A call without a usable reply. The text has code and message, never a URL or a signature."""

    kind: ClassVar[str] = "api_error"

    def __init__(self, message: str, *, ret_code: int | None = None, http_status: int | None = None) -> None:
        self.ret_code = ret_code
        self.http_status = http_status
        super().__init__(printable(message))


class NotSent(EhpcError):  # noqa: N818
    """Proven: nothing left this machine. Another operation may be planned."""

    kind = "not_sent"


class NotAccepted(EhpcError):  # noqa: N818
    """Refused for now; nothing was made. Another operation may be planned later."""

    kind = "not_accepted"


class Busy(NotAccepted):
    """The cluster is being changed; wait for that to end."""

    kind = "busy"


class Rejected(EhpcError):  # noqa: N818
    """Refused permanently; nothing was made, and the same request would be refused again."""

    kind = "rejected"
    alert: bool = False


class Shortage(EhpcError):  # noqa: N818
    """The provider has too few nodes now: wait, or request fewer."""

    kind = "shortage"


class AccountRefused(EhpcError):  # noqa: N818
    """The provider accepts nothing from this account until somebody corrects that."""

    kind = "account_blocked"


class QuotaExhausted(EhpcError):  # noqa: N818
    """The account's API calls are used up; nothing was made. Wait for the window."""

    kind = "quota"

    def __init__(
        self,
        message: str,
        *,
        ret_code: int | None = None,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, ret_code=ret_code, http_status=http_status)
        self.retry_after_s = retry_after_s


class UnclearQuota(QuotaExhausted):
    """Nothing was made: either API calls or resources are used up. A read that is granted tells which."""


class InDoubt(EhpcError):  # noqa: N818
    """It may have been executed. A read may be repeated; addNodes must not be."""

    kind = "in_doubt"


NO_SUCH_RESOURCE = 2100
REJECTED = frozenset({1100, 1101, 3300, 8000, 8001, 8002, 8003, 8004, NO_SUCH_RESOURCE})
REJECTED_WITH_ALERT = frozenset({2200, 2400, 4000, 4001, 4002, 4003, 4004, 4005})
ACCOUNT_REFUSED = frozenset({1200, 1661, 1662, 2000})
SIGNATURE_EXPIRED = 1300
DENIED = 1400
OVER_QUOTA = 2500
NO_RESOURCES = 5200
BEING_CHANGED = frozenset({5300, 5400})

# 1400 means "no permission" or "cannot be changed now"; only its message says which.
BUSY_WORDS = (
    "transition",
    "status",
    "state",
    "not running",
    "not active",
    "not ready",
    "busy",
    "in progress",
    "ongoing",
    "being ",
    "pending",
    "locked",
    "later",
    "try again",
    "retry",
    "creating",
    "updating",
    "deleting",
    "adding",
    "removing",
    "scaling",
    "resizing",
    "starting",
    "stopping",
    "changing",
    "initializing",
    "installing",
    "configuring",
    "deploying",
    "processing",
    "状态",
    "正在",
    "忙",
    "稍后",
    "重试",
    "进行中",
    "处理中",
    "创建中",
    "更新中",
    "删除中",
    "变更中",
    "操作中",
    "扩容",
    "锁定",
    "未就绪",
)
API_QUOTA_WORDS = (
    "api",
    "call",
    "request",
    "frequency",
    "rate",
    "hour",
    "daily",
    "调用",
    "请求",
    "频率",
    "次数",
)
RESOURCE_QUOTA_WORDS = (
    "resource",
    "instance",
    "node",
    "cpu",
    "memory",
    "disk",
    "volume",
    "资源",
    "节点",
    "主机",
    "内存",
)


def reason(ret_code: int, message: str, http_status: int | None = None) -> EhpcError:
    """Return the error for a reply with this `ret_code`, which is not 0."""
    kind: type[EhpcError] = InDoubt
    words = message.lower()
    if ret_code in REJECTED or ret_code in REJECTED_WITH_ALERT:
        kind = Rejected
    elif ret_code in ACCOUNT_REFUSED:
        kind = AccountRefused
    elif ret_code == SIGNATURE_EXPIRED:
        kind = NotAccepted
    elif ret_code == DENIED:
        kind = Busy if any(word in words for word in BUSY_WORDS) else Rejected
    elif ret_code == OVER_QUOTA:
        kind = _over_quota(words)
    elif ret_code == NO_RESOURCES:
        kind = Shortage
    elif ret_code in BEING_CHANGED:
        kind = Busy
    said = f"the provider answered {ret_code}: {message or 'no message'}"
    error = kind(said, ret_code=ret_code, http_status=http_status)
    if isinstance(error, Rejected):
        error.alert = ret_code in REJECTED_WITH_ALERT
    return error


def _over_quota(words: str) -> type[EhpcError]:
    about_calls = any(word in words for word in API_QUOTA_WORDS)
    about_resources = any(word in words for word in RESOURCE_QUOTA_WORDS)
    if about_calls == about_resources:
        return UnclearQuota
    return Shortage if about_resources else QuotaExhausted


def printable(text: str) -> str:
    """Return a text of the provider, fit for logs, pages and outcomes."""
    if text.isprintable() and len(text) <= MAX_CHARS:
        return text
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= MAX_CHARS else f"{shown[: MAX_CHARS - 1]}…"
