"""Side-by-side timings of physode and its peers: ``make bench``, ``python -m benchmarks CASE``."""
