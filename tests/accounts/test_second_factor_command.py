"""`manage.py admin_second_factor`, in a terminal as a person has it."""

import base64
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import second_factor
from accounts.models import User
from dev.process import ROOT
from tests.support.processes import service_environment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "admin_second_factor", *arguments]


def environment() -> dict[str, str]:
    return service_environment(spotify_url="http://127.0.0.1:9", redis_url=settings.REDIS_URL)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command without a terminal."""
    return subprocess.run(
        command(*arguments),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def in_a_terminal(username: str, answer: Callable[[str], str]) -> tuple[int, str]:
    """The command's return code and all that it showed; it is answered each question."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(username), env=environment(), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, answered = "", 0
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        shown += piece.decode(errors="replace")
        while shown.count("shows now: ") > answered:
            answered += 1
            os.write(ours, f"{answer(shown)}\n".encode())
    os.close(ours)
    return process.wait(timeout=30), shown


def code_shown(shown: str) -> str:
    """What an app shows that has scanned the code."""
    address = re.search(r"otpauth://\S+", shown)
    assert address
    (secret,) = parse_qs(urlsplit(address[0]).query)["secret"]
    totp = TOTP(base64.b32decode(secret))
    totp.time = time.time()
    return f"{totp.token():06}"


def test_an_administrator_gets_an_app_and_backup_codes() -> None:
    root = User.objects.create_superuser("root")
    old = second_factor.new_authenticator(root)
    second_factor.replace(root, old)
    used: list[str] = []

    def answer(shown: str) -> str:
        used.append("000000" if not used else code_shown(shown))
        return used[-1]

    code, shown = in_a_terminal("root", answer)

    assert code == 0, shown
    assert "\u2588" in shown or "\u2584" in shown  # the QR code
    assert "That is not the code" in shown
    device = TOTPDevice.objects.get()
    assert device.key != old.key
    backup = set(StaticToken.objects.values_list("token", flat=True))
    assert len(backup) == 10
    assert all(one in shown for one in backup)
    assert f"second_factor_set user_id={root.pk}" in shown
    # The code that was typed is spent.
    assert not second_factor.verify(root, used[-1])
    assert second_factor.verify(root, backup.pop())


def test_nothing_is_stored_without_the_right_code() -> None:
    User.objects.create_superuser("root")

    code, shown = in_a_terminal("root", lambda _: "000000")

    assert code != 0
    assert "Nothing was stored" in shown
    assert not TOTPDevice.objects.exists()


def test_a_secret_is_shown_in_a_terminal_only() -> None:
    User.objects.create_superuser("root")

    ended = run("root")

    assert ended.returncode != 0
    assert "run it in a terminal" in ended.stderr
    assert "otpauth" not in ended.stdout + ended.stderr
    assert not TOTPDevice.objects.exists()


@pytest.mark.parametrize("name", ["nobody", "listener"])
def test_only_administrators_have_one(name: str) -> None:
    User.objects.create_user("listener")

    ended = run(name)

    assert "No administrator has this username" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_lost_phone_is_removed() -> None:
    root = User.objects.create_superuser("root")
    second_factor.replace(root, second_factor.new_authenticator(root))

    ended = run("root", "--remove")

    assert "2 devices were removed" in ended.stdout
    wait_for(lambda: not TOTPDevice.objects.exists(), what="the device to be gone", seconds=1)
