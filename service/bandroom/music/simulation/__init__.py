"""Simulated links, clocks and devices, seeded: what a filter or a scheduler does there, without waiting."""
