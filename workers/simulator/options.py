"""How the simulated provider is to behave."""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints


@dataclass(slots=True)
class SimulatorOptions:
    """Times in seconds. What the vendor's pages leave open is an option here."""

    host: str = "127.0.0.1"
    port: int = 0
    access_key_id: str = "QYACCESSKEYIDEXAMPLE"
    secret_access_key: str = "SECRETACCESSKEY"  # noqa: S105 - of the vendor's own published example
    quota_calls: int = 2000
    quota_period_s: float = 3600.0
    job_duration_s: str = "3"
    log_lag_s: float = 0.5
    latency_s: float = 0.0
    stock: int | None = None
    node_ids_in_log: Literal["never", "ended", "always"] = "ended"
    signature_ttl_s: float = 60.0
    signed_path_slash: bool = True
    signature_encoded_twice: bool = True
    clock_skew_s: float = 0.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for an option that no simulator could go by."""
        shown = get_args(get_type_hints(SimulatorOptions)["node_ids_in_log"])
        if self.node_ids_in_log not in shown:
            raise ValueError(f"node_ids_in_log {self.node_ids_in_log!r} is none of {', '.join(shown)}")
        try:
            first, last = self.duration_range_s()
        except ValueError:
            first, last = 1.0, 0.0
        if not 0 <= first <= last:
            raise ValueError(f"job_duration_s {self.job_duration_s!r} is neither like 3 nor like 2-6")

    def duration_range_s(self) -> tuple[float, float]:
        """`job_duration_s` as `3` or `2-6`."""
        first, _, last = self.job_duration_s.partition("-")
        return float(first), float(last or first)
