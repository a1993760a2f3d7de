"""What a server that ends TLS says to clients that break the rules: a line "case<TAB>verdict" each.

  tls_verdicts.py PORT        an echo of bytes must stand behind it

The cases are those that servers are usually tried with: hellos and records by bytes of our own, and
what can only be said within a connection by tlslite-ng. A verdict is what came back (kinds of
handshake messages, an alert, echoed bytes) and how it ended (closed, or it still waits).
"""

import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSAbruptCloseError, TLSError, TLSLocalAlert, TLSRemoteAlert
from tlslite.messages import Message

PORT = int(sys.argv[1])
QUIET = 1.5  # with nothing more for so long, the server waits
HANDSHAKE, ALERT, CIPHERS, DATA = 22, 21, 20, 23
MESSAGES = {2: "hello", 4: "ticket", 8: "extensions", 11: "certificate", 12: "key", 14: "done"}


def vector(width, body):
    return len(body).to_bytes(width, "big") + body


def extension(kind, body):
    return struct.pack(">H", kind) + vector(2, body)


GROUPS = extension(10, vector(2, bytes.fromhex("001d00170018")))
SIGNATURES = extension(13, vector(2, bytes.fromhex("0403080408050806040105010601")))
SHARE = extension(51, vector(2, bytes.fromhex("001d") + vector(2, bytes([9]) + bytes(31))))
NAME = extension(0, vector(2, b"\0" + vector(2, b"edge.example")))
VERSIONS = extension(43, vector(1, bytes.fromhex("03040303")))
POINTS = extension(11, vector(1, b"\0"))
MODERN = [NAME, POINTS, GROUPS, SIGNATURES, VERSIONS, SHARE]
OLD = [NAME, POINTS, GROUPS, SIGNATURES]
SUITES = "130113021303c02bc02fc02cc030cca9cca800ff"


def hello(extensions=MODERN, version=0x0303, suites=SUITES, session=b"\x07" * 32,
          compressions=b"\0", behind=b""):
    body = struct.pack(">H", version) + b"\x05" * 32 + vector(1, session)
    body += vector(2, bytes.fromhex(suites)) + vector(1, compressions)
    if extensions is not None:
        body += vector(2, b"".join(extensions))
    return b"\x01" + vector(3, body + behind)


def record(body, kind=HANDSHAKE, version=0x0301):
    return bytes([kind]) + struct.pack(">H", version) + vector(2, body)


def records(message, size):
    return b"".join(record(message[at:at + size]) for at in range(0, len(message), size))


def verdict_of(stream):
    """Of the plaintext records that came back; what is encrypted is only counted as such."""
    words, at = [], 0
    while at + 5 <= len(stream):
        kind, length = stream[at], int.from_bytes(stream[at + 3:at + 5], "big")
        body = stream[at + 5:at + 5 + length]
        at += 5 + length
        if kind == ALERT and length == 2:
            words.append(f"alert {body[0]}/{body[1]}")
        elif kind == HANDSHAKE:
            inner = 0
            while inner + 4 <= len(body):
                words.append(MESSAGES.get(body[inner], str(body[inner])))
                # RFC 8446 section 4.1.3: who could have had TLS 1.3 is told so, and by a
                # HelloRetryRequest's random that it is one.
                random = body[inner + 6:inner + 38]
                words += ["downgraded"] if random[24:31] == b"DOWNGRD" else []
                words += ["again"] if random[:4] == bytes.fromhex("cf21ad74") else []
                inner += 4 + int.from_bytes(body[inner + 1:inner + 4], "big")
        elif kind == DATA:
            words += ["encrypted"] if words[-1:] != ["encrypted"] else []
        elif kind != CIPHERS:
            return f"no TLS: {stream[:20].hex()}"
    return " ".join(words) or "nothing"


