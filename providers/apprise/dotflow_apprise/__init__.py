"""Tells Telegram, Discord, e-mail, PagerDuty and a hundred more how tasks stand: `Config(notify=NotifyApprise(urls))`."""

from dotflow.toolkit.extras import needing

with needing("NotifyApprise", "apprise"):
    from dotflow_apprise.provider import NotifyApprise
    from dotflow_apprise.service import AppriseError

__all__ = ["AppriseError", "NotifyApprise"]
