"""Tells a Slack channel how tasks stand: `Config(notify=NotifySlack(webhook_url=...))`.

Here: how a notification becomes a message of Slack, and one bounded POST. Not here: what a notification says and when
several are sent as one (`dotflow.toolkit`). Never imports the engine or another provider.
"""

from dotflow_slack.provider import NotifySlack
from dotflow_slack.webhook import SlackError

__all__ = ["NotifySlack", "SlackError"]