def say(parts):
    """Sends bytes as they are, and returns what became of it."""
    with socket.create_connection(("127.0.0.1", PORT), 10) as plain:
        plain.settimeout(QUIET)
        stream, end = b"", "closed"
        try:
            plain.sendall(parts)
            while piece := plain.recv(65536):
                stream += piece
        except TimeoutError:
            end = "waits"
        except OSError:
            pass  # a reset is a way of closing
        return f"{verdict_of(stream)}, {end}"


def without(extensions, *left_out):
    return [each for each in extensions if each not in left_out]


def share(group, key):
    return extension(51, vector(2, bytes.fromhex(group) + vector(2, key)))


ODD = extension(0xFAFA, b"\0" * 300)
MODES = extension(45, b"\x01\x01")
EARLY = extension(42, b"")
TICKET = extension(41, vector(2, vector(2, b"ticket") + bytes(4)) + vector(2, vector(1, bytes(32))))
NO_SHARE = extension(51, b"\0\0")
HALF = len(hello()) // 2
HELLOS = {
    "plain 1.3": record(hello()),
    "plain 1.2": record(hello(OLD)),
    "a byte a record": records(hello(), 1),
    "two records": records(hello(), 100),
    "record of version 3.0": record(hello(), version=0x0300),
    "record of version 3.3": record(hello(), version=0x0303),
    "record of version 3.9": record(hello(), version=0x0309),
    "record of version 0.0": record(hello(), version=0),
    "record of version 5.5": record(hello(), version=0x0505),
    "hello of version 3.1": record(hello(OLD, version=0x0301)),
    "hello of version 3.0": record(hello(OLD, version=0x0300)),
    "hello of version 3.9": record(hello(OLD, version=0x0309)),
    "version 1.3 in the old place": record(hello(version=0x0304)),
    "only unknown versions": record(hello(without(MODERN, VERSIONS) +
                                          [extension(43, vector(1, b"\x7a\x7a"))])),
    "empty versions": record(hello(without(MODERN, VERSIONS) + [extension(43, b"\0")])),
    "odd versions": record(hello(without(MODERN, VERSIONS) +
                                 [extension(43, b"\x03\x03\x04\x03")])),
    "no extensions": record(hello(None)),
    "empty extensions": record(hello([])),
    "no suites": record(hello(suites="")),
    "odd suites": record(hello(suites="130113")),
    "unknown suites": record(hello(suites="fafafbfb")),
    "only old suites": record(hello(OLD, suites="000a0005")),
    "fallback": record(hello(OLD, suites=SUITES + "5600")),
    "no compression": record(hello(compressions=b"")),
    "deflate first": record(hello(compressions=b"\x01\0")),
    "only deflate": record(hello(compressions=b"\x01")),
    "session of 33 bytes": record(hello(session=b"\x07" * 33)),
    "no session": record(hello(session=b"")),
    "byte behind": record(hello(behind=b"\0")),
    "extensions too long": record(hello(behind=b"")[:-1]),
    "cut at 40": record(hello())[:40],
    "length too large": record(b"\x01\xff\xff\xff" + hello()[4:]),
    "length too small": record(b"\x01\0\0\x10" + hello()[4:]),
    "same extension twice": record(hello(MODERN + [POINTS])),
    "name twice": record(hello(MODERN + [NAME])),
    "two names": record(hello(without(MODERN, NAME) + [extension(
        0, vector(2, b"\0" + vector(2, b"a.example") + b"\0" + vector(2, b"b.example")))])),
    "empty name": record(hello(without(MODERN, NAME) + [extension(0, b"")])),
    "name with NUL": record(hello(without(MODERN, NAME) + [extension(
        0, vector(2, b"\0" + vector(2, b"edge\0.example")))])),
    "name longer than its list": record(hello(without(MODERN, NAME) + [extension(
        0, vector(2, b"\0\x00\xff" + b"a"))])),
    "name of 300 bytes": record(hello(without(MODERN, NAME) + [extension(
        0, vector(2, b"\0" + vector(2, b"a" * 300)))])),
    "unknown extension": record(hello(MODERN + [ODD])),
    "many extensions": record(hello(MODERN + [extension(0x7000 + n, b"") for n in range(900)])),
    "hello of 40,000 bytes": records(hello(MODERN + [extension(0xFAFA, bytes(39000))]), 16000),
    "hello of 65,000 bytes": records(hello(MODERN + [extension(0xFAFA, bytes(60000)),
                                                     extension(0xFBFB, bytes(4700))]), 16000),
    "no groups": record(hello(without(MODERN, GROUPS))),
    "empty groups": record(hello(without(MODERN, GROUPS) + [extension(10, b"\0\0")])),
    "unknown groups": record(hello(without(MODERN, GROUPS, SHARE) + [
        extension(10, vector(2, b"\xfa\xfa")), extension(51, b"\0\0")])),
    "no share": record(hello(without(MODERN, SHARE))),
    "share to be asked for": record(hello(without(MODERN, SHARE) + [extension(51, b"\0\0")])),
    "share too short": record(hello(without(MODERN, SHARE) + [extension(
        51, vector(2, bytes.fromhex("001d") + vector(2, b"\x09" * 31)))])),
    "share of zeros": record(hello(without(MODERN, SHARE) + [extension(
        51, vector(2, bytes.fromhex("001d") + vector(2, bytes(32))))])),
    "no signatures": record(hello(without(MODERN, SIGNATURES))),
    "unknown signatures": record(hello(without(MODERN, SIGNATURES) + [
        extension(13, vector(2, b"\xfa\xfa"))])),
    "empty protocols": record(hello(MODERN + [extension(16, b"\0\0")])),
    "empty protocol": record(hello(MODERN + [extension(16, b"\0\x01\0")])),
    "protocols too long": record(hello(MODERN + [extension(16, b"\0\xff\x02h2")])),
    "SSL 2": bytes.fromhex("802e0100020015000000100100800300800700c0060040020080040080") + bytes(16),
    "HTTP": b"GET / HTTP/1.1\r\nHost: edge.example\r\n\r\n",
    "empty record": record(b"") + record(hello()),
    "33 empty records": record(b"") * 33 + record(hello()),
    "record of 16,385 bytes": record(hello(MODERN + [extension(0xFAFA, bytes(16500))])[:16385]),
    "record of 20,000 bytes": bytes([22, 3, 1]) + vector(2, bytes(20000)),
    "data before the hello": record(b"x", DATA) + record(hello()),
    "ciphers before the hello": record(b"\x01", CIPHERS) + record(hello()),
    "unknown content type": record(b"x", 77) + record(hello()),
    "heartbeat": record(b"\x01\x40\x00", 24, 0x0302),
    "warning before the hello": record(b"\x01\x5a", ALERT) + record(hello()),
    "fatal before the hello": record(b"\x02\x28", ALERT),
    "empty alert": record(b"", ALERT) + record(hello()),
    "alert of one byte": record(b"\x01", ALERT) + record(hello()),
    "finished first": record(b"\x14" + vector(3, bytes(12))),
    "key exchange first": record(b"\x10" + vector(3, bytes(33))),
    "server hello first": record(b"\x02" + vector(3, bytes(70))),
    "two hellos at once": record(hello(OLD)) + record(hello(OLD)),
    "hello and data": record(hello()) + record(b"plain", DATA),
    "hello and garbage": record(hello()) + b"\xff" * 64,
    "hello and ciphers": record(hello()) + record(b"\x01", CIPHERS),
    "hello and bad ciphers": record(hello()) + record(b"\x02", CIPHERS),
    "data within the hello": record(hello()[:HALF]) + record(b"x", DATA) + record(hello()[HALF:]),
    "alert within the hello": record(hello()[:HALF]) + record(b"\x01\x5a", ALERT)
    + record(hello()[HALF:]),
    "ciphers within the hello": record(hello()[:HALF]) + record(b"\x01", CIPHERS)
    + record(hello()[HALF:]),
    "hello request first": record(b"\0\0\0\0"),
    "only static RSA": record(hello(OLD, suites="009c009d002f0035")),
    "only DHE": record(hello(OLD, suites="009e009f00330039ccaa")),
    "only CBC": record(hello(OLD, suites="c009c00ac013c014c023c027")),
    "only CCM": record(hello(OLD, suites="c0acc0adc0aec0af")),
    "early data without a ticket": record(hello(MODERN + [EARLY]))
    + record(bytes(99), DATA, 0x0303),
    "early data": record(hello(MODERN + [MODES, EARLY, TICKET])) + record(bytes(99), DATA, 0x0303),
    "much early data": record(hello(MODERN + [MODES, EARLY, TICKET]))
    + record(bytes(16000), DATA, 0x0303) * 3,
    "unknown ticket": record(hello(MODERN + [MODES, TICKET])),
    "ticket not last": record(hello(without(MODERN, SHARE) + [MODES, TICKET, SHARE])),
    "ticket without modes": record(hello(MODERN + [TICKET])),
    "ticket without binders": record(hello(MODERN + [MODES, extension(
        41, vector(2, vector(2, b"ticket") + bytes(4)) + b"\0\0")])),
    "authentication afterwards": record(hello(MODERN + [extension(49, b"")])),
    "cookie unasked": record(hello(MODERN + [extension(44, vector(2, b"x"))])),
    "odd signatures": record(hello(without(MODERN, SIGNATURES) + [
        extension(13, vector(2, b"\x04\x03\x08"))])),
    "empty signatures": record(hello(without(MODERN, SIGNATURES) + [extension(13, b"\0\0")])),
    "only PKCS 1": record(hello(without(MODERN, SIGNATURES) + [
        extension(13, vector(2, bytes.fromhex("040105010601")))])),
    "only SHA-1, old": record(hello(without(OLD, SIGNATURES) + [
        extension(13, vector(2, bytes.fromhex("02010203")))])),
    "P-256 off the curve": record(hello(without(MODERN, SHARE) + [
        share("0017", b"\x04" + b"\x09" * 64)])),
    "P-256 compressed": record(hello(without(MODERN, SHARE) + [
        share("0017", b"\x02" + b"\x09" * 32)])),
    "P-256 too short": record(hello(without(MODERN, SHARE) + [share("0017", b"\x04")])),
    "share of no offered group": record(hello(without(MODERN, SHARE) + [
        share("001e", b"\x09" * 56)])),
    "two shares of a group": record(hello(without(MODERN, SHARE) + [extension(
        51, vector(2, (b"\0\x1d" + vector(2, bytes([9]) + bytes(31))) * 2))])),
    "obsolete curve": record(hello(without(MODERN, GROUPS, SHARE) + [
        extension(10, vector(2, bytes.fromhex("0013"))), share("0013", b"\x04" + bytes(48))])),
    "unknown groups, old": record(hello(without(OLD, GROUPS) + [
        extension(10, vector(2, b"\xfa\xfa"))])),
    "no plain points": record(hello(without(OLD, POINTS) + [extension(11, vector(1, b"\x01"))])),
    "empty points": record(hello(without(OLD, POINTS) + [extension(11, b"\0")])),
    "master secret": record(hello(OLD + [extension(23, b"")])),
    "master secret with a body": record(hello(OLD + [extension(23, b"\0")])),
    "renegotiation with a body": record(hello(OLD + [extension(0xFF01, b"\x01\0")])),
    "MAC behind": record(hello(OLD + [extension(22, b"")], suites="c009c013")),
    "heartbeat offered": record(hello(MODERN + [extension(15, b"\x01")])),
    "heartbeat of mode 3": record(hello(MODERN + [extension(15, b"\x03")])),
    "records of 64 bytes": record(hello(MODERN + [extension(28, b"\0\x40")])),
    "records of 1 byte": record(hello(MODERN + [extension(28, b"\0\x01")])),
    "fragments of 512 bytes": record(hello(MODERN + [extension(1, b"\x01")])),
    "fragments of no size": record(hello(MODERN + [extension(1, b"\x09")])),
    "status request": record(hello(MODERN + [extension(5, b"\x01\0\0\0\0")])),
    "odd status request": record(hello(MODERN + [extension(5, b"\x01\0\0\0")])),
    "second hello": record(hello(without(MODERN, SHARE) + [NO_SHARE])) + record(hello()),
    "second hello without a share": record(hello(without(MODERN, SHARE) + [NO_SHARE])) * 2,
    "second hello, another session": record(hello(without(MODERN, SHARE) + [NO_SHARE]))
    + record(hello(session=b"\x08" * 32)),
    "second hello, other suites": record(hello(without(MODERN, SHARE) + [NO_SHARE]))
    + record(hello(suites="1303")),
    "second hello, old": record(hello(without(MODERN, SHARE) + [NO_SHARE])) + record(hello(OLD)),
    "hello, unencrypted finished": record(hello()) + record(b"\x14" + vector(3, bytes(32))),
}


