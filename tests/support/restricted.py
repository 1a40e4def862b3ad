"""Run a program that may make only some system calls, and no memory that is written and executed.

`python restricted.py read,write,… PROGRAM ARGUMENT …`, by means of libseccomp, as systemd does it. It imports
nothing of ours, so that it runs in any folder.
"""

import ctypes
import os
import sys

# Of linux/prctl.h.
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
# Of seccomp.h.
SCMP_ACT_KILL_PROCESS, SCMP_ACT_ALLOW = 0x80000000, 0x7FFF0000


def restrict(calls: list[str]) -> None:
    """Refuse this process, and what it becomes, all other system calls, and memory to write and execute."""
    libc, filters = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2")
    for option in (PR_SET_NO_NEW_PRIVS, PR_SET_MDWE):
        if libc.prctl(option, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl {option} was refused")
    filters.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(filters.seccomp_init(ctypes.c_uint32(SCMP_ACT_KILL_PROCESS)))
    for name in calls:
        number = filters.seccomp_syscall_resolve_name(name.encode())
        # Negative: of other architectures.
        if number >= 0 and filters.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0):
            raise OSError(f"no rule for {name} can be made")
    if filters.seccomp_load(context):
        raise OSError("the filter of system calls cannot be loaded")


if __name__ == "__main__":
    names, *command = sys.argv[1:]
    restrict(names.split(","))
    os.execv(command[0], command)
