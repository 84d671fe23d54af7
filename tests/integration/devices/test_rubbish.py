"""A classmate who sends rubbish on topics that are theirs: nobody stumbles, and the next real note is heard."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiomqtt
import httpx
from bandroom_devices import Device

WITHIN_S = 20


def _rubbish(seed: int) -> list[bytes]:
    """Payloads that are no note and no MIDI message: random bytes, huge, deep, wrong types, out of range."""
    draw = random.Random(seed)
    texts = ('{"on":NaN}', '{"on":1e30}', '{"on":-1}', '{"on":"60"}', '{"on":60,"off":60}', '{"on":[[60]]}', "null", "")
    made = [text.encode() for text in texts]
    # All of it stays below a pupil's 32 kB at once: what is over that never gets through the broker.
    made += [b"[" * 2000, b'{"on":' * 300, b"x" * 4000, b"\x90\x3c", b"\xf0\x01\xf7", b"\x90\xff\x40"]
    return made + [draw.randbytes(draw.randrange(4, 60)) for _ in range(40)]


async def test_rubbish_from_a_classmate(school: Any, record_property: Any) -> None:
    """Each payload is dropped and counted by who hears it; a note after them all arrives, and the beat goes on."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    room = school.room(bpm=240)
    async with Device.join(school.stack.url, school.tenant, room) as hearer:
        await asyncio.wait_for(hearer.synced(), WITHIN_S)
        await hearer.start_hearing()
        # Listens from here on: what comes before the first `anext` of `hear` is heard by nobody.
        first = asyncio.create_task(anext(hearer.hear()))
        async with httpx.AsyncClient(timeout=WITHIN_S) as http:
            seat = (
                await http.post(f"{school.stack.url}/api/join", json={"tenant": school.tenant, "code": room})
            ).json()
        host, port = school.stack.mqtt
        topics = f"tenant/{school.tenant}/music_room/{room}"
        async with aiomqtt.Client(
            host, port, username=seat["username"], password=seat["token"], identifier=seat["client_id"]
        ) as bad:
            for payload in _rubbish(seed):
                for leaf in ("note", "midi"):
                    await bad.publish(f"{topics}/{leaf}/{seat['sub']}", payload)
                    await asyncio.sleep(0)
            await bad.publish(f"{topics}/note/{seat['sub']}", json.dumps({"on": 61}))
            async with asyncio.timeout(WITHIN_S):
                note = await first
                assert (note.player, note.note) == (seat["sub"], 61), f"seed {seed}: {note}"
                async for _ in hearer.beats():
                    break
