"""The door to every provider. Nothing behind it is imported before it is asked for.

Here: the door, the default of every contract, and the providers that need no extra. Not here: a provider that needs one,
which is a package of its own in `providers/`, and what providers share, which is `dotflow.toolkit`. Never imports the engine.
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import TYPE_CHECKING

from dotflow.toolkit.extras import needing

# Provider: the module it lives in, and the extra that brings what it needs.
_DOOR: dict[str, tuple[str, str | None]] = {
    "LogDefault": ("dotflow.providers.defaults", None),
    "MetricsDefault": ("dotflow.providers.defaults", None),
    "NotifyDefault": ("dotflow.providers.defaults", None),
    "SchedulerDefault": ("dotflow.providers.defaults", None),
    "ServerDefault": ("dotflow.providers.defaults", None),
    "StorageDefault": ("dotflow.providers.defaults", None),
    "TracerDefault": ("dotflow.providers.defaults", None),
    "LogStructlog": ("dotflow.providers.logs.provider", None),
    "SchedulerCron": ("dotflow.providers.schedulers.provider", None),
    "SchedulerInterval": ("dotflow.providers.schedulers.provider", None),
    "Schedules": ("dotflow.providers.schedulers.provider", None),
    "StorageFile": ("dotflow.providers.storage_file", None),
    "NotifyApprise": ("dotflow_apprise", "apprise"),
    "NotifySlack": ("dotflow_slack", "slack"),
    "StorageRedis": ("dotflow_redis", "redis"),
    "StorageFsspec": ("dotflow_fsspec", "fsspec"),
    "TracerDatadog": ("dotflow_datadog", "datadog"),
    "MetricsStatsd": ("dotflow_statsd", "statsd"),
    "TracerOpenTelemetry": ("dotflow_otel", "otel"),
    "LogOpenTelemetry": ("dotflow_otel", "otel"),
    "MetricsOpenTelemetry": ("dotflow_otel", "otel"),
    "MetricsPrometheus": ("dotflow_prometheus", "prometheus"),
}

if TYPE_CHECKING:
    from dotflow.providers.defaults import LogDefault as LogDefault
    from dotflow.providers.defaults import MetricsDefault as MetricsDefault
    from dotflow.providers.defaults import NotifyDefault as NotifyDefault
    from dotflow.providers.defaults import SchedulerDefault as SchedulerDefault
    from dotflow.providers.defaults import ServerDefault as ServerDefault
    from dotflow.providers.defaults import StorageDefault as StorageDefault
    from dotflow.providers.defaults import TracerDefault as TracerDefault
    from dotflow.providers.logs.provider import LogStructlog as LogStructlog
    from dotflow.providers.schedulers.provider import SchedulerCron as SchedulerCron
    from dotflow.providers.schedulers.provider import SchedulerInterval as SchedulerInterval
    from dotflow.providers.schedulers.provider import Schedules as Schedules
    from dotflow.providers.storage_file import StorageFile as StorageFile
    from dotflow_apprise import NotifyApprise as NotifyApprise
    from dotflow_datadog import TracerDatadog as TracerDatadog
    from dotflow_fsspec import StorageFsspec as StorageFsspec
    from dotflow_otel import LogOpenTelemetry as LogOpenTelemetry
    from dotflow_otel import MetricsOpenTelemetry as MetricsOpenTelemetry
    from dotflow_otel import TracerOpenTelemetry as TracerOpenTelemetry
    from dotflow_prometheus import MetricsPrometheus as MetricsPrometheus
    from dotflow_redis import StorageRedis as StorageRedis
    from dotflow_slack import NotifySlack as NotifySlack
    from dotflow_statsd import MetricsStatsd as MetricsStatsd
else:

    def __getattr__(name: str) -> object:
        try:
            module, extra = _DOOR[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no provider {name!r}; it has {', '.join(_DOOR)}") from None
        with needing(name, extra) if extra is not None else nullcontext():
            return getattr(importlib.import_module(module), name)

    def __dir__() -> list[str]:
        return sorted(_DOOR)
