"""The `proxyprotocol` package (PyPI: proxy-protocol) as encoder and decoder, for the tests.

usage: proxy_package.py encode COUNT SEED     print COUNT headers made by the package
       proxy_package.py decode                read headers, one in hexadecimal per line
       proxy_package.py ssl                   likewise, and print what their SSL TLV says: client,
                                              verify, and the texts in hexadecimal, `-` if absent

Every line of output is `HEX FIELDS`, or `HEX refused WHY`. FIELDS are the version, `local` or
`proxy`, the addresses as ADDRESS PORT ADDRESS PORT (or PATH PATH, in hexadecimal, `-` if empty), or
`none`, and the TLVs but for CRC32C by type, as TYPE=VALUE in hexadecimal. Deterministic.
"""

import random
import socket
import sys
from ipaddress import IPv4Address, IPv6Address

from proxyprotocol.checksum import crc32c
from proxyprotocol.result import (
    ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal, ProxyResultUnix, ProxyResultUnknown,
    is_ipv4, is_ipv6, is_local, is_unix)
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

assert crc32c is not None, "the package crc32c is missing, without which nothing is verified"
V1, V2 = ProxyProtocolV1(), ProxyProtocolV2()


def describe(version, result):
    words = [f"v{version}", "local" if is_local(result) else "proxy"]
    if is_ipv4(result) or is_ipv6(result):
        for address, port in (result.source, result.dest):
            words += [address.exploded, str(port)]
        if result.protocol == socket.SOCK_DGRAM:
            words.append("datagram")
    elif is_unix(result):
        words += [path.encode().hex() or "-" for path in (result.source, result.dest)]
    else:
        words.append("none")
    tlvs = {kind: value for kind, value in result.tlv.items() if kind != 0x03}
    return " ".join(words + [f"{kind:02x}={tlvs[kind].hex()}" for kind in sorted(tlvs)])


def decode(data):
    version = 1 if V1.is_valid(data) else 2
    return describe(version, (V1 if version == 1 else V2).unpack(data))


def any_tlv(random):
    def some(limit):
        return random.randbytes(random.randrange(limit))

    fields = {}
    if random.random() < 0.3:
        fields["alpn"] = random.choice([b"h2", b"imap", some(20)])
    if random.random() < 0.3:
        fields["authority"] = random.choice(["mail.example.test", "b\u00fccher.example", ""])
    if random.random() < 0.3:
        fields["unique_id"] = some(129)
    if random.random() < 0.3:
        fields["netns"] = random.choice(["blue", "a-b_c"])
    if random.random() < 0.3:
        fields["ssl"] = ProxyProtocolSSLTLV(
            has_ssl=True, has_cert_conn=random.random() < 0.5, verified=random.random() < 0.5,
            version="TLSv1.3", cn=random.choice([None, "client", "J\u00fcrgen"]),
            cipher="TLS_AES_256_GCM_SHA384", sig_alg="RSA-SHA256", key_alg="EC256")
    init = {random.randrange(0xE0, 0xF8): some(60) for _ in range(random.randrange(3))}
    return ProxyProtocolTLV(init=init, **fields)


def any_result(random):
    def four():
        return IPv4Address(random.getrandbits(32)), random.randrange(65536)

    def six():
        bits = random.choice([
            random.getrandbits(128), random.getrandbits(16), 0, 1,
            0xFFFF << 32 | random.getrandbits(32), 0x20010DB8 << 96 | random.getrandbits(64)])
        return IPv6Address(bits), random.randrange(65536)

    def path():
        letters = "abc/._-0"
        return "/" + "".join(random.choice(letters) for _ in range(random.randrange(107)))

    kind = random.choice(["four", "six", "four", "six", "unix", "local"])
    tlv = any_tlv(random)
    transport = random.choice([socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM])
    if kind == "four":
        return ProxyResultIPv4(four(), four(), protocol=transport, tlv=tlv)
    if kind == "six":
        return ProxyResultIPv6(six(), six(), protocol=transport, tlv=tlv)
    if kind == "unix":
        return ProxyResultUnix(path(), path(), protocol=transport, tlv=tlv)
    return ProxyResultLocal(tlv=tlv)


def encode(count, seed):
    generator = random.Random(seed)
    for _ in range(count):
        result = any_result(generator)
        if generator.random() < 0.3:
            result = generator.choice([
                ProxyResultUnknown(), ProxyResultIPv4(result.source, result.dest)
                if is_ipv4(result) else ProxyResultUnknown(),
                ProxyResultIPv6(result.source, result.dest)
                if is_ipv6(result) else ProxyResultUnknown()])
            data = V1.pack(result)
            print(data.hex(), describe(1, result))
        else:
            print(V2.pack(result).hex(), describe(2, result))


def ssl_words(data):
    ssl = V2.unpack(data).tlv.ssl
    texts = [ssl.version, ssl.cn, ssl.cipher, ssl.sig_alg, ssl.key_alg]
    return " ".join([str(int(ssl.client)), str(int(ssl.verify))] + [
        "-" if text is None else text.encode().hex() for text in texts])


if sys.argv[1] == "encode":
    encode(int(sys.argv[2]), int(sys.argv[3]))
elif sys.argv[1] == "ssl":
    for line in sys.stdin:
        print(ssl_words(bytes.fromhex(line)))
else:
    for line in sys.stdin:
        try:
            print(line.strip(), decode(bytes.fromhex(line)))
        except Exception as error:  # The package raises many kinds; each is a refusal.
            print(line.strip(), "refused", type(error).__name__)
