"""The contenders: how each proxy is configured, started, found and ended.

Every proxy gets one worker thread, one core, and five listeners in front of the same backend:
without a PROXY header, with version 1, with version 2 (where it can send one), one that reads
the ClientHello and sends only one of ten names there, and one that ends TLS.
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
from pathlib import Path

HEADERS = ("none", "v1", "v2")
PORTS = (*HEADERS, "sni", "tls")
# Of ten names, the one that leads to the backend; the others lead to where nobody listens.
NAMES = [f"host-{n}.example.com" for n in range(10)]
ROUTED = NAMES[6]
NOWHERE = 1
HOST = "127.0.0.1"
# Where the load's backend listens: HOST and those after it, for contenders with several servers.
ADDRESSES = 4
START_SECONDS = 10
END_SECONDS = 5
# Of the limit on open files, what no connection gets: pipes, logs, Sluice's own reserve.
DESCRIPTORS_ASIDE = 1000
# Enough for 512 streams to splice at once.
HAPROXY_PIPES = 512
# Where systemd's dynamic users begin. The kernel counts pipe pages and locked memory per user:
# contenders of one user would take each other's pipes away, also while they are idle.
FIRST_USER_ID = 61184
# What a log on a full disk has: less than a second of lines.
SMALL_DISK = "64k"


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


def haproxy_config(ports, backend, splice, certificate):
    options = {
        "auto": ["option splice-auto"],
        "forced": ["option splice-request", "option splice-response"],
        "copy": [],
    }[splice]
    # By itself it would set so many descriptors aside for pipes that 9,000 connections don't fit.
    room = min(100000, (os.sysconf("SC_OPEN_MAX") - 2 * HAPROXY_PIPES - 200) // 2)
    lines = ["global", "  nbthread 1", f"  maxconn {room}", f"  maxpipes {HAPROXY_PIPES}"]
    lines += ["defaults", "  mode tcp", "  timeout connect 5s"]
    lines += ["  timeout client 10m", "  timeout server 10m"] + ["  " + line for line in options]
    send = {"none": "", "v1": " send-proxy", "v2": " send-proxy-v2"}
    for header, port in zip(HEADERS, ports):
        lines += [f"listen {header}", f"  bind {HOST}:{port}"]
        lines += [f"  server backend {HOST}:{backend}{send[header]}"]
    lines += ["listen tls", f"  bind {HOST}:{ports[4]} ssl crt {certificate}",
              f"  server backend {HOST}:{backend}"]
    lines += ["frontend sni", f"  bind {HOST}:{ports[3]}", "  tcp-request inspect-delay 5s"]
    lines += ["  tcp-request content accept if { req.ssl_hello_type 1 }"]
    lines += [f"  use_backend {name} if {{ req.ssl_sni -i {name} }}" for name in NAMES]
    for name in NAMES:
        port = backend if name == ROUTED else NOWHERE
        lines += [f"backend {name}", f"  server {name} {HOST}:{port}"]
    return "\n".join(lines) + "\n"


def nginx_config(ports, backend, directory, certificate):
    files = os.sysconf("SC_OPEN_MAX")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    servers = ""
    # Version 2 is not something its stream module can send.
    for header, port in list(zip(HEADERS, ports))[:2]:
        protocol = " proxy_protocol on;" if header == "v1" else ""
        listen = f"listen {HOST}:{port} backlog=4096;"
        servers += f"  server {{ {listen}{protocol} proxy_pass backend; }}\n"
    names = "".join(f"    {name} {HOST}:{backend if name == ROUTED else NOWHERE};\n"
                    for name in NAMES)
    servers += f"""  map $ssl_preread_server_name $server_of_name {{
{names}  }}
  server {{ listen {HOST}:{ports[3]} backlog=4096; ssl_preread on; proxy_pass $server_of_name; }}
  server {{
    listen {HOST}:{ports[4]} ssl backlog=4096; proxy_pass backend;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    ssl_protocols TLSv1.2 TLSv1.3;
  }}
"""
    return f"""{f"load_module {module};" if module.exists() else ""}
daemon off;
worker_processes 1;
error_log {directory}/nginx-error.log error;
pid {directory}/nginx.pid;
events {{ worker_connections {min(files - 100, 20000)}; }}
stream {{
  access_log off;
  proxy_half_close on;
  proxy_buffer_size 64k;
  proxy_timeout 10m;
  upstream backend {{ server {HOST}:{backend} max_fails=0; }}
{servers}}}
"""


# Balancing and limits: how servers are chosen, and limits that are never reached.
CHOICES = {"turns": "round-robin", "least": "least-connections", "hash": "source-hash"}
FAR = 1000000


def sluice_config(ports, backend, certificate, events, splice, log="off", choice=None):
    listeners = backends = sources = ""
    servers, server_limit, backend_more, listener_more = [HOST], "", "eject: off", ""
    if choice is not None:
        servers = [f"127.0.0.{n}" for n in range(1, ADDRESSES + 1)]
    if choice in CHOICES:
        backend_more += f", balance: {CHOICES[choice]}"
    elif choice == "limits":
        server_limit = f", max-connections: {FAR}"
        backend_more += f", max-connections: {FAR}"
        listener_more = f", max-connections: {FAR}, queue: {{ length: 1000 }}"
        sources = f", per-source: {FAR}, per-source-rate: {FAR}"
    elif choice == "bandwidth":
        listener_more = ", bandwidth: 64GiB, bandwidth-per-connection: 64GiB"
    listed = ", ".join(f'{{ address: "{server}:{backend}"{server_limit} }}' for server in servers)
    for header, port in zip(HEADERS, ports):
        listeners += (f'  {header}: {{ bind: "{HOST}:{port}", type: tcp, backend: {header}'
                      f'{listener_more} }}\n')
        backends += (f'  {header}: {{ servers: [{listed}], send-proxy: "{header}", '
                     f'splice: "{splice}", {backend_more} }}\n')
    rules = ", ".join(f"{{ name: {name}, sni: {name}, "
                      f"backend: {'none' if name == ROUTED else 'nowhere'} }}" for name in NAMES)
    listeners += (f'  tls: {{ bind: "{HOST}:{ports[4]}", type: tcp, backend: none, '
                  f'tls: {{ certificates: "{certificate}" }} }}\n')
    listeners += f'  sni: {{ bind: "{HOST}:{ports[3]}", type: tls, rules: [{rules}] }}\n'
    backends += f'  nowhere: {{ servers: ["{HOST}:{NOWHERE}"] }}\n'
    room = min(100000, (os.sysconf("SC_OPEN_MAX") - DESCRIPTORS_ASIDE) // 2)
    return f"""workers: 1
