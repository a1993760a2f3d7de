import Glibc
import TestSupport
import Testing

// Real clients go out through a forward proxy of ours, to an nginx that has a host name of its own,
// over HTTP and HTTPS: what they fetch is what stands there, and what may not be fetched is refused
// in words that they show.

private struct Origin {
  let nginx: ChildProcess
  let names: NameServer
  let proxy: SluiceProcess
  let directory: TemporaryDirectory
  let plain: Endpoint
  let secure: Endpoint

  static let page = String(repeating: "0123456789abcde\n", count: 20_000)

  init() throws {
    try require(["nginx": "nginx", "openssl": "openssl"])
    directory = try TemporaryDirectory()
    _ = try TestCertificate("origin", ["DNS:origin.example"], in: directory)
    (plain, secure) = (.loopback(ReservedPort.take()), .loopback(ReservedPort.take()))
    try writeFile(directory.file("page"), Origin.page)
    try writeFile(
      directory.file("nginx.conf"),
      """
      daemon off;
      master_process off;
      pid \(directory.file("nginx.pid"));
      error_log \(directory.file("error.log"));
      events { worker_connections 100; }
      http {
        access_log off;
        client_body_temp_path \(directory.file("bodies"));
        server {
          listen \(plain);
          listen \(secure) ssl http2;
          ssl_certificate \(directory.file("origin.crt"));
          ssl_certificate_key \(directory.file("origin.key"));
          root \(directory.path);
          location /post { return 200 "posted"; }
          location /agent { return 200 "$request_method $http_host $http_via $http_x_gone"; }
        }
      }

      """)
    nginx = try ChildProcess(
      "/usr/sbin/nginx", ["-p", directory.path, "-c", directory.file("nginx.conf")])
    let (plain, nginx) = (plain, nginx)
    try wait(for: "nginx to listen: \(nginx.standardError)") {
      if let exit = nginx.poll() { throw TestFailure("nginx: \(exit): \(nginx.standardError)") }
      return (try? StreamSocket.connect(to: plain)) != nil
    }
    names = try NameServer()
    names.set("origin.example", .a(127, 0, 0, 1))
    let bind = Endpoint.loopback(ReservedPort.take())
    proxy = try SluiceProcess(
      yaml: """
        workers: 2
        log: { connections: "\(directory.file("connections"))" }
        resolver: { servers: ["\(names.address)"] }
        timeouts: { drain: 2s }
        listeners:
          out: { bind: "\(bind)", type: http-proxy, egress: office }
        egress:
          office:
            rules:
              - { name: no-social, host: .social.example, action: deny }
              - { name: all, action: allow }
            guard: { allow: [127.0.0.1] }
            connect-ports: [1-65535]
            ports: [1-65535]

        """, in: directory, at: bind)
  }

  var http: String { "http://origin.example:\(plain.port)" }
  var https: String { "https://origin.example:\(secure.port)" }

  /// As the Mattermost page has it, and what it needs not to be taken for one's own.
  var environment: [String: String] {
    [
      "HTTP_PROXY": "http://\(proxy.endpoint)", "HTTPS_PROXY": "http://\(proxy.endpoint)",
      "http_proxy": "http://\(proxy.endpoint)", "https_proxy": "http://\(proxy.endpoint)",
      "NO_PROXY": "1.2.3.4:567,.internal.example.com,login.example.com",
    ]
  }

  func run(_ program: String, _ arguments: [String]) throws -> String {
    let result = try ChildProcess.run(
      program, arguments, environment: environment, until: Deadline(inMs: 200_000))
    return result.output + (result.exit == .code(0) ? "" : "\n\(result.exit)\n\(result.error)")
  }

  func stop() throws {
    try proxy.stop()
    names.stop()
    nginx.signal(SIGTERM)
    _ = try nginx.waitForExit()
  }
}

@Test("curl through a forward proxy")
func curlThroughForwardProxy() throws {
  try require(["curl": "curl"])
  let origin = try Origin()
  let size = Origin.page.utf8.count
  func curl(_ arguments: String...) throws -> String {
    try origin.run("curl", ["-sk", "--max-time", "20"] + arguments)
  }
  #expect(try curl("\(origin.http)/page") == Origin.page)
  #expect(try curl("\(origin.https)/page") == Origin.page)
  // Two hosts and three requests on one connection to the proxy.
  let write = "%{http_code} %{size_download} %{num_connects}\\n"
  let three = try curl(
    "-w", write, "-o", "/dev/null", "\(origin.http)/page", "-o", "/dev/null",
    "http://127.0.0.1:\(origin.plain.port)/page", "-o", "/dev/null", "\(origin.http)/page")
  #expect(three == "200 \(size) 1\n200 \(size) 0\n200 \(size) 0\n")
  // HTTP/2 and HTTP/1.1 inside the tunnel, and a tunnel for plain HTTP.
  for (version, told) in [("--http2", "2"), ("--http1.1", "1.1")] {
    #expect(
      try curl(
        version, "-w", "%{http_version} %{http_code} %{http_connect}", "-o", "/dev/null",
        "\(origin.https)/page") == "\(told) 200 200")
  }
  #expect(try curl("--proxytunnel", "\(origin.http)/page") == Origin.page)
  #expect(try curl("-d", "@\(origin.directory.file("page"))", "\(origin.http)/post") == "posted")
  #expect(
    try curl(
      "-H", "Transfer-Encoding: chunked", "-d", "@\(origin.directory.file("page"))",
      "\(origin.http)/post") == "posted")
  #expect(
    try curl("-H", "Connection: x-gone", "-H", "X-Gone: y", "\(origin.http)/agent")
      == "GET origin.example:\(origin.plain.port) 1.1 sluice ")
  #expect(try curl("-I", "\(origin.http)/page").contains("Content-Length: \(size)\r\n"))
  #expect(
    try curl("-w", "%{http_code}", "http://x.social.example/")
      == "Denied by rule no-social\negress.rule\n403")
  #expect(
    try curl("-w", "%{http_connect}", "-S", "https://x.social.example/").contains("403"))
  try origin.stop()
}

