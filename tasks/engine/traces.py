"""Whether this process makes spans, as the settings say."""

from config.settings import LedgerSettings, SettingsError
from tasks.runtime import tracing

EXTRA = "SCALEOUT_TRACES=true needs the extra `otel`: pip install 'ehpc-scaleout[otel]'"


def start_traces(settings: LedgerSettings, role: str) -> None:
    """Begin, if the settings want it. Raises SettingsError if the extra is not installed.

    `role`: of this process, `worker` or `gateway`.
    """
    if not settings.traces:
        return
    try:
        from tasks.runtime.open_telemetry import OpenTelemetry
    except ModuleNotFoundError:
        raise SettingsError(EXTRA) from None
    tracing.start(OpenTelemetry(role))
