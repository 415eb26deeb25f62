"""A browser's User-Agent in plain words: "Firefox on Windows".

The header is a free text that browsers fill with each other's names, so the first rule that fits
counts. It is enough to tell one's phone from one's computer; for more there are libraries.
"""

import re

UNKNOWN = "Unknown browser"

_BROWSERS = {
    # Every browser but Firefox also calls itself Safari, and most of those Chrome.
    "Edge": r"\bEdg(e|A|iOS)?/",
    "Opera": r"\b(OPR|OPT|Opera)/",
    "Samsung Internet": r"\bSamsungBrowser/",
    "Firefox": r"\b(Firefox|FxiOS)/",
    "Chrome": r"\b(Chrome|Chromium|HeadlessChrome|CriOS)/",
    "Safari": r"\bSafari/",
}
_SYSTEMS = {
    "iPhone": r"\biPhone\b",
    "iPad": r"\biPad\b",
    "Android": r"\bAndroid\b",
    "Windows": r"\bWindows\b",
    "ChromeOS": r"\bCrOS\b",
    "macOS": r"\bMac OS X\b",
    "Linux": r"\bLinux\b",
}


def in_words(user_agent: str) -> str:
    """The browser and the system it runs on, as far as they are known."""
    browser, system = _first(_BROWSERS, user_agent), _first(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or (f"A browser on {system}" if system else UNKNOWN)


def _first(patterns: dict[str, str], user_agent: str) -> str:
    return next((name for name, each in patterns.items() if re.search(each, user_agent)), "")
