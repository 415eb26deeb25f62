"""Keys from a function: asked once, by one thread, and what is said when it fails."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from spotify_auth import key_source
from spotify_auth.encryption import Cipher, cipher
from tests.support.keys import from_a_kms

(KEY,) = from_a_kms()
PATH = "tests.support.keys.from_a_kms"


class Kms:
    """A function that counts its calls, and fails for as long as it is told to."""

    def __init__(self, keys: object, *, fails: bool = False) -> None:
        self.keys, self.fails, self.calls = keys, fails, 0

    def __call__(self) -> object:
        self.calls += 1
        sleep(0.02)
        if self.fails:
            raise ConnectionError("the password of the KMS is 1234")
        return self.keys


@pytest.mark.parametrize("keys", [[KEY], (KEY,), "YSBrZXkgb2YgYSBLTVMsIDMyIGJ5dGVzIG9mIGl0Li4="])
def test_it_may_return_what_the_setting_may_hold(settings: Settings, keys: object) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = Kms(keys)

    assert cipher().current_head == Cipher([KEY]).current_head


@pytest.mark.parametrize("source", [from_a_kms, PATH])
def test_it_is_the_function_or_its_path(
    settings: Settings, source: Callable[[], list[bytes]] | str
) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = source

    sealed = cipher().encrypt("x", place="here")

    assert Cipher([KEY]).decrypt(sealed, place="here") == "x"
    assert run_checks() == []


def test_it_is_called_once_however_many_threads_ask(settings: Settings) -> None:
    kms = settings.TOKEN_ENCRYPTION_KEYS = Kms([KEY])

    with ThreadPoolExecutor(8) as threads:
        heads = {each.current_head for each in threads.map(lambda _: cipher(), range(16))}

    assert heads == {Cipher([KEY]).current_head}
    assert kms.calls == 1


def test_a_failure_is_said_without_its_words_and_asked_again_later(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = settings.TOKEN_ENCRYPTION_KEYS = Kms([KEY], fails=True)

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(ImproperlyConfigured, match="failed with ConnectionError") as raised:
                cipher()

    assert kms.calls == 1  # it is not asked for each token
    assert caplog.messages == ["keys_not_available source=the function reason=ConnectionError"]
    assert "1234" not in str(raised.value)

    monkeypatch.setattr(key_source, "RETRY_SECONDS", 0.0)
    with pytest.raises(ImproperlyConfigured):
        cipher()
    assert kms.calls == 2
    kms.fails = False
    assert cipher().current_head == Cipher([KEY]).current_head
    # Said when it began, and when it was over.
    assert [line.partition(" ")[0] for line in caplog.messages] == [
        "keys_not_available",
        "keys_available",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Kms([]), "there is no key"),
        (Kms([b"short"]), "32 bytes"),
        (Kms(None), "failed with TypeError"),
        (Kms([KEY], fails=True), "failed with ConnectionError"),
        ("nowhere.at_all", "nowhere.at_all, which should return the keys, failed"),
    ],
    ids=["none", "short", "nothing", "away", "no such function"],
)
def test_the_system_check_says_what_is_wrong(settings: Settings, source: object, said: str) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = source

    (error,) = run_checks()

    assert error.id == "spotify_auth.E003"
    assert said in error.msg