# ---- within a connection ----


class Bent(TLSConnection):
    """Whose records are sent as `bend` says: of each its kind and bytes, for those in its place."""

    bend = staticmethod(lambda kind, body: [(kind, body)])

    def _sendMsgThroughSocket(self, msg):
        for kind, body in self.bend(msg.contentType, bytes(msg.write())):
            yield from super()._sendMsgThroughSocket(Message(kind, bytearray(body)))


def connect(version, bend=None, session=None, name="edge.example", **more):
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    for key, value in more.items():
        setattr(settings, key, value)
    plain = socket.create_connection(("127.0.0.1", PORT), 10)
    plain.settimeout(QUIET + 1)
    connection = Bent(plain)
    connection.bend = bend or Bent.bend
    connection.handshakeClientCert(session=session, settings=settings, serverName=name)
    connection.bend = Bent.bend
    return connection


def inject(connection, kind, body):
    for _ in connection._recordLayer.sendRecord(Message(kind, bytearray(body))):
        pass


def inject_all(connection, count, kind, body):
    """In one piece: a server that answers before the last of them is in nobody's way."""
    connection.sock.buffer_writes = True
    for _ in range(count):
        inject(connection, kind, body)
    connection.sock.flush()
    connection.sock.buffer_writes = False


def answer(connection, wanted=5):
    """What comes back, up to the bytes that are wanted."""
    got = b""
    try:
        while len(got) < wanted:
            piece = connection.read(max=wanted - len(got), min=1)
            if not piece:
                return f"echo {got!r}, ended"
            got += piece
        return f"echo {got!r}"
    except TLSRemoteAlert as alert:
        return f"alert {alert.level}/{alert.description}"
    except (TLSAbruptCloseError, ConnectionError):
        return f"echo {got!r}, cut off"
    except TimeoutError:
        return f"echo {got!r}, waits"
    except TLSError as error:
        return type(error).__name__


