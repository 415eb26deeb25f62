"""The two worlds of the sandbox: what becomes of a refresh token at a refresh."""

from pathlib import Path

import pytest

from spotify_auth.sandbox.worlds import World
from tests.support.sandbox_client import Sandbox, SandboxError


def test_in_the_rotating_world_the_old_refresh_token_dies_at_once(sandbox: Sandbox) -> None:
    sandbox.reset(World.ROTATING)
    first = sandbox.connect(["user-1"])["user-1"]["refresh_token"]
    second = sandbox.refresh(first).json()["refresh_token"]

    assert second != first
    assert sandbox.refresh(first).json()["error"] == "invalid_grant"
    assert sandbox.refresh(second).status_code == 200
    assert sandbox.stats("user-1")["reuses_of_dead_token"] == 1


def test_in_the_world_of_2026_the_first_refresh_token_goes_on(sandbox: Sandbox) -> None:
    sandbox.reset(World.SPOTIFY_2026)
    first = sandbox.connect(["user-1"])["user-1"]
    answers = [sandbox.refresh(first["refresh_token"]) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert all("refresh_token" not in answer.json() for answer in answers)
    assert len({answer.json()["access_token"] for answer in answers}) == 3
    assert sandbox.stats("user-1")["reuses_of_dead_token"] == 0


@pytest.mark.parametrize("world", World, ids=str)
def test_in_both_worlds_six_months_end_a_refresh_token(sandbox: Sandbox, world: World) -> None:
    sandbox.reset(world)
    tokens = sandbox.connect(["user-1"])["user-1"]
    refreshed = sandbox.refresh(tokens["refresh_token"]).json()
    sandbox.expire_refresh_token("user-1")

    newest = refreshed.get("refresh_token", tokens["refresh_token"])
    assert sandbox.refresh(newest).json()["error_description"] == "Refresh token expired"


@pytest.mark.parametrize("world", World, ids=str)
def test_in_both_worlds_an_account_has_an_account_id(sandbox: Sandbox, world: World) -> None:
    sandbox.reset(world)
    tokens = sandbox.connect(["user-1"])["user-1"]

    profile = sandbox.get("/v1/me", tokens["access_token"]).json()
    assert profile["account_id"] == tokens["account_id"] != profile["id"]


@pytest.mark.parametrize("world", World, ids=str)
def test_the_command_line_chooses_and_a_reset_comes_back_to_it(world: World) -> None:
    (other,) = set(World) - {world}
    with Sandbox(world=world) as sandbox:
        assert sandbox.stats()["world"] == world
        sandbox.reset(other)
        assert sandbox.stats()["world"] == other
        sandbox.reset()
        assert sandbox.stats()["world"] == world


def test_a_dead_refresh_token_that_comes_back_revokes_the_grant_if_so_chosen() -> None:
    with Sandbox(options=["--reuse-revokes-grant", "true"]) as sandbox:
        first = sandbox.connect(["user-1"])["user-1"]["refresh_token"]
        second = sandbox.refresh(first).json()
        sandbox.refresh(first)

        assert sandbox.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
        assert sandbox.get("/v1/me", second["access_token"]).status_code == 401


@pytest.mark.parametrize(("before", "after"), [tuple(World), tuple(World)[::-1]], ids=str)
def test_grants_outlive_a_change_of_the_world(tmp_path: Path, before: World, after: World) -> None:
    options = ["--memory", str(tmp_path / "memory.json")]
    with Sandbox(world=before, options=options) as sandbox:
        first = sandbox.connect(["user-1"])["user-1"]["refresh_token"]
        newest = sandbox.refresh(first).json().get("refresh_token", first)

    with Sandbox(world=after, options=options) as sandbox:
        answer = sandbox.refresh(newest).json()
        assert ("refresh_token" in answer) is after.rotates
        assert sandbox.refresh(answer.get("refresh_token", newest)).status_code == 200


def test_a_world_that_it_does_not_know_is_said(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="'mars' is no world of the sandbox: say rotating or"):
        sandbox._control("POST", "/__reset", {"world": "mars"})
    with pytest.raises(SandboxError, match='"world" must be the name of a world'):
        sandbox._control("POST", "/__reset", {"world": 2026})
    with pytest.raises(SandboxError, match="unknown parameters: word"):
        sandbox._control("POST", "/__reset", {"word": "rotating"})
