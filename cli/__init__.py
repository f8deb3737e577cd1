"""The command line; imported as `physode.cli`."""
