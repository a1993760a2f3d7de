"""The contenders: how each proxy is started, found and ended.

Every proxy gets one worker thread and one core; the contenders with a 2 in their names get two
workers, and the core of the load as the second.
"""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import configs
from configs import ENTRIES, HOST

START_SECONDS = 10
END_SECONDS = 5
# Where systemd's dynamic users begin. The kernel counts pipe pages and locked memory per user:
# contenders of one user would take each other's pipes away, also while they are idle.
FIRST_USER_ID = 61184
# What a log on a full disk has: less than a second of lines.
SMALL_DISK = "64k"
# Which listeners a program has; nginx's stream module cannot send version 2.
OFFERED = {
    "haproxy": set(ENTRIES), "sluice": set(ENTRIES), "nginx": set(ENTRIES) - {"v2"},
    "sniproxy": {"sni"}, "floor": {"none", "splice", "v2", "aside"},
    None: {"none", "sni", "aside"},  # the load's backend ends no TLS
}
# What drops bytes that are on their way when one side has ended. It has no run with half-closes;
# that what is measured through it arrives is checked as everywhere.
ENDS_BOTH_WAYS = {"sniproxy"}


@dataclass(frozen=True)
class Kind:
    program: str | None  # None: no proxy, the load's client connects to its own backend
    splice: str = "auto"
    events: str = "auto"
    log: str = "off"
    choice: str | None = None  # of a server, or a limit that is never reached
    workers: int = 1
    latency: str = "balanced"


KINDS = {
    "direct": Kind(None),
    "floor": Kind("floor"),
    "haproxy-forced": Kind("haproxy", "forced"),
    "haproxy-auto": Kind("haproxy", "auto"),
    "haproxy-copy": Kind("haproxy", "copy"),
    "haproxy-log": Kind("haproxy", "forced", log="file"),
    "haproxy-2": Kind("haproxy", "forced", workers=2),
    "nginx": Kind("nginx"),
    "nginx-log": Kind("nginx", log="file"),
    "nginx-2": Kind("nginx", workers=2),
    "sniproxy": Kind("sniproxy"),
    "sluice": Kind("sluice"),
    "sluice-epoll": Kind("sluice", events="epoll"),
    "sluice-ring-splice": Kind("sluice", "ring"),
    "sluice-copy": Kind("sluice", "off"),
    "sluice-low": Kind("sluice", latency="low"),
    "sluice-2": Kind("sluice", workers=2),
    # With a connection log: to a file, on a disk that is full, to a pipe that nobody reads.
    "sluice-log": Kind("sluice", log="file"),
    "sluice-log-full": Kind("sluice", log="full"),
    "sluice-log-pipe": Kind("sluice", log="pipe"),
    # Four servers, chosen in one way or another; every limit; both bandwidths.
    "sluice-turns": Kind("sluice", choice="turns"),
    "sluice-least": Kind("sluice", choice="least"),
    "sluice-hash": Kind("sluice", choice="hash"),
    "sluice-limits": Kind("sluice", choice="limits"),
    "sluice-bandwidth": Kind("sluice", choice="bandwidth"),
}


