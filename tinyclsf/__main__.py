"""`python -m tinyclsf`: the command line, for interpreters and launchers that start modules."""

import sys

from tinyclsf.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
