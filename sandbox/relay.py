"""In a container: one stream to the host on standard input and output, and behind it the fork servers.

The host cannot pass descriptors into a container, so what it does for local servers is done here: a socket a
job, its payload in, its answer out up to a cap, and the server's own word on how the child ended. Nothing is
judged here and no message of a server is read; both go to the host as they came. The relay is process 1 of the
container: when it ends, for whatever reason, the kernel ends everything else. It ends with the stream, and when
it has heard nothing for SILENCE seconds (the host sends a beat more often), so a container never outlives its
owner.

A frame, either way: u32 bytes after this head, u8 kind, u32 number of the server; little endian.
From the host: START JSON {argv, env} of a server, which finds its control socket as descriptor 3; JOB u32
bytes of the request, u64 cap, request, payload, run when the server's earlier ones have ended; CHILD u64 job:
kill the child if that is the job it runs (SIGALRM to the server); STOP: kill the server; BEAT. To the host:
HELLO JSON of facts, first of all; GREETING the server's first message; DATA part of a long answer; DONE u8
flooded, u16 bytes of the server's message, message, rest of the answer; LOST: the server ended; BEAT for a beat.
A DONE may wait for others while its server has more jobs here than answers that wait, HOLD seconds at most:
every write wakes the shim, the daemon and the host.
"""

import collections
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time

HEAD, JOB_HEAD, DONE_HEAD = struct.Struct("<IBI"), struct.Struct("<IQ"), struct.Struct("<BH")
START, JOB, CHILD, STOP, BEAT = range(5)
HELLO, GREETING, DATA, DONE, LOST = range(16, 21)
SILENCE = 60.0
QUICK = 0.05  # seconds; a child younger than this is not drained: most are gone by then
HOLD = 0.05  # seconds that an answer may wait for others
JOB_NUMBER = 8  # bytes at the start of a request
CHUNK = 1 << 16
MESSAGE = 1 << 16
CONTROL_FD = 3


class Server:
    """One fork server, the job that it has, if any, and those that wait for it to end."""

    def __init__(self, number, pid, control, lifeline):
        self.number, self.pid, self.control, self.lifeline = number, pid, control, lifeline
        self.greeted = self.waited = False
        self.job = None
        self.line = collections.deque()
        self.job_number = b""
        self.unheard = 0
        self.answer = bytearray()
        self.unsent = b""
        self.left = 0
        self.started = 0.0
        self.watched = self.flooded = False

    def launch(self, body):
        """Give a new child its socket. An OSError means that the server is gone."""
        size, cap = JOB_HEAD.unpack_from(body)
        view = memoryview(body)[JOB_HEAD.size :]
        request, payload = view[:size], view[size:]
        self.job_number = bytes(request[:JOB_NUMBER])
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.job, self.left, self.flooded, self.watched = ours, cap, False, False
        self.answer = bytearray()
        with theirs:
            self.unsent = payload[ours.send(payload) :]
            socket.send_fds(self.control, [request], [theirs.fileno()])
        self.started = time.monotonic()

    def signal(self, number):
        """Signal the server; False if it has been waited for, so that its number may be another's."""
        if not self.waited:
            os.kill(self.pid, number)
        return not self.waited

    def feed(self):
        """Send more of the payload."""
        try:
            self.unsent = self.unsent[self.job.send(self.unsent) :]
        except BlockingIOError:
            return
        except OSError:  # the child has closed its end; the server will say how it ended
            self.unsent = b""

    def drain(self, once):
        """Read what is there; False at the end of the stream or past the cap, where the child is killed."""
        while True:
            try:
                part = self.job.recv(CHUNK)
            except BlockingIOError:
                return True
            except OSError:  # closed with our data unread
                return False
            if not part:
                return False
            self.left -= len(part)
            if self.left < 0:
                self.flooded, self.answer = True, bytearray()
                self.signal(signal.SIGALRM)
                return False
            self.answer += part
            if once:
                return True