def data(connection):
    connection.write(b"hello")
    return answer(connection)


def split_data(connection):
    connection.recordSize = 1
    return data(connection)


def empty_data(connection):
    inject_all(connection, 20, DATA, b"")
    return data(connection)


def many_empty(connection):
    inject_all(connection, 40, DATA, b"")
    return answer(connection)


def largest_record(connection):
    inject(connection, DATA, b"a" * 16384)
    return answer(connection, 16384)[:12]


def too_large(connection):
    connection._recordLayer.send_record_limit = connection.recordSize = 1 << 15
    inject(connection, DATA, b"a" * 16385)
    return answer(connection)


def way_too_large(connection):
    connection.sock.sendall(bytes([DATA, 3, 3]) + vector(2, b"a" * 20000))
    return answer(connection)


def corrupt(connection):
    connection.sock.sendall(bytes([DATA, 3, 3]) + vector(2, b"a" * 64))
    return answer(connection)


def plaintext(connection):
    connection.sock.sendall(record(b"hello", DATA, 0x0303)[:-1])
    connection.sock.sendall(b"o")
    return answer(connection)


def flipped(connection):
    """The last bit of a record, which is its tag's."""
    connection.sock.buffer_writes = True
    inject(connection, DATA, b"hello")
    sealed = bytearray(b"".join(connection.sock._write_queue))
    connection.sock._write_queue.clear()
    connection.sock.buffer_writes = False
    sealed[-1] ^= 1
    connection.sock.sendall(sealed)
    return answer(connection)


