"""`python -m tinyclsf`: the command line, for interpreters and launchers that start modules."""

import atexit
import os
import sys

from tinyclsf.cli.app import main
from tinyclsf.machine import launch

if __name__ == "__main__":
    code = main()
    if launch.processes() > 1:
        # All is done, and yet threads of gloo may abort the interpreter as it shuts down, which torchrun takes for a failure.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