class Relay:
    """The loop over the stream, the control sockets, and the sockets of jobs that take longer."""

    def __init__(self):
        self.servers = {}
        self.by_fd = {}
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.urgent = False
        self.oldest = 0.0
        self.heard = time.monotonic()

    def run(self):
        """Serve until the stream ends or falls silent, then end every server."""
        self.say(HELLO, 0, json.dumps(facts()).encode())
        self.flush()
        try:
            self.serve()
        finally:
            for number in tuple(self.servers):
                self.end(number)

    def serve(self):
        """The loop."""
        while time.monotonic() - self.heard < SILENCE:
            quick = any(server.job and not server.watched for server in self.servers.values())
            wait = HOLD if self.outgoing else QUICK if quick else 1.0
            for fd, event in self.poll.poll(wait * 1000):
                if fd == 0:
                    if not self.hear():
                        return
                elif fd in self.by_fd:
                    server = self.by_fd[fd]
                    if fd == server.control.fileno():
                        self.on_control(server)
                    else:
                        self.on_job(server, event)
            if quick:
                self.on_time()
            if self.urgent or (self.outgoing and time.monotonic() - self.oldest >= HOLD):
                self.flush()

    def say(self, kind, number, *parts, urgent=True):
        """Queue one frame, to be written in this turn of the loop if it is urgent."""
        if not self.outgoing:
            self.oldest = time.monotonic()
        self.urgent |= urgent
        self.outgoing += HEAD.pack(sum(map(len, parts)), kind, number)
        for part in parts:
            self.outgoing += part

    def flush(self):
        """Write what is queued, waiting for a slow host."""
        view = memoryview(self.outgoing)
        while view:
            view = view[os.write(1, view) :]
        self.outgoing, self.urgent = bytearray(), False
        for server in self.servers.values():
            server.unheard = 0

    def hear(self):
        """Take in what the host sent; False at the end of the stream."""
        data = os.read(0, CHUNK)
        if not data:
            return False
        self.heard = time.monotonic()
        self.incoming += data
        at = 0
        while len(self.incoming) - at >= HEAD.size:
            size, kind, number = HEAD.unpack_from(self.incoming, at)
            if len(self.incoming) - at - HEAD.size < size:
                break
            at += HEAD.size
            self.obey(kind, number, bytes(self.incoming[at : at + size]))
            at += size
        del self.incoming[:at]
        return True

    def obey(self, kind, number, body):
        """One frame of the host. What names a server that is gone is dropped: LOST has been said."""
        if kind == BEAT:
            self.reap()
            self.say(BEAT, 0)
            return
        if kind == START:
            self.start(number, **json.loads(body))
        server = self.servers.get(number)
        if server is None:
            return
        if kind == JOB:
            server.line.append(body)
            if not server.job:
                self.launch(server)
        elif kind == CHILD:
            if server.job and body == server.job_number:
                server.signal(signal.SIGALRM)
        elif kind == STOP:
            self.end(number)

    def launch(self, server):
        """Start the job that has waited longest, if any."""
        if not server.line:
            return
        try:
            server.launch(server.line.popleft())
        except OSError:
            self.lose(server)
            return
        if server.unsent:
            self.watch(server)

    def start(self, number, argv, env):
        """A server with its control socket as descriptor 3 and, as standard input, a pipe that ends with us."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        files = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_WRONLY, 0) for fd in (1, 2)]
        end, lifeline = os.pipe()
        files.append((os.POSIX_SPAWN_DUP2, end, 0))
        with theirs:
            files.append((os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL_FD))
            pid = os.posix_spawn(sys.executable, [sys.executable, *argv], env, file_actions=files)
        os.close(end)
        ours.setblocking(False)
        server = self.servers[number] = Server(number, pid, ours, lifeline)
        self.by_fd[ours.fileno()] = server
        self.poll.register(ours, select.POLLIN)

    def on_control(self, server):
        """A server's word: its greeting, or how a child ended."""
        try:
            message = server.control.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self.lose(server)
        elif not server.greeted:
            server.greeted = True
            self.say(GREETING, server.number, message)
        elif server.job:
            if not server.flooded:
                server.drain(once=False)
            head, answer = DONE_HEAD.pack(server.flooded, len(message)), server.answer
            self.close_job(server)
            server.unheard += 1
            here = len(server.line)
            self.say(DONE, server.number, head, message, answer, urgent=here <= server.unheard)
            self.launch(server)

    def on_job(self, server, event):
        """A child that takes or gives more than fits a socket at once."""
        if event & select.POLLOUT and server.unsent:
            server.feed()
            if not server.unsent:
                self.poll.modify(server.job, select.POLLIN)
        if event & ~select.POLLOUT:
            if not server.drain(once=True):
                self.unwatch(server)
            elif len(server.answer) >= CHUNK:
                self.say(DATA, server.number, server.answer)
                server.answer = bytearray()

    def on_time(self):
        """Watch the sockets of children that are no longer young."""
        now = time.monotonic()
        for server in self.servers.values():
            if server.job and not server.watched and now - server.started > QUICK:
                self.watch(server)

    def watch(self, server):
        server.watched = True
        self.by_fd[server.job.fileno()] = server
        self.poll.register(server.job, select.POLLIN | (select.POLLOUT if server.unsent else 0))

    def unwatch(self, server):
        if self.by_fd.pop(server.job.fileno(), None):
            self.poll.unregister(server.job)

    def close_job(self, server):
        self.unwatch(server)
        server.job.close()
        server.job = None

    def lose(self, server):
        """Say that a server is gone."""
        self.end(server.number)
        self.say(LOST, server.number)

    def end(self, number):
        """Kill a server, and with it its child, and forget it; nothing if there is none."""
        server = self.servers.pop(number, None)
        if server is None:
            return
        if server.job:
            self.close_job(server)
        del self.by_fd[server.control.fileno()]
        self.poll.unregister(server.control)
        server.control.close()
        os.close(server.lifeline)
        if server.signal(signal.SIGKILL):
            os.waitpid(server.pid, 0)

    def reap(self):
        """Wait for what has ended: servers, and the children of killed servers, which process 1 inherits."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                for server in self.servers.values():
                    server.waited |= server.pid == pid


def facts():
    """What this process sees of its own confinement, and which guest code it is."""
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    here = os.path.dirname(os.path.abspath(__file__))
    digest = hashlib.sha256()
    for name in sorted(name for name in os.listdir(here) if name.endswith(".py")):
        with open(os.path.join(here, name), "rb") as file:
            data = file.read()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    with open("/proc/self/net/dev", encoding="ascii") as file:
        interfaces = [line.partition(":")[0].strip() for line in file.readlines()[2:]]
    return {
        "guest": digest.hexdigest(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "uid": os.getuid(),
        "capabilities": [int(status.get(name, "0"), 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")],
        "no_new_privs": status.get("NoNewPrivs"),
        "seccomp": status.get("Seccomp"),
        "interfaces": interfaces,
        "root_read_only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "writable": [
            path for path in ("/", "/tmp", "/dev/shm", "/dev", "/run", here) if os.access(path, os.W_OK)
        ],
    }


if __name__ == "__main__":
    Relay().run()
