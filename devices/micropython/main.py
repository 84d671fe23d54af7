# A drum on a board: the LED flashes on every beat, a button plays. Copy the folder `bandroom` to /lib, this file and a
# config.py to the board's root. config.py holds four lines of your own:
#   WIFI = ("name of the network", "its password")
#   BROKER = ("192.168.1.20", 1883)
#   USERNAME = "lincoln/d-drum-3/1"      # these two as `bandroom devices enroll` printed them
#   PASSWORD = "..."
import asyncio

import config
from bandroom.device import Device

NOTE = 38
LED = getattr(config, "LED", "LED")  # "LED" on a Pico W, a number (often 2) on an ESP32
BUTTON = getattr(config, "BUTTON", 14)  # from this pin to ground


def wifi():
    import network

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.config(pm=wlan.PM_NONE)  # a sleeping radio answers 60 to 1,000 ms late
    if not wlan.isconnected():
        wlan.connect(*config.WIFI)
    return wlan


async def flash(device, led):
    while True:
        n, bar, pos, bpm, t, d = await device.beat()
        led.on()
        await asyncio.sleep_ms(100 if pos == 1 else 40)
        led.off()


async def button(device, pin):
    down = False
    while True:
        if down != (pin.value() == 0):
            down = not down
            await (device.play(NOTE) if down else device.release(NOTE))
        await asyncio.sleep_ms(5)


async def main():
    from machine import Pin

    wlan = wifi()
    while not wlan.isconnected():
        await asyncio.sleep_ms(100)
    device = Device(*config.BROKER, config.USERNAME, config.PASSWORD, instrument="drums")
    await asyncio.gather(
        device.run(), flash(device, Pin(LED, Pin.OUT)), button(device, Pin(BUTTON, Pin.IN, Pin.PULL_UP))
    )


asyncio.run(main())
