"""The live view's right to be there, over days."""

from bandroom.cli.errors import CliError
from bandroom.cli.watch import RENEW_S, FreshToken


def test_a_view_left_open_comes_back_with_a_token_of_its_own() -> None:
    """At first the first one serves; after hours another is asked for; where none can be had, the old one."""
    now_s, given, away = 0.0, ["second", "third"], False

    def mint() -> str:
        if away:
            raise CliError("nobody answers")
        return given.pop(0)

    token = FreshToken("first", mint, lambda: now_s)
    assert token() == "first"
    now_s = RENEW_S - 1
    assert token() == "first"
    now_s, away = RENEW_S, True
    assert token() == "first"
    away = False
    assert [token(), token()] == ["second", "second"]
    now_s = 2 * RENEW_S
    assert token() == "third"
