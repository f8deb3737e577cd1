"""Right-hand sides known from physics; every system in these files is found by the registry."""
