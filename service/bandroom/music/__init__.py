"""Time itself: tempo maps, meters, edits, clock filters and the device's scheduler.

Pure: nothing here reads a clock, sleeps, or touches the network. Server time is always an argument, in
microseconds (`*_us`); musical position is in ticks, 960 a quarter.
"""
