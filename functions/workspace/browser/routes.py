"""The browser's routes."""

import re

from browser import profile
from browser.devtools import ask, relay
from problem import Problem

TARGET = re.compile(r"[\w-]{1,64}", re.ASCII)


def routes(browser):
    def start(_call):
        with browser.use():
            return browser.show()

    def said(path):
        def handler(_call):
            with browser.use() as run:
                return ask(run, path)

        return handler

    def automate(call):
        with browser.use() as run:
            return relay(call, run, run.path)

    def automate_page(call):
        target = call.params["targetId"]
        if not TARGET.fullmatch(target):
            raise Problem("target_not_found", detail="The browser has no such page")
        with browser.use() as run:
            return relay(call, run, f"/devtools/page/{target}")

    return {
        "getBrowser": lambda _call: browser.show(),
        "startBrowser": start,
        "stopBrowser": lambda _call: browser.stop(),
        "readDevtoolsVersion": said("/json/version"),
        "listDevtoolsTargets": said("/json/list"),
        "listDevtools": said("/json/list"),
        "automateBrowser": automate,
        "automatePage": automate_page,
        **profile.routes(browser),
    }
