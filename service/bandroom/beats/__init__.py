"""Beats on time: the scheduling engine, and the worker process that it runs in."""
