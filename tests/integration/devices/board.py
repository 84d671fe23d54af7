# Run by MicroPython's unix port: a board in a room. Reads one JSON line on stdin: path, host, port, username, password,
# beats, and ca (a file, DER) for TLS. Prints a JSON line for each beat, note heard and change of room.
import asyncio
import json
import sys

told = json.loads(sys.stdin.readline())
sys.path.insert(0, told["path"])

from bandroom.device import Device  # noqa: E402


def say(**what):
    print(json.dumps(what))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


def heard(player, message):
    say(kind="note", player=player, message=message)


def trusted():
    if "ca" not in told:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    with open(told["ca"], "rb") as file:
        context.load_verify_locations(cadata=file.read())
    return context


async def main():
    device = Device(
        told["host"], told["port"], told["username"], told["password"], on_note=heard, ssl=trusted(), instrument="bells"
    )
    running = asyncio.create_task(device.run())
    left = told["beats"]
    while left:
        n, bar, pos, bpm, t, d = await device.beat()
        late = device.now() - t
        sent = await device.play(36 if pos == 1 else 42)
        await asyncio.sleep_ms(30)
        await device.release(36 if pos == 1 else 42)
        say(
            kind="beat", room=device.room, n=n, pos=pos, t=t, bpm=bpm, late_us=late, sent=sent, connects=device.connects
        )
        left -= 1
    running.cancel()


asyncio.run(main())
