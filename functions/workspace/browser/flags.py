"""How the browser is started: what it is, and what it leaves undone."""

from launch import HOME, base_environment

# The program itself: the script of its package reads settings that code could have written.
PROGRAM = "/usr/lib/chromium/chromium"
PROFILE = f"{HOME}/.browser"
DOWNLOADS = f"{HOME}/downloads"
# A browser without a network of its own has nobody to greet, tell or ask, whoever uses it.
SEEN = (
    "--ozone-platform=x11", "--lang=en-US",
    "--no-first-run", "--no-default-browser-check", "--no-service-autorun", "--no-pings", "--disable-sync", "--disable-default-apps",
    "--disable-background-networking", "--disable-component-update", "--disable-domain-reliability", "--disable-breakpad",
    "--disable-client-side-phishing-detection", "--disable-search-engine-choice-screen",
    "--disable-component-extensions-with-background-pages", "--disable-hang-monitor", "--disable-prompt-on-repost",
    "--disable-popup-blocking", "--disable-infobars", "--hide-crash-restore-bubble", "--disable-session-crashed-bubble",
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
    "--metrics-recording-only", "--password-store=basic", "--force-color-profile=srgb", "--disable-gpu",
    "--disable-features=Translate,MediaRouter,DialMediaRouteProvider,OptimizationHints,GlobalMediaControls,"
    "DestroyProfileOnBrowserClose,InterestFeedContentSuggestions,AutofillServerCommunication,LensOverlay,"
    # What drops down from the address bar would be pages of its own, which clients take for the user's.
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
)  # fmt: skip
FLAGS = (f"--user-data-dir={PROFILE}", "--remote-debugging-port=0", "--window-position=0,0", *SEEN)
FIRST_PAGE = "about:blank"


def command(size):
    width, height = size
    return [PROGRAM, *FLAGS, f"--window-size={width},{height}", FIRST_PAGE]


def variables(display, own):
    """Its variables: the sandbox's own among them, since a page may be printed, or spoken, in a language."""
    return {**base_environment(), **own, "DISPLAY": display, "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
