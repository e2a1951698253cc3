"""Cookies that last as long as the browser runs, which it writes nowhere: read before it ends, set again once another runs."""

from browser.conversation import Conversation

TEXTS = ("name", "value", "domain", "path", "sameSite", "priority", "sourceScheme")
FLAGS = ("secure", "httpOnly")


def session_cookies(conversation):
    """Those of the browser's own context."""
    said = conversation.ask("Storage.getCookies")
    cookies = said.get("cookies") if isinstance(said, dict) else None
    return [kept(one) for one in cookies or [] if isinstance(one, dict) and one.get("session") is True]


def set_cookies(run, cookies):
    """Sets each by itself: one that the browser does not take keeps no other from being set."""
    with Conversation(run) as conversation:
        for cookie in cookies:
            conversation.ask("Storage.setCookies", {"cookies": [settable(cookie)]})


def kept(cookie):
    """Of what is said of a cookie, that which makes it again; whoever said it may have said anything."""
    texts = {name: cookie[name] for name in TEXTS if isinstance(cookie.get(name), str)}
    flags = {name: cookie[name] for name in FLAGS if isinstance(cookie.get(name), bool)}
    port = {"sourcePort": cookie["sourcePort"]} if type(cookie.get("sourcePort")) is int else {}
    return {**texts, **flags, **port, **_partition(cookie.get("partitionKey"))}


def settable(cookie):
    """One of a single host is told apart by being set for an address, and for no domain."""
    domain = cookie.get("domain", "")
    if domain.startswith("."):
        return cookie
    scheme = "https" if cookie.get("secure") else "http"
    return {**{name: value for name, value in cookie.items() if name != "domain"}, "url": f"{scheme}://{domain}{cookie.get('path', '/')}"}


def _partition(key):
    if not isinstance(key, dict) or not isinstance(key.get("topLevelSite"), str):
        return {}
    return {"partitionKey": {"topLevelSite": key["topLevelSite"], "hasCrossSiteAncestor": key.get("hasCrossSiteAncestor") is True}}