def split_key_update(connection):
    connection.recordSize = 2
    return key_update(connection)


def padded(connection):
    connection._recordLayer.padding_cb = lambda length, kind, most: 1000
    return data(connection)


def tickets(connection):
    return f"{data(connection)}, {len(connection.tickets)} tickets"


def key_update(connection):
    for _ in connection.send_keyupdate_request(1):
        pass
    return data(connection)


def warning(connection):
    inject(connection, ALERT, b"\x01\x5a")
    return data(connection)


def many_warnings(connection):
    inject_all(connection, 12, ALERT, b"\x01\x5a")
    return answer(connection)


def data_and_goodbye(connection):
    connection.write(b"hello")
    inject(connection, ALERT, b"\x01\x00")
    return answer(connection, 6)


WITHIN = [data, split_data, empty_data, many_empty, largest_record, too_large, way_too_large, corrupt,
          plaintext, flipped, warning, many_warnings, data_and_goodbye]
# One record, to which there is no other answer than an alert or the end.
RECORDS = {
    "hello again": (HANDSHAKE, hello(OLD)),
    "finished again": (HANDSHAKE, b"\x14" + vector(3, bytes(12))),
    "hello request": (HANDSHAKE, b"\0\0\0\0"),
    "ciphers again": (CIPHERS, b"\x01"),
    "unknown type": (77, b"x"),
    "empty handshake": (HANDSHAKE, b""),
    "fatal": (ALERT, b"\x02\x28"),
    "short alert": (ALERT, b"\x01"),
    "goodbye": (ALERT, b"\x01\x00"),
}
ONLY_NEW = {
    "bad key update": (HANDSHAKE, b"\x18\0\0\x01\x05"),
    "kind of no record": (0, b""),
    "key update and more": (HANDSHAKE, b"\x18\0\0\x01\0\x18\0\0\x01\0"),
    "ticket from a client": (HANDSHAKE, b"\x04\0\0\x01\0"),
    "request for a certificate": (HANDSHAKE, b"\x0d\0\0\x03\0\0\0"),
    "long key update": (HANDSHAKE, b"\x18\0\0\x02\x01\x01"),
}


