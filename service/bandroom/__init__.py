"""bandroom: a shared beat for a classroom of instruments, over MQTT."""
