"""What a sandbox remembers from one start to the next."""

from pathlib import Path

from tests.support.sandbox_client import Sandbox


def test_refresh_tokens_outlive_a_restart_and_dead_ones_stay_dead(tmp_path: Path) -> None:
    options = ["--memory", str(tmp_path / "memory.json")]
    with Sandbox(options=options) as sandbox:
        first = sandbox.connect(["user-1"])["user-1"]
        second = sandbox.refresh(first["refresh_token"]).json()
        sandbox.connect(["user-2"])
        sandbox.revoke("user-2")

    with Sandbox(options=options) as sandbox:
        assert sandbox.get("/v1/me", second["access_token"]).status_code == 401
        assert sandbox.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
        third = sandbox.refresh(second["refresh_token"]).json()
        assert sandbox.get("/v1/me", third["access_token"]).ok

    assert (tmp_path / "memory.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"grants": [{}]')

    with Sandbox(options=["--memory", str(tmp_path / "memory.json")]) as sandbox:
        assert sandbox.stats()["totals"]["users"] == 0
