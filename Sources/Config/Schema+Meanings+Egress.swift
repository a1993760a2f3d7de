/// What the keys of `egress` are for, as `coreMeanings` has the others.
extension Schema {
  static let meanings = coreMeanings.merging(egressMeanings) { first, _ in first }

  private static let parentMeanings: KeyValuePairs<String, String> = [
    "url":
      "required; http or https, and the same for all; credentials in it are percent-encoded, and "
      + "shown nowhere",
    "user": "with `password-file`, in place of credentials in the URL",
    "password-file": "its first line is the password",
  ]

  private static let egressMeanings: [String: KeyValuePairs<String, String>] = [
    "egress.NAME": [
      "users":
        "a file as htpasswd(1) makes it, with bcrypt, SHA-crypt or yescrypt; then clients have to "
        + "log in; absent: nobody has to. Read again at each reload",
      "realm": "what clients are told they log in to",
      "anonymous": "clients that need not log in",
      "rules":
        "the first that takes a request decides; what none takes is denied; at most 100,000; see "
        + "`egress.NAME.rules`",
      "guard":
        "keeps clients from addresses inside; on by default; `off` opens them all; see "
        + "`egress.NAME.guard`",
      "connect-ports": "where CONNECT may go",
      "ports": "where plain requests may go",
      "parents":
        "proxies that requests go through; the first that can be reached; see "
        + "`egress.NAME.parents`",
      "parents-ca": "certificates, as PEM, that https parents must have theirs from; absent: the "
        + "system's",
      "no-proxy":
        "what goes past the parents, with Go's rules, see [egress.md](egress.md#no-proxy); "
        + "`from-environment` takes NO_PROXY or no_proxy",
      "via": "whether `Via` is added to what is forwarded",
      "limits": "see `egress.NAME.limits`",
      "timeouts": "see `egress.NAME.timeouts`",
    ],
    "egress.NAME.rules": [
      "name": "for log, metrics and `sluice explain`; absent: `rule-1` and so on, by its place",
      "user": "who has logged in",
      "from": "where the client is",
      "client-certificate": "a name of the certificate that the client has shown to us",
      "host": "the name that is asked for; never an address",
      "to": "the address that is dialled, or, behind a parent, asked for",
      "port": "the one that is asked for",
      "method": "CONNECT for tunnels, and those of HTTP",
      "action":
        "required; `report` allows, and is told apart in log and metrics, to try a rule out",
    ],
    "egress.NAME.guard": [
      "allow": "exceptions; of several networks the longest prefix wins",
      "deny": "more that nobody is let through to; wins over `allow` at equal length",
    ],
    "backends.NAME.parents": parentMeanings,
    "egress.NAME.parents": parentMeanings,
    "egress.NAME.limits": [
      "per-user": "tunnels and plain connections of one user at once",
      "per-source": "the same of one client: an IPv4 address, or the /64 of an IPv6 one",
      "head": "bytes of a request's head, 1KiB to 60KiB",
      "fields": "header fields of a request",
    ],
    "egress.NAME.timeouts": [
      "head": "until a request's head is there",
      "auth": "until a password is checked",
      "resolve": "until the host's name is resolved",
      "dial": "until it is connected, over all tries, parents among them",
      "parent": "until a parent has answered a CONNECT",
      "reply": "until the origin begins to answer a plain request",
    ],
  ]
}
