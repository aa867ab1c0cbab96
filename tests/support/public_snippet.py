"""The `Config` that the documentation shows, with the hosts of a test in place of those written there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "custom-providers.md"
SECRET = "/services/T0/B0/hushhushhush"

_WEBHOOK = "https://hooks.slack.com/services/T000/B000/XXXX"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippet(redis: int, slack: int, statsd: int, seconds: float = 3600) -> str:
    """The page's own statements, with these ports of the loopback. Datadog's agent comes from the environment."""
    (text,) = (block for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if "TracerDatadog()" in block)
    for written, here in {
        'StorageRedis(host="localhost")': f'StorageRedis(host="127.0.0.1", port={redis})',
        f'webhook_url="{_WEBHOOK}"': f'webhook_url="http://127.0.0.1:{slack}{SECRET}"',
        "SchedulerInterval(seconds=3600)": f"SchedulerInterval(seconds={seconds})",
        'MetricsStatsd(host="localhost")': f'MetricsStatsd(host="127.0.0.1", port={statsd})',
    }.items():
        assert text.count(written) == 1, written
        text = text.replace(written, here)
    return text
