"""Tells Telegram, Discord, e-mail, PagerDuty and a hundred more how tasks stand: `Config(notify=NotifyApprise(urls))`.

Here: how a notification becomes apprise's message, and how its services are called within a deadline. Not here: what a
notification says and when several are sent as one (`dotflow.toolkit`). Never imports the engine or another provider.
"""

from dotflow.toolkit.extras import needing

with needing("NotifyApprise", "apprise"):
    from dotflow_apprise.provider import NotifyApprise
    from dotflow_apprise.service import AppriseError

__all__ = ["AppriseError", "NotifyApprise"]