def say_record(kind, body):
    def act(connection):
        inject(connection, kind, body)
        return answer(connection)
    return act


def acts(version):
    """{name: what is done within a connection of that version}"""
    found = {act.__name__.replace("_", " "): act for act in WITHIN}
    records = RECORDS | (ONLY_NEW if version == (3, 4) else {})
    found |= {name: say_record(*record) for name, record in records.items()}
    if version == (3, 4):
        found["key update"] = key_update
        found |= {"key update in pieces": split_key_update, "padded": padded, "tickets": tickets}
    return found


# ---- within a handshake ----

KEY, FINISHED = (HANDSHAKE, 16), (HANDSHAKE, 20)


def message(kind, body):
    return HANDSHAKE, bytes([kind]) + vector(3, body)


# What becomes of a message: (kind, bytes) for its place.
BENDS = {
    "left out": lambda kind, body: [],
    "twice": lambda kind, body: [(kind, body)] * 2,
    "in pieces": lambda kind, body: [(kind, body[at:at + 1]) for at in range(len(body))],
    "behind data": lambda kind, body: [(DATA, b"x"), (kind, body)],
    "behind a warning": lambda kind, body: [(ALERT, b"\x01\x5a"), (kind, body)],
    "behind ciphers": lambda kind, body: [(CIPHERS, b"\x01"), (kind, body)],
    "behind goodbye": lambda kind, body: [(ALERT, b"\x01\0"), (kind, body)],
}
BENT_BODIES = {
    "flipped": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "cut": lambda body: body[:-1],
    "padded": lambda body: body + b"\0",
    "empty": lambda body: b"",
    "of zeros": lambda body: bytes(len(body)),
    "long": lambda body: body * 1000,
}


