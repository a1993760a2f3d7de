"""A TLS client on the OpenSSL that the PyPI package `cryptography` brings along, for the tests.

usage: openssl_client.py NAME PORT CERTIFICATE

Asks 127.0.0.1 for NAME and for its page, and takes no certificate but the one in the file. Prints
the version of its OpenSSL in the first line, then what the server answered.
"""

import signal
import socket
import sys

from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL

name, port, certificate = sys.argv[1:]
# The end of everything that may wait: the library knows no deadlines.
signal.alarm(30)

settings = SSL.Context(SSL.TLS_CLIENT_METHOD)
settings.load_verify_locations(certificate)
settings.set_verify(SSL.VERIFY_PEER)
settings.set_alpn_protos([b"http/1.1"])
print(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode())

plain = socket.create_connection(("127.0.0.1", int(port)))
tls = SSL.Connection(settings, plain)
tls.set_tlsext_host_name(name.encode())
tls.set_connect_state()
tls.do_handshake()
with open(certificate, "rb") as file:
    shown = tls.get_peer_certificate(as_cryptography=True)
    assert shown == load_pem_x509_certificate(file.read()), shown

tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
answer = b""
try:
    while True:
        answer += tls.recv(65536)
except (SSL.ZeroReturnError, SSL.SysCallError):
    pass
print(answer.decode())
