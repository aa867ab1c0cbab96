"""Tells a Slack channel how tasks stand: `Config(notify=NotifySlack(webhook_url=...))`."""

from dotflow_slack.provider import NotifySlack
from dotflow_slack.webhook import SlackError

__all__ = ["NotifySlack", "SlackError"]
