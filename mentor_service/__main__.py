"""``python -m mentor_service serve``."""

from __future__ import annotations

from mentor_service.cli import main

if __name__ == "__main__":
    main()
