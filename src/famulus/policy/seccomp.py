"""The system calls that a contained command does not get, as a BPF program for the kernel.

Namespaces already hide what these calls would reach; the filter is for the day one of them has
a hole. A refused call fails with EPERM. The numbers are those of the kernel's own tables
(`arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h`).
"""

import errno
import platform
import struct

# The number on x86_64, and on aarch64.
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "setns": (308, 268),
    "unshare": (272, 97),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
}
# The column above, the kernel's AUDIT_ARCH, and the numbers of ioctl and socket.
_MACHINES = {
    "x86_64": (0, 0xC000003E, 16, 41),
    "aarch64": (1, 0xC00000B7, 29, 198),
}
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# Sockets between processes and to its own loopback work; AF_VSOCK, for one, ignores namespaces.
_FAMILIES = (1, 2, 10, 16)

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
_X32 = 0x40000000


def seccomp_filter(machine: str = platform.machine()) -> bytes:
    """The program for `machine`, or nothing where its numbers are not known."""
    if machine not in _MACHINES:
        return b""
    index, arch, ioctl, socket = _MACHINES[machine]
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in _REFUSED.values():
        program += [(_EQUAL, 0, 1, numbers[index]), (_RETURN, 0, 0, _REFUSE)]
    # Only the low half of the second argument: the kernel looks at no more of an ioctl.
    program += [
        (_EQUAL, 0, 5, ioctl),
        (_LOAD, 0, 0, _SECOND),
        (_EQUAL, 1, 0, _TIOCSTI),
        (_EQUAL, 0, 1, _TIOCLINUX),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 2 + len(_FAMILIES), socket),
        (_LOAD, 0, 0, _FIRST),
    ]
    program += [(_EQUAL, len(_FAMILIES) - n, 0, f) for n, f in enumerate(_FAMILIES)]
    program += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