def free_ports(count):
    """Free loopback ports below the range the kernel hands out to clients."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest_ephemeral = int(file.read().split()[0])
    # An unusually low ephemeral range leaves no room beneath it; then overlap is the lesser evil.
    end = lowest_ephemeral if lowest_ephemeral > 20000 else 60000
    found = []
    while len(found) < count:
        port = random.randrange(15000, end)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def process_tree(pid):
    """The process and its descendants."""
    pids = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    pids += process_tree(int(child))
    except OSError:
        pass
    return pids


def make_certificate(directory, kind):
    """A certificate of its own for edge.example with its key in one file: "ec" or "rsa"."""
    path = directory / "certificate.pem"
    form = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[kind]
    subprocess.run([tool("openssl"), "req", "-x509", "-nodes", "-days", "30", "-newkey", *form,
                    "-subj", "/CN=edge.example", "-addext", "subjectAltName=DNS:edge.example",
                    "-keyout", str(path), "-out", str(directory / "chain.pem")],
                   check=True, capture_output=True, timeout=60)
    with open(path, "a") as both:
        both.write((directory / "chain.pem").read_text())
    path.chmod(0o644)  # for users of their own; the key is worth nothing
    return path


class Contender:
    """One proxy, or none. A `reloadable` one is started so that reload() works; in HAProxy that
    takes a second process."""

    def __init__(self, name, settings, reloadable=False):
        self.name = name
        self.kind = KINDS[name]
        self.settings = settings  # a Bench
        self.reloadable = reloadable
        self.process = None
        # Its own, so that connections in TIME_WAIT are never in another contender's way.
        self.backend_port, self.aside_port = free_ports(2)
        self.ports = {}
        self.directory = settings.directory / name
        self.texts = []  # of the configuration: each reload takes the next one
        self.disk = None  # a file system of our own, to be unmounted
        self.reader = None  # of a pipe; open, so that there is one, and never read

    @property
    def is_proxy(self):
        return self.kind.program is not None

    def can_run(self, workload):
        entries = [part.entry for part in workload.parts] or [workload.entry]
        may_reload = self.kind.program in ("haproxy", "nginx", "sluice")
        return (OFFERED[self.kind.program].issuperset(entries)
                and (workload.kind != "reload" or may_reload))

    def port(self, workload):
        if not self.is_proxy:
            return self.backend_of(workload)
        splices = self.kind.program == "floor" and workload.bulky
        return self.ports["splice" if splices else workload.entry]

    def backend_of(self, workload):
        return self.aside_port if workload.entry == "aside" else self.backend_port

    def start(self):
        if not self.is_proxy:
            return
        entries = (*ENTRIES, "splice")
        self.ports = dict(zip(entries, free_ports(len(entries))))
        self.directory.mkdir(exist_ok=True)
        if identity := self._identity():
            os.chown(self.directory, *identity)
        command = getattr(self, f"_prepare_{self.kind.program}")(self.directory / "config")
        if self.texts:
            (self.directory / "config").write_text(self.texts[0])
        self._launch(command)
        self._await_listener(self.ports[min(OFFERED[self.kind.program])])

    def _prepare_haproxy(self, config):
        self.texts = [configs.haproxy_config(self.kind, self.ports, self.backend_port,
                                             self.aside_port, self.settings.certificate)]
        # Quiet, it would close the standard error that it logs to.
        mode = (["-W"] if self.reloadable else ["-db"]) + (["-q"] if self.kind.log == "off" else [])
        return [tool("haproxy"), *mode, "-f", str(config)]

    def _prepare_nginx(self, config):
        self.texts = [configs.nginx_config(self.kind, self.ports, self.backend_port,
                                           self.aside_port, self.settings.certificate,
                                           self.directory)]
        return [tool("nginx"), "-e", f"{self.directory}/nginx-error.log", "-c", str(config)]

    def _prepare_sniproxy(self, config):
        self.texts = [configs.sniproxy_config(self.ports, self.backend_port, self.directory)]
        return [tool("sniproxy"), "-f", "-c", str(config)]

    def _prepare_sluice(self, config):
        text = configs.sluice_config(self.kind, self.ports, self.backend_port, self.aside_port,
                                     self.settings.certificate, self._log(self.kind.log))
        self.texts = [text, text.replace("idle: 10m", "idle: 11m")]
        return [str(self.settings.sluice), "run", "-c", str(config)]

    def _prepare_floor(self, config):
        return [str(self.settings.floor),
                *configs.floor_arguments(self.ports, self.backend_port, self.aside_port)]

    def reload(self):
        """Asks for a reload, and does not wait for it."""
        self.texts.append(self.texts.pop(0))
        (self.directory / "config").write_text(self.texts[0])
        reloads = signal.SIGUSR2 if self.kind.program == "haproxy" else signal.SIGHUP
        self.process.send_signal(reloads)

    def _log(self, kind="off"):
        """Makes what the connection log goes to, and returns its path."""
        path = self.directory / "log"
        if kind == "off":
            return "off"
        if kind == "full":
            self.disk = self.directory / "disk"
            self.disk.mkdir(exist_ok=True)
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=777",
                                      "tmpfs", str(self.disk)], capture_output=True, text=True)
            if mounted.returncode:
                raise RuntimeError(f"{self.name}: {mounted.stderr.strip()}")
            path = self.disk / "log"
        elif kind == "pipe":
            os.mkfifo(path)
            if identity := self._identity():
                os.chown(path, *identity)
            self.reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        return path

    def _identity(self):
        """User and group id to run as, or None for the caller's own."""
        if self.settings.as_user == "self":
            return None
        if self.settings.as_user == "apart":
            own = FIRST_USER_ID + list(KINDS).index(self.name)
            return own, own
        entry = pwd.getpwnam(self.settings.as_user)
        return entry.pw_uid, entry.pw_gid

    def _launch(self, command):
        cores = {self.settings.proxy_core}
        if self.kind.workers > 1:
            cores.add(self.settings.load_core)
        libc = ctypes.CDLL(None)

        def prepare():
            os.sched_setaffinity(0, cores)
            libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: ends with us, whatever happens

        user = {}
        identity = self._identity()
        if identity:
            user = {"user": identity[0], "group": identity[1], "extra_groups": []}
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, preexec_fn=prepare, cwd="/", **user)

    def _await_listener(self, port):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                time.sleep(0.1)
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"{self.name} did not start:\n{self.output()}")

    def output(self):
        text = ""
        for name in ("output", "nginx-error.log", "sniproxy.log"):
            path = self.directory / name
            if path.exists():
                text += path.read_text(errors="replace")[-2000:]
        return text

    def pids(self):
        return process_tree(self.process.pid) if self.process else []

    def stop(self):
        """Two SIGTERMs (the second skips a drain), then SIGKILL to whatever of the tree is left."""
        if self.process is not None:
            self._end()
        if self.reader is not None:
            os.close(self.reader)
            self.reader = None
        if self.disk is not None:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
            self.disk = None

    def _end(self):
        pids = self.pids()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(END_SECONDS / 2)
            except subprocess.TimeoutExpired:
                pass
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process = None

    def version(self):
        commands = {"haproxy": ["haproxy", "-v"], "nginx": ["nginx", "-v"],
                    "sniproxy": ["sniproxy", "-V"],
                    "sluice": [str(self.settings.sluice), "version"]}
        if self.kind.program not in commands:
            return ""
        program, *arguments = commands[self.kind.program]
        result = subprocess.run([tool(program), *arguments], capture_output=True, text=True,
                                timeout=10)
        return (result.stdout + result.stderr).strip().split("\n")[0]


def tool(name):
    """Debian keeps daemons in /usr/sbin, which is not on everybody's path."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or name
