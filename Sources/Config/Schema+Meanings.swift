/// What each key is for, in the words of docs/configuration.md, which the tests hold equal to it:
/// by the path of its mapping and its name.
extension Schema {
  static let coreMeanings: [String: KeyValuePairs<String, String>] = [
    "": [
      "include": "more of this configuration; see \"Several files\"",
      "workers": "threads that relay; `auto` is one for each core this process may use",
      "events": "`ring` is io_uring and fails where it is denied; `auto` falls back to `epoll`",
      "latency":
        "`low` answers sooner for more processor time; see \"Latency\"",
      "admin": "the socket that `sluice ctl` talks to; absent: none; see `admin`",
      "metrics": "metrics and the live page on an address; absent: none; see `metrics`",
      "log": "see `log`",
      "state-directory": "where what outlives the process is kept, such as bans",
      "limits": "see `limits`",
      "resolver": "see `resolver`",
      "timeouts": "see `timeouts`",
      "trusted-networks":
        "the proxies in front, which must send a PROXY header; at most 10,000; see below",
      "listeners": "required, at most 1,000; see `listeners.NAME`",
      "backends": "required for all but forward proxies, at most 4,096; see `backends.NAME`",
      "egress": "who may go where through a forward proxy; at most 256; see `egress.NAME`",
    ],
    "admin": [
      "socket": "its path, of at most 107 bytes; its directory must exist",
      "mode": "who writes can connect",
      "group": "the socket's group; absent: that of the process",
      "operate": "who may change things: reload, drain, kill, ban; at most 64",
      "view": "who may look only; at most 64",
    ],
    "metrics": [
      "bind": "at most 16; shared with no listener",
      "page":
        "whether the live page is there too; a warning unless this is set or every address is "
        + "loopback",
      "hosts":
        "names under which browsers may ask, besides addresses and `localhost`; at most 64. "
        + "Others are refused, so that no web site can ask in a visitor's name",
      "top-clients": "the busiest clients shown; `off` keeps no track of them",
    ],
    "log": [
      "connections": "where the line of each ended connection goes",
      "format": "the form of these lines; the journal has its own",
      "fields": "what a line holds, in this order; each at most once",
      "level": "the least important messages written to standard error",
    ],
    "limits": [
      "max-connections": "connections at once, over all listeners",
      "per-source":
        "connections at once of each source: an IPv4 address, or the /64 of an IPv6 one; the real "
        + "client's where a PROXY header names it",
      "per-source-rate": "new connections of each source in a second, and as many in one burst",
      "exceptions": "see `limits.exceptions`",
      "memory":
        "accepting pauses while the process has more in memory; `auto` is nine tenths of its "
        + "control group's limit, or of the machine's memory",
    ],
    "limits.exceptions": [
      "networks": "required",
      "per-source": "in place of `limits.per-source`",
      "per-source-rate": "in place of `limits.per-source-rate`",
    ],
    "resolver": [
      "servers":
        "at most 8, asked in this order, for names as they are written; absent: the servers, "
        + "search list and options of /etc/resolv.conf, read again when it changes",
      "min-ttl":
        "an answer holds for so long at least, and no name is asked for more often; 100ms or more",
      "max-ttl": "an answer holds for so long at most",
      "timeout": "for the first try at a name server; doubled with each round over all of them",
      "attempts": "rounds over all name servers",
    ],
    "timeouts": [
      "preface":
        "from accept, or the end of a PROXY header, until the client's first bytes suffice to "
        + "decide, where they are waited for (`type: tls` and `starttls`)",
      "proxy-header":
        "from accept until a required PROXY header is whole; a warning below 3s, the time of one "
        + "TCP retransmit",
      "connect": "for one try to reach one server",
      "starttls":
        "with `type: starttls`: from when a server is reached until it begins TLS, its greeting "
        + "included; postscreen takes 6s for that alone",
      "idle": "without a byte in either direction; IMAP servers wait 30 minutes",
      "half-closed": "from the end of one direction until the end of the other",
      "max-age": "from accept, however busy the connection is",
      "drain": "after SIGTERM, for live connections to finish; `0s` ends them at once",
    ],
    "listeners.NAME": [
      "bind": "required, at most 64; `\":25\"` is 0.0.0.0:25 and [::]:25",
      "type":
        "`server-first` for SMTP, IMAP, POP3 and others whose server greets the client; `tls` "
        + "reads the ClientHello and ends no TLS, see [routing.md](routing.md); `starttls` greets "
        + "the client itself and reads the hello behind STARTTLS, see [starttls.md](starttls.md); "
        + "`http-proxy` is a forward proxy, see [egress.md](egress.md)",
      "rules":
        "at most 100,000; the first that takes a client decides; see `listeners.NAME.rules`",
      "backend":
        "for clients that no rule takes; required without `rules`. Beside them and absent: such "
        + "clients are turned away (`route.no-match`)",
      "egress": "with `type: http-proxy`, required: what its clients may do; see `egress.NAME`",
      "no-sni":
        "with `type: tls` and `starttls`, and where `tls` ends TLS: what becomes of a client that "
        + "names no server, or an address",
      "not-tls":
        "with `type: tls`: what becomes of one that sends no ClientHello, or not a whole one in "
        + "time",
      "starttls": "with `type: starttls`; see `listeners.NAME.starttls`",
      "tls":
        "ends the clients' TLS here; what is spoken inside goes to the backend, in plaintext "
        + "unless that has a `tls` too; with `type: tcp` and `server-first`; see "
        + "`listeners.NAME.tls`",
      "trusted-networks": "takes the place of the global list; `[]` trusts nobody",
      "inherit": "the global list counts as well; the listener's own networks win",
      "proxy-protocol": "`off` trusts nobody; see `listeners.NAME.proxy-protocol`",
      "timeouts": "see `listeners.NAME.timeouts`",
      "protocol":
        "in whose words a client that is turned away is told so, see [backends.md](backends.md); "
        + "required with `type: starttls`",
      "max-connections": "connections at once, over all workers",
      "queue":
        "`off` turns a client away that meets a limit; else it waits; see `listeners.NAME.queue`",
      "bandwidth":
        "bytes a second in each direction, of all its connections together over all workers",
      "bandwidth-per-connection": "bytes a second in each direction, of each connection",
      "congestion": "for accepted connections; absent: the system's",
      "backlog":
        "connections that wait to be accepted, for each socket; the kernel caps it at "
        + "net.core.somaxconn",
    ],
    "listeners.NAME.proxy-protocol": [
      "sources": "the full form of `trusted-networks`, and not beside it; at most 256; see below",
      "inherit":
        "beside `sources`: the global list counts as well; the listener's own networks win",
      "max-header":
        "the longest version 2 header taken, from 16B to 64KiB; version 1 has at most 107 bytes",
      "unknown": "whether version 1's `UNKNOWN` is served, with the real addresses",
    ],
    "listeners.NAME.proxy-protocol.sources": [
      "networks": "required, at most 10,000",
      "header":
        "required; `accept` (with or without a header) is outside the specification, for `type: "
        + "tls` only, and an error on `tcp` and `server-first` listeners, whose clients may wait "
        + "for the server's first bytes",
    ],
    "listeners.NAME.rules": [
      "name": "unique in its listener; absent: `rule-1`, `rule-2`, by its place",
      "sni":
        "the host name that the client's ClientHello asks for, one of at most 100,000; where one "
        + "is read: `type: tls` and `starttls`, and listeners with `tls`",
      "alpn": "one of these is among what the ClientHello offers; as above",
      "client-certificate":
        "one of these is a name in the client's certificate, which was verified: its common name, "
        + "or one of its DNS and mail names; at most 256; for listeners whose `tls` asks for one",
      "from": "where the client is: the real one, where a PROXY header tells it; at most 10,000",
      "to-address": "the address that the client reached, or a PROXY header names; at most 64",
      "to-port": "the port likewise; at most 64",
      "backend": "where such clients go; this or `action`",
      "action":
        "`reject` turns them away in the words of their protocol, TLS included; `close` without "
        + "a word",
    ],
    "listeners.NAME.starttls": [
      "name": "what the listener calls itself; absent: the machine's host name",
      "greeting": "stands in the greeting behind the name; absent: the usual word",
      "capabilities":
        "announced before TLS beside STARTTLS, and nothing else is; at most 32, of about 2 KB "
        + "together",
      "plaintext":
        "what becomes of a client that wants anything else than TLS: it goes to `backend`, or is "
        + "told to ask for TLS first",
    ],
    "listeners.NAME.tls": [
      "certificates":
        "required, at most 1,000: certificates with their chain and key; of a directory all that "
        + "end in .pem or .crt. The first is for clients that name no other; see "
        + "[tls.md](tls.md#certificates)",
      "min-version": "the oldest version of TLS that is spoken",
      "ciphers":
        "those of TLS 1.3 begin with TLS_; of a version that has none here, and when absent: "
        + "ECDHE with AEAD, as OpenSSL orders them",
      "groups":
        "key exchanges, the best first; absent: X25519MLKEM768 if OpenSSL has it (3.5), X25519, "
        + "P-256, P-384",
      "alpn":
        "protocols, the best first; a client that offers only others is refused. Absent: none is "
        + "agreed to",
      "client-ca": "PEM: the authorities whose client certificates are good",
      "client-certificate":
        "`request` serves a client whose certificate is missing or does not verify all the same; "
        + "`require` refuses it",
      "session-tickets": "whether clients may come back with a ticket and save half of the work",
    ],
    "listeners.NAME.queue": [
      "length": "clients that wait at once, over all workers",
      "timeout": "for a place, from when it met the limit",
    ],
    "listeners.NAME.timeouts": [
      "preface": "as there",
      "proxy-header": "as there",
      "connect": "as there",
      "starttls": "as there",
      "idle": "as there",
      "half-closed": "as there",
      "max-age": "as there",
    ],
    "backends.NAME": [
      "servers":
        "required, at most 1,024; no wildcards; `srv:_imap._tcp.mail.example` names a service; see "
        + "`backends.NAME.servers`",
      "send-proxy":
        "the PROXY header each server gets before the first client byte; v1 cannot carry Unix "
        + "addresses",
      "proxy-tlvs":
        "what version 2 headers carry besides addresses; see `backends.NAME.proxy-tlvs`",
      "relay-tlvs":
        "received TLVs that are passed on, from sources with `header: require` only; see below",
      "proxy-header": "the size of version 2 headers; see `backends.NAME.proxy-header`",
      "pass-client-proxy-header":
        "with `send-proxy: none`: whether a client may begin with a PROXY header of its own; "
        + "servers that trust this machine would believe it",
      "tls":
        "speaks TLS with the servers, behind the PROXY header; `tls: {}` is that with all "
        + "defaults; see `backends.NAME.tls`",
      "parents":
        "proxies that the servers are reached through, by CONNECT; the first that can be reached; "
        + "see [backends.md](backends.md#through-a-parent) and `backends.NAME.parents`",
      "parents-ca": "certificates, as PEM, that https parents must have theirs from; absent: the "
        + "system's",
      "balance": "how a server is chosen; see [backends.md](backends.md#balancing)",
      "slow-start": "how long the share of a server grows after it has come back",
      "panic-threshold":
        "with a smaller part of the servers up, those that are down or ejected are used as well",
      "max-connections": "connections at once, over all workers and listeners",
      "check": "whether servers are asked now and then how they are; see `backends.NAME.check`",
      "eject":
        "when failed connections take a server out for a while; on by default; see "
        + "`backends.NAME.eject`",
      "retries": "further tries after the first, each at another server",
      "retry-budget":
        "further tries of all connections together, of the connections of the last 10 s; ten are "
        + "always free",
      "timeouts": "see `backends.NAME.timeouts`",
      "source": "the address to dial from, of the servers' family; absent: the system chooses",
      "splice":
        "what moves bulk without copying: splice(2) when sockets are ready, or io_uring's; "
        + "`ring` contradicts `events: epoll`",
      "congestion": "for dialled connections; absent: the system's",
    ],
    "backends.NAME.servers": [
      "address": "required",
      "weight": "its share of new connections beside those of the others; 0 gets none",
      "backup": "gets connections only while no other server can",
      "max-connections": "connections at once at this server of this backend, over all workers",
    ],
    "backends.NAME.proxy-tlvs": [
      "netns": "printable ASCII",
      "type": "a TLV of your own; 0xF0 to 0xF7 are for experiments, and warned of",
      "value": "see below",
    ],
    "backends.NAME.proxy-header": [
      "limit":
        "TLVs that would make a header longer are left out; at least 232. Postfix takes 536 "
        + "bytes, Dovecot 1500",
      "align": "headers are padded to a multiple of this, with a NOOP",
    ],
    "backends.NAME.tls": [
      "ca": "PEM: the authorities whose certificates are good; absent: those the system trusts",
      "name":
        "the name that is asked for and verified; absent: each server's own name as the "
        + "configuration writes it, or its address",
      "alpn": "protocols that are offered",
      "client-certificate": "PEM: a certificate of our own with its chain and key",
      "verify": "`full`: chain, dates and name; `off` believes whoever answers, and is warned of",
    ],
    "backends.NAME.check": [
      "type":
        "absent: the `protocol` of the backend's listeners, `tls` for those of `type: tls`",
      "interval": "from one check to the next; 100ms or more",
      "timeout": "for a whole check; postscreen alone lets a client wait for 6s",
      "jitter": "each interval is longer or shorter by up to this",
      "rise": "checks in a row that must pass before a server that is down is up",
      "fall": "checks in a row that must fail before a server that is up is down",
      "on-down":
        "what becomes of the live connections of a server that is down: they go on, are ended at "
        + "once, or when it has been down for so long",
      "path": "with `http`",
      "host": "with `http`: the Host header; absent: localhost",
      "status": "with `http`: what is good, one or a list",
      "send": "with `send-expect`: what is said first",
      "expect": "with `send-expect`, required: what must come, anywhere in the answer",
      "proxy":
        "whether a check begins with a PROXY header if `send-proxy` says so: LOCAL in version 2, "
        + "the check's own addresses in version 1",
    ],
    "backends.NAME.eject": [
      "failures":
        "failed dials, and resets before the server's first byte, in a row; a dial that timed out "
        + "counts as all of them",
      "time": "how long a server is out the first time, and twice as long each time it fails again",
      "max-time": "the longest it is out",
    ],
    "backends.NAME.timeouts": [
      "connect": "as in `timeouts`",
      "starttls": "as in `timeouts`",
      "idle": "as in `timeouts`",
      "half-closed": "as in `timeouts`",
      "max-age": "as in `timeouts`",
    ],
  ]
}
