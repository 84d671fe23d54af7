"""The web door: HTTP API, the tunnel to the broker, and the pages."""
