"""Runs a command under the system call rules of a systemd unit, without systemd (Linux, x86-64).

What systemd does itself with SystemCallFilter=, MemoryDenyWriteExecute= and RestrictAddressFamilies= is done here with
the same means: a seccomp filter, and ``no_new_privs``. ``systemd-analyze`` says what the groups of calls hold.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
ALLOW, EPERM = 0x7FFF0000, 0x00050001
LOAD, EQUAL, SET, GIVE = 0x20, 0x15, 0x45, 0x06  # BPF: load a word; equal?; any bit set?; give this verdict
NUMBER_AT, ARGUMENT_AT = 0, 16
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
Step = tuple[int, int, int, int]


def values(unit: str, key: str) -> list[str]:
    """Every value a unit gives a key."""
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


@functools.cache
def groups() -> dict[str, list[str]]:
    """What each of systemd's groups names: calls, and other groups."""
    said = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in said.stdout.splitlines():
        name = line.strip()
        if line.startswith("@"):
            found[name] = names = []
        elif not name:
            names = []  # what follows the groups, and belongs to none, ends here
        elif not name.startswith("#"):
            names.append(name)
    return found


def calls_of(group: str) -> set[str]:
    """The calls a group of systemd's holds, groups inside it included."""
    if not group.startswith("@"):
        return {group}
    return {call for name in groups()[group] for call in calls_of(name)}


def allowed(unit: str) -> set[str]:
    """What SystemCallFilter= leaves: the lists are applied one after the other."""
    left: set[str] = set()
    for value in values(unit, "SystemCallFilter"):
        named = {call for group in value.lstrip("~").split() for call in calls_of(group)}
        left = left - named if value.startswith("~") else left | named
    return left | calls_of("@default")  # systemd adds these to every list of allowed calls


def program(unit: str) -> list[Step]:
    """The filter: forbidden uses of allowed calls first, then the list."""
    number = {name: int(n) for name, n in re.findall(r"#define __NR_(\w+) (\d+)", NUMBERS.read_text())}

    def when(call: str, argument: int, *checks: Step) -> list[Step]:
        """Refuse a call whose argument passes every check; each names how far to jump when it does not."""
        load = (LOAD, 0, 0, ARGUMENT_AT + 8 * argument)
        body = [load, *checks, (GIVE, 0, 0, EPERM), (LOAD, 0, 0, NUMBER_AT)]
        return [(EQUAL, 0, len(body), number[call]), *body]

    steps: list[Step] = [(LOAD, 0, 0, NUMBER_AT)]
    if values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        steps += when("mmap", 2, (SET, 0, 2, PROT_WRITE), (SET, 0, 1, PROT_EXEC))
        steps += when("mprotect", 2, (SET, 0, 1, PROT_EXEC))
        steps += when("pkey_mprotect", 2, (SET, 0, 1, PROT_EXEC))
        steps += when("shmat", 2, (SET, 0, 1, SHM_EXEC))
    families = [int(getattr(socket, name)) for name in " ".join(values(unit, "RestrictAddressFamilies")).split()]
    if families:
        skips: list[Step] = [(EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
        steps += when("socket", 0, *skips)
    for call in sorted(allowed(unit) & number.keys()):
        steps += [(EQUAL, 0, 1, number[call]), (GIVE, 0, 0, ALLOW)]
    return [*steps, (GIVE, 0, 0, EPERM)]


def confine(unit: str) -> None:
    """From now on, this process and its children live under the unit's rules."""
    steps = program(unit)
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code)
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0)):
        if libc.prctl(*arguments):
            sys.exit(f"CAN'T CONFINE: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text("utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
