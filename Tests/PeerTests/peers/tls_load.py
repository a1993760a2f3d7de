"""Clients that make one TLS connection after another, and the server behind the proxy.

usage: tls_load.py PROXY_PORT SERVER_PORT

Listens on SERVER_PORT, prints "listening", and once it has read a line connects to PROXY_PORT from
several threads until standard input ends: full handshakes and resumed ones, each with a few bytes that
must come back. Then prints {"done": N, "resumed": N, "failures": [...], "certificates": N} as JSON.
"""

import hashlib
import json
import socket
import ssl
import sys
import threading

THREADS = 4
PATIENCE_S = 20
proxy, server = int(sys.argv[1]), int(sys.argv[2])
lock = threading.Lock()
counts = {"done": 0, "resumed": 0}
failures, certificates = [], set()
stop = threading.Event()


def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def one(context, session):
    with socket.create_connection(("127.0.0.1", proxy), PATIENCE_S) as plain:
        with context.wrap_socket(plain, server_hostname="mail.example.test", session=session) as tls:
            tls.sendall(b"hello")
            assert tls.recv(5) == b"hello"
            with lock:
                counts["done"] += 1
                counts["resumed"] += tls.session_reused
                certificates.add(hashlib.sha256(tls.getpeercert(True)).hexdigest())
            return tls.session


def run(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    session, number = None, 0
    while not stop.is_set():
        number += 1
        try:
            session = one(context, session if number % 2 else None)
        except (OSError, AssertionError) as error:
            failures.append(repr(error))


listener = socket.create_server(("127.0.0.1", server), backlog=128)
threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("listening", flush=True)
sys.stdin.readline()
versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
threads = [threading.Thread(target=run, args=(versions[n % 2],)) for n in range(THREADS)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(json.dumps({**counts, "failures": failures, "certificates": len(certificates)}))
