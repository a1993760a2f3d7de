"""A mail client for the tests: one session of one protocol, from a chosen source address.

usage: mail_client.py PROTOCOL HOST PORT SOURCE CA_FILE [SUBJECT]

PROTOCOL is smtp, smtp-starttls, submission, submissions, imap, imaps, pop3, pop3s or sieve. All but
smtp use TLS, check the certificate against CA_FILE for the name mail.example.test, and (but for
smtp-starttls) log in. Prints "ok" and what was seen; any failure is a traceback and exit code 1.
"""

import base64
import imaplib
import poplib
import smtplib
import socket
import ssl
import sys

NAME = "mail.example.test"
USER, PASSWORD = "alice@example.test", "secret"
PATIENCE_S = 20

protocol, host, port, source, ca_file = sys.argv[1:6]
subject = sys.argv[6] if len(sys.argv) > 6 else "no subject"
tls = ssl.create_default_context(cafile=ca_file)
connect = socket.create_connection


def to_the_proxy(address, timeout=None, source_address=None, **_):
    """The library's clients ask for NAME, which their TLS then checks; it is here."""
    return connect((host, int(port)), PATIENCE_S, (source, 0))


socket.create_connection = to_the_proxy


def send_mail():
    if protocol == "submissions":
        client = smtplib.SMTP_SSL(NAME, int(port), "client.example.test", context=tls)
    else:
        client = smtplib.SMTP(NAME, int(port), "client.example.test")
    if protocol in ("smtp-starttls", "submission"):
        client.starttls(context=tls)
    if protocol in ("submission", "submissions"):
        client.login(USER, PASSWORD)
    text = f"From: bob@example.test\r\nTo: {USER}\r\nSubject: {subject}\r\n\r\nHello.\r\n"
    refused = client.sendmail("bob@example.test", [USER], text)
    assert not refused, refused
    client.quit()


def read_imap():
    if protocol == "imaps":
        client = imaplib.IMAP4_SSL(NAME, int(port), ssl_context=tls)
    else:
        client = imaplib.IMAP4(NAME, int(port))
        client.starttls(tls)
    client.login(USER, PASSWORD)
    status, count = client.select("INBOX")
    assert status == "OK", count
    client.logout()
    return f"{count[0].decode()} messages"


def read_pop3():
    if protocol == "pop3s":
        client = poplib.POP3_SSL(NAME, int(port), context=tls)
    else:
        client = poplib.POP3(NAME, int(port))
        client.stls(tls)
    client.user(USER)
    client.pass_(PASSWORD)
    count, _ = client.stat()
    client.quit()
    return f"{count} messages"


def sieve_response(stream):
    """Lines up to OK; RFC 5804, section 1.2."""
    lines = []
    while True:
        line = stream.readline().decode().rstrip("\r\n")
        lines.append(line)
        if line.split(" ")[0] in ("OK", "NO", "BYE", ""):
            assert line.startswith("OK"), lines
            return lines


def list_sieve():
    plain = to_the_proxy(None)
    stream = plain.makefile("rb")
    sieve_response(stream)
    plain.sendall(b"STARTTLS\r\n")
    sieve_response(stream)
    secure = tls.wrap_socket(plain, server_hostname=NAME)
    stream = secure.makefile("rb")
    sieve_response(stream)
    login = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    secure.sendall(f'AUTHENTICATE "PLAIN" "{login}"\r\n'.encode())
    sieve_response(stream)
    secure.sendall(b"LISTSCRIPTS\r\n")
    sieve_response(stream)
    secure.sendall(b"LOGOUT\r\n")
    sieve_response(stream)
    secure.close()


sessions = {"imap": read_imap, "imaps": read_imap, "pop3": read_pop3, "pop3s": read_pop3,
            "sieve": list_sieve}
print("ok", sessions.get(protocol, send_mail)() or "")