def bent(version, which, replace):
    """The handshake with that message replaced, and data over it if it comes to that."""
    def bend(kind, body):
        found = (kind, body[0]) == which if which[0] == HANDSHAKE else kind == which[0]
        return replace(kind, body) if found else [(kind, body)]

    try:
        connection = connect(version, bend)
    except TLSRemoteAlert as alert:
        return f"alert {alert.level}/{alert.description}"
    except TimeoutError:
        return "waits"
    except (TLSAbruptCloseError, ConnectionError):
        return "cut off"
    except TLSLocalAlert as alert:
        return f"breaks the rules: {alert.description}"
    try:
        return data(connection)
    except ConnectionError:
        return "cut off while sending"
    finally:
        connection.sock.close()


def in_body(change):
    return lambda kind, body: [message(body[0], change(body[4:]))]


def bends(version):
    """{name: which message, and what becomes of it}"""
    messages = {"finished": FINISHED}
    if version == (3, 3):
        messages |= {"key": KEY, "ciphers": (CIPHERS, 1)}
    found = {}
    for name, which in messages.items():
        found |= {f"{name} {how}": (which, act) for how, act in BENDS.items()}
        if which[0] == HANDSHAKE:
            found |= {f"{name} {how}": (which, in_body(act)) for how, act in BENT_BODIES.items()}
    if version == (3, 3):
        found["ciphers of two bytes"] = ((CIPHERS, 1), lambda kind, body: [(kind, b"\x01\x01")])
        found["ciphers of another kind"] = ((CIPHERS, 1), lambda kind, body: [(kind, b"\x02")])
    return found


def within(version, act):
    connection = connect(version)
    try:
        return act(connection)
    except (BrokenPipeError, ConnectionResetError):
        return "cut off while sending"
    finally:
        connection.sock.close()


def resumed(how):
    """A session of one connection used for another, and data over it."""
    version, more = how
    first = connect(version)
    first.write(b"hello")
    answer(first)
    session = first.session
    session.serverName = more.get("name", session.serverName)
    inject(first, ALERT, b"\x01\x00")
    first.sock.close()
    try:
        second = connect(version, session=session, **more)
    except TLSRemoteAlert as alert:
        return f"alert {alert.level}/{alert.description}"
    except TLSLocalAlert as alert:
        return f"breaks the rules: {alert.description}"
    try:
        return f"resumed {second.resumed}, {data(second)}"
    finally:
        second.sock.close()


RESUMPTIONS = {
    "": {},
    " under another name": {"name": "other.example"},
    " with another cipher": {"cipherNames": ["chacha20-poly1305"]},
    " without its master secret": {"useExtendedMasterSecret": False},
}


def main():
    cases = [(name, say, parts) for name, parts in HELLOS.items()]
    for version, label in (((3, 3), "1.2"), ((3, 4), "1.3")):
        for name, act in acts(version).items():
            cases.append((f"{label} {name}", lambda both: within(*both), (version, act)))
        for name, how in bends(version).items():
            cases.append((f"{label} {name}", lambda how: bent(*how), (version, *how)))
        for name, more in RESUMPTIONS.items():
            cases.append((f"{label} resumed{name}", resumed, (version, more)))
    # They wait for what does not come most of the time.
    with ThreadPoolExecutor(32) as pool:
        verdicts = pool.map(lambda case: case[1](case[2]), cases)
        for (name, _, _), verdict in zip(cases, verdicts):
            print(f"{name}\t{verdict}", flush=True)


main()
