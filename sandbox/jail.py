"""All layers of isolation in their order: what the server enters once, and what each child adds.

A layer that the machine does not give is reported with the kernel's reason, never skipped in silence; the
host decides whether what is left is enough. `without` names layers to leave out, for tests that must see an
attack succeed and for measuring what a layer costs: an argument of the server, out of a program's reach.
"""

import child
import landlock
import lifeline
import limits
import namespaces
import privileges
import seccomp

OPTIONAL = ("capabilities", "landlock", "namespaces", "rlimits", "root", "seccomp", "user")


class Jail:
    """`uid` is the user for children, or 0 to keep the server's. `active` and `missing` map a layer's name to
    a detail or to the reason why it is not there."""

    def __init__(self, uid, without=()):
        unknown = sorted(set(without) - set(OPTIONAL))
        if unknown:
            raise ValueError(f"no layers {', '.join(unknown)}; there are {', '.join(OPTIONAL)}")
        self.active, self.missing = {}, dict.fromkeys(without, "switched off")
        self._uid = uid

    def enter(self):
        """Confine the server for good; returns what confines a child (see child.py). Raises OSError for what
        every Linux has."""
        self._try("lifeline", lifeline.hold_to_host)
        privileges.no_new_privileges()
        self.active["no_new_privs"] = "set"
        self.active["limits"] = "CPU time, wall time, address space"
        self._try("rlimits", limits.confine_server)
        standing = self._try("root", namespaces.enter_removed_directory)
        self._try("namespaces", namespaces.unshare, self._uid == 0)
        if standing:
            self._try("root", namespaces.make_root)
        if not self._try("user", privileges.leave_groups, self._uid):
            self._uid = 0
        self._try("capabilities", privileges.drop_capabilities, self._uid != 0)
        privileges.undumpable()
        self._try("landlock", landlock.deny_all)
        calls = seccomp.Filter()
        self._try("seccomp", calls.prove, child.fork)
        installed = calls.install if "seccomp" in self.active else None
        return child.confinement(self._uid, "rlimits" in self.active, installed)

    def _try(self, name, enter, *arguments):
        """Enter a layer that can be missing; whether it is there."""
        if self.missing.get(name) == "switched off":
            return False
        try:
            self.active[name] = enter(*arguments)
        except OSError as error:
            self.active.pop(name, None)
            self.missing[name] = error.strerror or str(error)
        return name in self.active
