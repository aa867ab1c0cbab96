"""Queries of Grafana's Jaeger data source, which the SDK has no builder for.

https://grafana.com/docs/grafana/latest/datasources/jaeger/query-editor/
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

from dotflow.names import spans

__all__ = ["JAEGER", "JAEGER_UI", "Search", "Trace", "search_url"]

JAEGER: Final = DataSourceRef(type_val="jaeger", uid="${jaeger}")
JAEGER_UI: Final = "http://localhost:16686"


@dataclass(frozen=True)
class Query(Dataquery):
    """One query as the data source reads it."""

    fields: dict[str, object]

    def to_json(self) -> dict[str, object]:
        """Called by the SDK's encoder."""
        return self.fields

    def dataquery_type(self) -> Literal["jaeger"]:
        """The kind of data source."""
        return "jaeger"


class Search(Builder[Dataquery]):
    """Looks for traces, the newest first. `tags` are written as logfmt, such as `dotflow.result=failure`."""

    def __init__(self, operation: str, tags: str = "", *, limit: int = 20) -> None:
        self._operation = operation
        self._tags = tags
        self._limit = limit

    def build(self) -> Query:
        """The query."""
        return Query(
            {
                "refId": "A",
                "datasource": {"type": "jaeger", "uid": JAEGER.uid},
                "queryType": "search",
                "service": "$service",
                "operation": self._operation,
                "tags": self._tags,
                "limit": self._limit,
            }
        )


class Trace(Builder[Dataquery]):
    """One trace, by its id."""

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def build(self) -> Query:
        """The query."""
        return Query(
            {
                "refId": "A",
                "datasource": {"type": "jaeger", "uid": JAEGER.uid},
                "query": self._trace_id,
            }
        )


def search_url(*, failed: bool = False) -> str:
    """Jaeger's own search for the runs of the workflow, over the last hour."""
    url = f"{JAEGER_UI}/search?service=${{service}}&operation=workflow%20${{workflow}}&lookback=1h&limit=50"
    return f"{url}&tags={quote(json.dumps({spans.RESULT: 'failure'}))}" if failed else url
