"""For authors of providers: what the reference providers are made of, public and documented.

Here: the fields of a log line, the bounded label sets of metrics, what a notification says and how several are sent as one,
checkpoints as bytes that tell whether they are whole, an exact JSON, errors without credentials, imports that need an
extra. Not here: anything that drives a run. Imports the words and the contracts. Nothing is imported before it is asked for.
"""

import importlib
from typing import TYPE_CHECKING

_DOOR = {
    "ActiveRuns": "label_sets",
    "Batcher": "batching",
    "Fields": "log_fields",
    "Header": "envelope",
    "LabelSets": "label_sets",
    "NotYet": "batching",
    "Notification": "notification",
    "OVERFLOW": "label_sets",
    "TraceUrl": "notification",
    "check_max_series": "label_sets",
    "check_serializer": "envelope",
    "checked_buckets": "label_sets",
    "decode": "codec",
    "encode": "codec",
    "fields_of": "log_fields",
    "header_of": "envelope",
    "ids_of": "log_fields",
    "is_text": "text",
    "name_of": "envelope",
    "name_start_of": "envelope",
    "needing": "extras",
    "redacted": "redaction",
    "seal": "envelope",
    "shorten": "text",
    "statuses_of": "notification",
    "storable": "text",
    "storage_error": "redaction",
    "summary": "notification",
    "unseal": "envelope",
}

if TYPE_CHECKING:
    from dotflow.toolkit.batching import Batcher as Batcher
    from dotflow.toolkit.batching import NotYet as NotYet
    from dotflow.toolkit.codec import decode as decode
    from dotflow.toolkit.codec import encode as encode
    from dotflow.toolkit.envelope import Header as Header
    from dotflow.toolkit.envelope import check_serializer as check_serializer
    from dotflow.toolkit.envelope import header_of as header_of
    from dotflow.toolkit.envelope import name_of as name_of
    from dotflow.toolkit.envelope import name_start_of as name_start_of
    from dotflow.toolkit.envelope import seal as seal
    from dotflow.toolkit.envelope import unseal as unseal
    from dotflow.toolkit.extras import needing as needing
    from dotflow.toolkit.label_sets import OVERFLOW as OVERFLOW
    from dotflow.toolkit.label_sets import ActiveRuns as ActiveRuns
    from dotflow.toolkit.label_sets import LabelSets as LabelSets
    from dotflow.toolkit.label_sets import check_max_series as check_max_series
    from dotflow.toolkit.label_sets import checked_buckets as checked_buckets
    from dotflow.toolkit.log_fields import Fields as Fields
    from dotflow.toolkit.log_fields import fields_of as fields_of
    from dotflow.toolkit.log_fields import ids_of as ids_of
    from dotflow.toolkit.notification import Notification as Notification
    from dotflow.toolkit.notification import TraceUrl as TraceUrl
    from dotflow.toolkit.notification import statuses_of as statuses_of
    from dotflow.toolkit.notification import summary as summary
    from dotflow.toolkit.redaction import redacted as redacted
    from dotflow.toolkit.redaction import storage_error as storage_error
    from dotflow.toolkit.text import is_text as is_text
    from dotflow.toolkit.text import shorten as shorten
    from dotflow.toolkit.text import storable as storable
else:

    def __getattr__(name: str) -> object:
        if name not in _DOOR:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_DOOR)}")
        return getattr(importlib.import_module(f"{__name__}.{_DOOR[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(_DOOR)
