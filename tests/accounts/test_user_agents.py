"""Browsers in plain words."""

import pytest

from accounts.user_agents import in_words

_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
_WIN = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
_IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (f"{_WIN} Chrome/140.0.0.0 Safari/537.36", "Chrome on Windows"),
        (f"{_WIN} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        (f"{_WIN} Chrome/140.0.0.0 Safari/537.36 OPR/120.0.0.0", "Opera on Windows"),
        (f"{_MAC} Version/18.5 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", "Firefox on Linux"),
        (f"{_IPHONE} Version/18.5 Safari/604.1", "Safari on iPhone"),
        (f"{_IPHONE} CriOS/140.0 Safari/604.1", "Chrome on iPhone"),
        (f"{_IPHONE} FxiOS/140.0 Safari/604.1", "Firefox on iPhone"),
        (
            "Mozilla/5.0 (Linux; Android 15; SM-S931B) AppleWebKit/537.36 (KHTML, like Gecko) "
            "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/140.0.0.0", "Chrome on ChromeOS"),
        ("Dalvik/2.1.0 (Linux; U; Android 15)", "A browser on Android"),
        ("curl/8.14.1", "Unknown browser"),
        ("", "Unknown browser"),
        ("<script>alert(1)</script>", "Unknown browser"),
    ],
)
def test_names_the_browser_and_the_system(user_agent: str, words: str) -> None:
    assert in_words(user_agent) == words
