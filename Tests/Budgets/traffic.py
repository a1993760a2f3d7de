"""Clients and a server in one thread, step by step: what a proxy between them does is the same in
every run, so that it can be counted. Every byte is checked, and every wait has an end."""

import os
import signal
import socket
import struct
import time

HOST = "127.0.0.1"
WAIT_SECONDS = 60
REQUEST = bytes(range(64))
REPLY = bytes(reversed(REQUEST))
# Bulk goes in steps: what is sent has arrived before more is. Few enough bytes for the buffers of
# both connections, so that one thread can send and then receive.
STEP = 256 * 1024
MIB = 1024 * 1024
NAME = b"host-6.example.com"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# Addresses for documentation: whom the PROXY headers speak for.
CLIENT, REACHED = ("192.0.2.7", 50000), ("192.0.2.1", 465)


def v2_header(source, destination):
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    ports = struct.pack("!HH", source[1], destination[1])
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", 12) + addresses + ports


def client_hello(name):
    """TLS 1.3's, in one record, RFC 8446 (4.1.2), with a name, protocols and what it must have."""
    def sized(format_, content):
        return struct.pack(format_, len(content)) + content

    def extension(number, content):
        return struct.pack("!H", number) + sized("!H", content)

    extensions = b"".join([
        extension(0, sized("!H", b"\0" + sized("!H", name))),
        extension(16, sized("!H", sized("!B", b"imap"))),
        extension(10, sized("!H", b"\x00\x1d\x00\x17")),
        extension(13, sized("!H", b"\x04\x03\x08\x04")),
        extension(43, sized("!B", b"\x03\x04")),
        extension(51, sized("!H", b"\x00\x1d" + sized("!H", bytes(32)))),
    ])
    body = (b"\x03\x03" + bytes(32) + sized("!B", bytes(32)) + sized("!H", b"\x13\x01\x13\x02")
            + b"\x01\x00" + sized("!H", extensions))
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + sized("!H", message)


class Path:
    """A way through the proxy: what the client says before its request, and what of that its
    server gets. `told` is "" or the start of the header that the server is sent in front."""

    def __init__(self, name, introduced=False, hello=False, told=False):
        self.name, self.introduced, self.told = name, introduced, told
        self.hello = client_hello(NAME) if hello else b""

    def preface(self):
        return (v2_header(CLIENT, REACHED) if self.introduced else b"") + self.hello


PATHS = {path.name: path for path in [
    Path("plain"),
    Path("header-out", told=True),
    Path("header-in", introduced=True),
    Path("header-in-out", introduced=True, told=True),
    Path("sni", hello=True),
    Path("sni-header-in-out", introduced=True, hello=True, told=True),
]}


def receive(end, count):
    got = bytearray()
    while len(got) < count:
        part = end.recv(count - len(got))
        if not part:
            raise RuntimeError(f"the stream ended after {len(got)} of {count} bytes")
        got += part
    return bytes(got)


def expect(what, got, wanted):
    if got != wanted:
        raise RuntimeError(f"{what}: {got[:80]!r} instead of {wanted[:80]!r}")


def wait_until(what, holds):
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(0.002)


class Traffic:
    """What goes through the daemon `pid`, whose listeners are at `ports`, by path."""

    def __init__(self, server, ports, pid):
        self.server, self.ports, self.pid = server, ports, pid
        server.settimeout(WAIT_SECONDS)

    def open(self, name):
        """A connection that was asked once and has answered: its two ends."""
        path = PATHS[name]
        client = socket.create_connection((HOST, self.ports[name]), WAIT_SECONDS)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        preface = path.preface()
        if preface:
            client.sendall(preface)
        upstream, _ = self.server.accept()
        upstream.settimeout(WAIT_SECONDS)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if path.told:
            self.expect_header(upstream, path, client)
        expect("what was held", receive(upstream, len(path.hello)), path.hello)
        self.round_trip(client, upstream)
        return client, upstream

    @staticmethod
    def expect_header(upstream, path, client):
        start = receive(upstream, 16)
        block = receive(upstream, struct.unpack("!H", start[14:])[0])
        source = CLIENT if path.introduced else client.getsockname()
        wanted = v2_header(source, REACHED)
        expect("the PROXY header", start[:14] + block[:4] + block[8:10],
               wanted[:14] + wanted[16:20] + wanted[24:26])

    @staticmethod
    def round_trip(client, upstream):
        client.sendall(REQUEST)
        expect("the request", receive(upstream, len(REQUEST)), REQUEST)
        upstream.sendall(REPLY)
        expect("the reply", receive(client, len(REPLY)), REPLY)

    def close(self, ends, first):
        """One end closes, the other one closes when it has seen that."""
        leaves, stays = ends if first == "client" else ends[::-1]
        leaves.close()
        expect("the end", stays.recv(1), b"")
        stays.close()

    def descriptors(self):
        """Open ones that are sockets."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    # ---- what is counted ----

    def connections(self, name, count, first="client", after=lambda: None):
        before = self.descriptors()
        for _ in range(count):
            self.close(self.open(name), first)
            wait_until("the proxy to close", lambda: self.descriptors() <= before)
            after()

    def round_trips(self, ends, count):
        for _ in range(count):
            self.round_trip(*ends)

    def bulk(self, ends, mib):
        """The proxy stands still while a step is sent, and finds all of it: how much a busy one
        finds at once would be chance."""
        client, upstream = ends
        block = os.urandom(STEP)
        for _ in range(mib * MIB // STEP):
            os.kill(self.pid, signal.SIGSTOP)
            try:
                client.sendall(block)
            finally:
                os.kill(self.pid, signal.SIGCONT)
            expect("bulk", receive(upstream, STEP), block)