@Test("Go through a forward proxy")
func goThroughForwardProxy() throws {
  try require(["go": "golang-go"])
  let origin = try Origin()
  let directory = try TemporaryDirectory()
  let output = try origin.run(
    "env",
    [
      "GO111MODULE=off", "GOCACHE=\(directory.file("cache"))", "GOFLAGS=",
      "HOME=\(directory.file("home"))", "go", "run",
      "\(packageDirectory)/Tests/PeerTests/peers/egress.go", "\(origin.http)/page",
      "\(origin.https)/page", "\(origin.http)/post#post", "\(origin.http)/page",
      "http://x.social.example/", "https://x.social.example/", "https://10.0.0.1/",
    ])
  let size = Origin.page.utf8.count
  let lines = output.split(separator: "\n").map(String.init)
  #expect(
    lines == [
      "200 OK \(size) HTTP/1.1", "200 OK \(size) HTTP/1.1", "200 OK 6 HTTP/1.1",
      "200 OK \(size) HTTP/1.1", "403 Denied by rule no-social 36 HTTP/1.1",
      // All that its transport shows of a tunnel that was refused.
      "Get \"https://x.social.example/\": Denied by rule no-social",
      "Get \"https://10.0.0.1/\": Denied by the guard: private, 10.0.0.0/8",
    ] || lines.count == 7 && lines[5].hasSuffix("Denied by rule no-social")
      && lines[6].hasSuffix("Denied by the guard: private, 10.0.0.0/8"), "\(output)")
  try origin.stop()
}

@Test("Python's requests, wget, git and apt through a forward proxy")
func othersThroughForwardProxy() throws {
  try require(["wget": "wget", "git": "git", "apt-get": "apt"])
  let origin = try Origin()
  let size = Origin.page.utf8.count
  let python = try origin.run(
    "/usr/bin/python3",
    [
      "\(packageDirectory)/Tests/PeerTests/peers/egress_client.py", "\(origin.http)/page",
      "\(origin.https)/page", "\(origin.http)/page", "http://x.social.example/",
      "https://x.social.example/",
    ])
  let lines = python.split(separator: "\n").map(String.init)
  #expect(lines.count == 5 && lines.prefix(3) == ["200 \(size)", "200 \(size)", "200 \(size)"])
  #expect(lines.last?.contains("Denied by rule no-social") == true, "\(python)")
  for url in ["\(origin.http)/page", "\(origin.https)/page"] {
    #expect(
      try origin.run("wget", ["-q", "--no-check-certificate", "-T", "20", "-O", "-", url])
        == Origin.page)
  }
  // A repository over HTTPS, as files.
  let (work, bare) = (origin.directory.file("work"), origin.directory.file("repository.git"))
  let identity = ["-c", "user.name=t", "-c", "user.email=t@t.example"]
  for arguments in [
    ["init", "-q", work],
    ["-C", work] + identity + ["commit", "-q", "--allow-empty", "-m", "first"],
    ["clone", "-q", "--bare", work, bare], ["-C", bare, "update-server-info"],
  ] {
    #expect(try origin.run("git", arguments) == "")
  }
  let clone = origin.directory.file("clone")
  let cloned = try origin.run(
    "git",
    ["-c", "http.sslVerify=false", "clone", "-q", "\(origin.https)/repository.git", clone])
  #expect(cloned == "")
  #expect(try origin.run("git", ["-C", clone, "log", "--format=%s"]) == "first\n")
  // apt's own downloader, which knows the proxy from its configuration only.
  let file = origin.directory.file("fetched")
  _ = try ChildProcess.run(
    "/usr/lib/apt/apt-helper",
    [
      "-o", "Acquire::http::Proxy=http://\(origin.proxy.endpoint)", "-o", "APT::Sandbox::User=root",
      "download-file", "\(origin.http)/page", file,
    ], until: Deadline(inMs: 40_000))
  #expect(contents(of: file) == Origin.page)
  try origin.stop()
}
