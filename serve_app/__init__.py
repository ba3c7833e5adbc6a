"""How programs and people ask: the HTTP API on Ray Serve."""
