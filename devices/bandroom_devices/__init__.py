"""Device kit: join a room, keep time, follow the beat, play and hear notes."""
