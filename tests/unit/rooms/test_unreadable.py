"""What is no command is answered: to its sender, with its id where there is one, and not often."""

from __future__ import annotations

import pytest
from bandroom.rooms.unreadable import BURST, Unreadable
from bandroom.wire.message import BadMessage
from bandroom.wire.messages import Command, Reply

CONTROL = "tenant/lincoln/music_room/MUSIC-1234/control/t-smith"


def reply_to(payload: bytes, unreadable: Unreadable | None = None, now_s: float = 0.0) -> Reply | None:
    """What is answered to a payload that is no command."""
    with pytest.raises(BadMessage) as error:
        Command.decode(payload)
    answer = (unreadable or Unreadable()).answer(CONTROL, payload, str(error.value), now_s)
    if answer is None:
        return None
    assert answer.topic.name == f"{CONTROL}/reply"
    assert isinstance(answer.message, Reply)
    return answer.message


@pytest.mark.rule("CMD-6")
@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b'{"id":"a1","cmd":"fly"}', "a1"),
        (b'{"id":"a1","cmd":"set_tempo"}', "a1"),
        (b'{"id":"a1","cmd":"set_tempo","bpm":NaN}', "a1"),
        (b'{"id":7,"cmd":"stop"}', None),
        (b'{"id":"with blank","cmd":"stop"}', None),
        (b'{"cmd":"stop"}', None),
        (b'{"id":"' + b"x" * 65 + b'","cmd":"stop"}', None),
        (b"", None),
        (b"[]", None),
        (b"\xff\x00", None),
        (b"[" * 5000, None),
    ],
)
def test_the_answer_says_what_is_wrong(payload: bytes, named: str | None) -> None:
    """`bad_request`, with words; the id is the command's, or missing where none can be read."""
    reply = reply_to(payload)
    assert reply is not None
    assert (reply.id, reply.ok, reply.err) == (named, False, "bad_request")
    assert reply.text
    assert Reply.decode(reply.encode()) == reply
    assert (b'"id"' in reply.encode()) == (named is not None)


@pytest.mark.rule("CMD-6")
def test_answers_are_bounded_by_sender() -> None:
    """Ten at once and one a second; another sender has answers of their own; other topics have none."""
    unreadable = Unreadable()
    answered = [reply_to(b"{", unreadable, 0.0) for _ in range(30)]
    assert [reply is not None for reply in answered] == [True] * BURST + [False] * (30 - BURST)
    assert unreadable.answer(CONTROL.replace("t-smith", "t-jones"), b"{", "no", 0.0) is not None
    assert reply_to(b"{", unreadable, 0.9) is None
    assert reply_to(b"{", unreadable, 2.0) is not None
    for name in ("tenant/lincoln/presence/s-ann", CONTROL + "/reply", "tenant/#", ""):
        assert Unreadable().answer(name, b"{", "no", 0.0) is None
    for i in range(3000):
        unreadable.answer(CONTROL.replace("t-smith", f"t-{i}"), b"{", "no", 3.0)
    assert len(unreadable._left) <= 1000
