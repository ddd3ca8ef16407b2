"""Runs a command and prints what it cost: CPU seconds, seconds on the clock, peak memory in MiB.

A process counts the memory of the one that it was started from as its own. So this is as small as Python can be: run it
with `-I -S`, and let it import nothing more. Its own 8 MiB are the least that it can tell.
"""

import os
import sys
import time

start = time.monotonic()
nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[nowhere])
_, status, usage = os.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