events: {events}
log: {{ connections: "{log}" }}
limits: {{ max-connections: {room}{sources} }}
timeouts: {{ idle: 10m, drain: 1s }}
listeners:
{listeners}backends:
{backends}"""


class Contender:
    """One proxy, or none: `direct` is the load's client connected to its own backend."""

    KINDS = {
        "direct": None,
        "haproxy-forced": ("haproxy", "forced"),
        "haproxy-auto": ("haproxy", "auto"),
        "haproxy-copy": ("haproxy", "copy"),
        "nginx": ("nginx",),
        "sluice": ("sluice", "auto", "auto"),
        "sluice-epoll": ("sluice", "epoll", "auto"),
        "sluice-ring-splice": ("sluice", "auto", "ring"),
        "sluice-copy": ("sluice", "auto", "off"),
        # With a connection log: to a file, on a disk that is full, to a pipe that nobody reads.
        "sluice-log": ("sluice", "auto", "auto", "file"),
        "sluice-log-full": ("sluice", "auto", "auto", "full"),
        "sluice-log-pipe": ("sluice", "auto", "auto", "pipe"),
        # Four servers, chosen in one way or another; every limit; both bandwidths.
        "sluice-turns": ("sluice", "auto", "auto", "off", "turns"),
        "sluice-least": ("sluice", "auto", "auto", "off", "least"),
        "sluice-hash": ("sluice", "auto", "auto", "off", "hash"),
        "sluice-limits": ("sluice", "auto", "auto", "off", "limits"),
        "sluice-bandwidth": ("sluice", "auto", "auto", "off", "bandwidth"),
    }

    def __init__(self, name, settings):
        self.name = name
        self.settings = settings  # .directory .as_user .proxy_core .sluice .certificate
        self.process = None
        # Its own, so that connections in TIME_WAIT are never in another contender's way.
        self.backend_port = free_ports(1)[0]
        self.ports = {}
        self.directory = settings.directory / name
        self.disk = None  # a file system of our own, to be unmounted
        self.reader = None  # of a pipe; open, so that there is one, and never read

    @property
    def is_proxy(self):
        return self.KINDS[self.name] is not None

    def can_send(self, header):
        if not self.is_proxy:
            return header in ("none", "sni")  # the backend ends no TLS
        return header != "v2" or self.KINDS[self.name][0] != "nginx"

    def port(self, header):
        return self.ports[header] if self.is_proxy else self.backend_port

    def start(self):
        if not self.is_proxy:
            return
        ports = free_ports(len(PORTS))
        self.ports = dict(zip(PORTS, ports))
        directory = self.directory
        directory.mkdir(exist_ok=True)
        if identity := self._identity():
            os.chown(directory, *identity)
        kind, *choices = self.KINDS[self.name]
        backend, certificate = self.backend_port, self.settings.certificate
        config = directory / "config"
        if kind == "haproxy":
            config.write_text(haproxy_config(ports, backend, *choices, certificate))
            command = [tool("haproxy"), "-db", "-q", "-f", str(config)]
        elif kind == "nginx":
            config.write_text(nginx_config(ports, backend, directory, certificate))
            command = [tool("nginx"), "-e", f"{directory}/nginx-error.log", "-c", str(config)]
        else:
            log = self._log(*choices[2:3])
            config.write_text(
                sluice_config(ports, backend, certificate, *choices[:2], log, *choices[3:]))
            command = [str(self.settings.sluice), "run", "-c", str(config)]
        self._launch(command)
        self._await_listener(ports[0])

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
            own = FIRST_USER_ID + list(self.KINDS).index(self.name)
            return own, own
        entry = pwd.getpwnam(self.settings.as_user)
        return entry.pw_uid, entry.pw_gid

    def _launch(self, command):
        core = self.settings.proxy_core
        libc = ctypes.CDLL(None)

        def prepare():
            os.sched_setaffinity(0, {core})
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
        for name in ("output", "nginx-error.log"):
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
        if not self.is_proxy:
            return ""
        kind = self.KINDS[self.name][0]
        command = {"haproxy": ["haproxy", "-v"], "nginx": ["nginx", "-v"],
                   "sluice": [str(self.settings.sluice), "version"]}[kind]
        command[0] = tool(command[0])
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return (result.stdout + result.stderr).strip().split("\n")[0]


def tool(name):
    """Debian keeps daemons in /usr/sbin, which is not on everybody's path."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or name
