"""Become another program: one that dies with its parent, and as another user where asked.

Run as a script, `launch.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT...]` (UID and GID empty: as the same user). It is
a program of its own, and not a `preexec_fn`, because code between fork and exec may deadlock in a parent that has
threads. The process id stays the same through the exec.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid, *program = sys.argv[1:]
    if uid:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("The process that started this one is gone.")
    try:
        os.execv(program[0], program)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"{program[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
