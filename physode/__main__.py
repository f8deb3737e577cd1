"""``python -m physode``: the command line without its console script."""

from __future__ import annotations

from physode.cli.main import main

if __name__ == "__main__":
    main()
