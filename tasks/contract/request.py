"""What a producer may request. Other programs are written against this shape."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from config.validation_messages import field_path, messages, text_of
from tasks.contract.validators import check_addresses, check_plain_json, check_time

MAX_NODES_PER_REQUEST = 10_000
MAX_NODES_PER_OPERATION = 99  # EHPC API, addNodes: node_count is "1" to "99"
MAX_DEADLINE_S = 7 * 86_400

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr).encode
SCHEDULE_IDS = "schedule:"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# The fields of the first version; a later field has no place here.
ALWAYS_IN_FINGERPRINT = frozenset(
    {
        *("request_id", "cluster_id", "zone", "node_count", "node_role", "node_name"),
        *("private_ips", "resource_conf", "deadline_s", "on_shortage", "requested_by"),
    }
)

NodeRole = Literal["login", "compute"]
OnShortage = Literal["wait", "partial", "fail"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _without_default(schema: dict[str, Any]) -> None:
    """Remove the default: it depends on the kind of cluster, which JSON Schema cannot express."""
    schema.pop("default", None)


class InvalidRequest(ValueError):  # noqa: N818 - named by what it says of the request
    """The request cannot be accepted; `problems` has one sentence for each problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class RequestContent(BaseModel):
    """What a request asks for, as the ledger keeps it.

    It is lenient: another version may have accepted it. Fields that this one does not know are kept.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    request_id: str
    cluster_id: str
    zone: str
    node_count: int
    node_role: str = "compute"
    node_name: str | None = None
    private_ips: tuple[str, ...] | None = None
    resource_conf: dict[str, Any] | None = None
    deadline_s: float | None = None
    on_shortage: str = "wait"
    requested_by: str | None = None
    not_before: str | None = None

    @property
    def exclusive(self) -> bool:
        """Whether its nodes are named: then they are bought in a call of their own."""
        return self.node_name is not None or self.private_ips is not None


class ScaleOutRequest(RequestContent):
    """A request to add nodes of one role to one cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="Scale-out request")

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] = Field(
        description="Identity of the request and its idempotency key; the Celery task's id if left out"
    )
    cluster_id: Annotated[str, StringConstraints(pattern=r"^e?hpc-[A-Za-z0-9]{1,64}$")] = Field(
        description="ehpc-… for a dedicated cluster, hpc-… for a shared one"
    )
    zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(
        description="The cluster's zone, such as jn1a"
    )
    node_count: Annotated[int, Field(ge=1, le=MAX_NODES_PER_REQUEST)] = Field(
        description="How many nodes to add; more than 99 are added by several operations"
    )
    node_role: NodeRole = Field(
        default="compute",
        json_schema_extra=_without_default,
        description="Left out: compute on ehpc-…, login on hpc-…",
    )
    node_name: Name | None = Field(default=None, description="Name for the nodes; such a request goes alone")
    private_ips: tuple[str, ...] | None = Field(
        default=None, strict=False, description="As many addresses as nodes; such a request goes alone"
    )
    resource_conf: dict[str, Any] | None = Field(
        default=None, description="Handed to the provider as it is, e.g. cpu and memory"
    )
    deadline_s: Annotated[float, Field(gt=0, le=MAX_DEADLINE_S, allow_inf_nan=False)] | None = Field(
        default=None, strict=False, description="Seconds until the request times out"
    )
    on_shortage: OnShortage = Field(
        default="wait", description="What to do when the provider has too few nodes"
    )
    requested_by: Name | None = Field(default=None, description="Who requests the nodes")
    not_before: str | None = Field(
        default=None, description="Nothing is bought before this time: ISO 8601 with its distance from UTC"
    )
    dry_run: bool = Field(
        default=False, description="Only report the expected result (dry-run.schema.json); nothing is stored"
    )

    @model_validator(mode="before")
    @classmethod
    def _role_by_kind_of_cluster(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("node_role") is None:
            cluster_id = data.get("cluster_id")
            shared = isinstance(cluster_id, str) and cluster_id.startswith("hpc-")
            return {**data, "node_role": "login" if shared else "compute"}
        return data

    @field_validator("node_name", "requested_by")
    @classmethod
    def _is_printable(cls, value: str | None) -> str | None:
        if value is not None and any(unicodedata.category(char).startswith("C") for char in value):
            raise ValueError("must have no control characters")
        return value

    @field_validator("private_ips", mode="before")
    @classmethod
    def _is_a_list(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, (list, tuple)):
            raise ValueError("must be a list of addresses")
        return value

    @field_validator("private_ips")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        check_addresses(value)
        return value or None

    @field_validator("resource_conf")
    @classmethod
    def _is_small_json(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if not value:
            return None
        check_plain_json(value)
        return value

    @field_validator("not_before")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        return None if value is None else check_time(value)

    @field_validator("deadline_s", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError("must be a number of seconds")
        return value

    @field_validator("node_role")
    @classmethod
    def _fits_the_cluster(cls, value: NodeRole, info: ValidationInfo) -> NodeRole:
        cluster_id = str(info.data.get("cluster_id", ""))
        if value == "compute" and cluster_id.startswith("hpc-"):
            raise ValueError(
                f"compute nodes cannot be added to the shared cluster {cluster_id}, only login nodes"
            )
        return value

    @field_validator("node_name", "private_ips")
    @classmethod
    def _named_nodes_fit_one_operation(cls, value: Any, info: ValidationInfo) -> Any:
        count = info.data.get("node_count")
        if value is not None and count is not None and count > MAX_NODES_PER_OPERATION:
            raise ValueError(f"nodes that are named must be at most {MAX_NODES_PER_OPERATION}, not {count}")
        return value

    @field_validator("private_ips")
    @classmethod
    def _one_address_for_each_node(
        cls, value: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        count = info.data.get("node_count")
        if value is not None and count is not None and len(value) != count:
            raise ValueError(f"{len(value)} addresses for {count} nodes: name one for each node, or none")
        return value

    @property
    def content(self) -> RequestContent:
        return RequestContent.model_validate(self.model_dump(exclude={"dry_run"}))

    def fingerprint(self) -> str:
        """Return the same text for requests of the same content, whether dry runs or not.

        Versions that differ in their optional fields agree on it: a field counts where it was given, or has
        always been counted.
        """
        given = self.model_dump(mode="json", exclude={"dry_run"})
        # A later field that is null says as little as one that is left out.
        later = {name for name in self.model_fields_set if given.get(name) is not None}
        counted = ALWAYS_IN_FINGERPRINT | later
        return content_fingerprint({name: value for name, value in given.items() if name in counted})


def content_fingerprint(content: Any) -> str:
    """Return the SHA-256 of `content` as canonical JSON, or of its text if JSON cannot hold it."""
    try:
        text = _canonical(content)
    except (TypeError, ValueError, RecursionError):
        text = text_of(content)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def parse_request(fields: Mapping[str, Any], *, of_schedule: bool = False) -> ScaleOutRequest:
    """Check `fields` against the contract.

    Args:
        of_schedule: the request is a schedule's own; only these may have its ids.

    Raises:
        InvalidRequest: with every problem at once.
    """
    problems = []
    request_id = fields.get("request_id")
    if isinstance(request_id, str) and request_id.startswith(SCHEDULE_IDS) and not of_schedule:
        problems.append(f"request_id must not begin with {SCHEDULE_IDS}: such ids are those of schedules")
    try:
        spec = ScaleOutRequest.model_validate({_readable(name): value for name, value in fields.items()})
    except ValidationError as error:
        raise InvalidRequest(problems + messages(error, ScaleOutRequest, name=field_path)) from None
    except RecursionError:
        raise InvalidRequest([*problems, "a field is nested too deeply"]) from None
    if problems:
        raise InvalidRequest(problems)
    return spec


def _readable(name: Any) -> Any:
    """Replace unpaired surrogates: pydantic would not check the other fields."""
    return name.encode("utf-8", "replace").decode() if isinstance(name, str) else name
