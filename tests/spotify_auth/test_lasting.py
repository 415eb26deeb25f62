"""News is what was not so before."""

from spotify_auth.lasting import Lasting


def test_a_failure_is_news_once_and_so_is_its_end() -> None:
    failure = Lasting()

    assert not failure.ends()
    assert [failure.begins() for _ in range(3)] == [True, False, False]
    assert [failure.ends() for _ in range(2)] == [True, False]
    assert failure.begins()
