"""``python -m lmsys_rs`` is the command ``lmsys``."""

from lmsys_rs.cli import main

if __name__ == "__main__":
    main()
