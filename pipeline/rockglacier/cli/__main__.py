"""``python -m rockglacier.cli``."""

from rockglacier.cli.app import main

if __name__ == "__main__":
    main()
