# Run by MicroPython's unix port: a board without a network, whose clock jumps on as one does that slept. Arguments: the
# folder of the package, by how many µs the clock jumps after two beats (0: not at all), and "clock" or "offset":
# whether it is local time that goes on, or server time that turns out to be elsewhere.
# Prints one JSON line: beats before and after as [n, pos, by how many µs late].
import asyncio
import json
import sys

sys.path.insert(0, sys.argv[1])
JUMP = int(sys.argv[2])
WHAT = sys.argv[3]

from bandroom.device import Device  # noqa: E402
from bandroom.tempo_map import TempoMap  # noqa: E402

OFFSET = 1763800000000000
BEAT_US = 150000


# Moved by hand: a little by each look at it, and by each wait.
class Clock:
    def __init__(self):
        self.now = 0

    def us(self):
        self.now += 5
        return self.now

    async def sleep_ms(self, ms):
        self.now += ms * 1000
        await asyncio.sleep(0)


async def main():
    clock = Clock()
    asyncio.sleep_ms = clock.sleep_ms
    device = Device("nowhere", 1, "t/d-board/x", "", clock=clock)
    device._time.steer(0, OFFSET, 0.0, 100, False)
    grid = {"k": 0, "t": OFFSET + 50000, "uq": BEAT_US}
    device.map = TempoMap({"rev": 1, "seg": [grid], "met": [{"n": 0, "k": 0, "bar": 1, "num": 4, "den": 4, "q": 960}]})
    said = []
    for i in range(8):
        if i == 2 and WHAT == "clock":
            clock.now += JUMP
        elif i == 2:
            now = clock.us()
            device._resting = device._time.steer(now, OFFSET + JUMP, 0.0, 100, True) or device._resting
        beat = await device.beat()
        said.append([beat[0], beat[2], device.now() - beat[4]])
    print(json.dumps({"before": said[:2], "after": said[2:]}))


asyncio.run(main())
