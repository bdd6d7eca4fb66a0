"""`python -m subgate`: the same as `subgate`."""

import os
import sys

from subgate import find_program

program = find_program()
# In the place of this process: signals and the exit code are the program's own.
os.execv(program, [program, *sys.argv[1:]])
