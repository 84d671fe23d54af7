"""The demo: a class of eight instruments plays a round in time, and an observer measures how well."""
