"""The configuration of each proxy: one worker, and the same listeners in front of one backend.

The listeners, by name: `none`, `v1` and `v2` are what is sent before the bytes (a PROXY header or
none); `sni` reads the ClientHello and sends one of ten names to the backend; `tls` ends TLS;
`aside` leads to a backend of its own, for a second load beside the first.
"""

import os
from pathlib import Path

HEADERS = ("none", "v1", "v2")
ENTRIES = (*HEADERS, "sni", "tls", "aside")
# Of ten names, the one that leads to the backend; the others lead to where nobody listens.
NAMES = [f"host-{n}.example.com" for n in range(10)]
ROUTED = NAMES[6]
NOWHERE = 1
HOST = "127.0.0.1"
# Where the load's backend listens: HOST and those after it, for contenders with several servers.
ADDRESSES = 4
# Of the limit on open files, what no connection gets: pipes, logs, Sluice's own reserve.
DESCRIPTORS_ASIDE = 1000
# Enough for 512 streams to splice at once.
HAPROXY_PIPES = 512


def haproxy_config(kind, ports, backend, aside, certificate):
    """`ports`: {entry: port}. Lines of its log go to its standard error, which is a file: one
    write each, as its documentation has it for where no syslog runs, and no reader beside it."""
    splice = {
        "auto": ["option splice-auto"],
        "forced": ["option splice-request", "option splice-response"],
        "copy": [],
    }[kind.splice]
    # By itself it would set so many descriptors aside for pipes that 9,000 connections don't fit.
    room = min(100000, (os.sysconf("SC_OPEN_MAX") - 2 * HAPROXY_PIPES - 200) // 2)
    lines = ["global", f"  nbthread {kind.workers}", f"  maxconn {room}",
             f"  maxpipes {HAPROXY_PIPES}"]
    lines += ["  log stderr format raw local0"] if kind.log != "off" else []
    lines += ["defaults", "  mode tcp", "  timeout connect 5s"]
    lines += ["  log global", "  option tcplog"] if kind.log != "off" else []
    lines += ["  timeout client 10m", "  timeout server 10m"] + ["  " + line for line in splice]
    send = {"none": "", "v1": " send-proxy", "v2": " send-proxy-v2"}
    for header in HEADERS:
        lines += [f"listen {header}", f"  bind {HOST}:{ports[header]}"]
        lines += [f"  server backend {HOST}:{backend}{send[header]}"]
    lines += ["listen aside", f"  bind {HOST}:{ports['aside']}", f"  server backend {HOST}:{aside}"]
    lines += ["listen tls", f"  bind {HOST}:{ports['tls']} ssl crt {certificate}",
              f"  server backend {HOST}:{backend}"]
    lines += ["frontend sni", f"  bind {HOST}:{ports['sni']}", "  tcp-request inspect-delay 5s"]
    lines += ["  tcp-request content accept if { req.ssl_hello_type 1 }"]
    lines += [f"  use_backend {name} if {{ req.ssl_sni -i {name} }}" for name in NAMES]
    for name in NAMES:
        port = backend if name == ROUTED else NOWHERE
        lines += [f"backend {name}", f"  server {name} {HOST}:{port}"]
    return "\n".join(lines) + "\n"


# What HAProxy's `option tcplog` says of a connection, as far as nginx knows it.
NGINX_LOG = ("'$remote_addr:$remote_port [$time_local] $server_port $protocol $status $bytes_sent "
             "$bytes_received $session_time \"$upstream_addr\" $upstream_connect_time'")


def nginx_config(kind, ports, backend, aside, certificate, directory):
    """Its log is gathered as Sluice's is, so that a write is of many lines."""
    files = os.sysconf("SC_OPEN_MAX")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    log = "access_log off;"
    if kind.log != "off":
        log = f"log_format line {NGINX_LOG}; access_log {directory}/log line buffer=64k flush=1s;"
    servers = ""
    # Version 2 is not something its stream module can send.
    for entry, more in (("none", ""), ("v1", " proxy_protocol on;"), ("aside", "")):
        listen = f"listen {HOST}:{ports[entry]} backlog=4096;"
        to = "aside" if entry == "aside" else "backend"
        servers += f"  server {{ {listen}{more} proxy_pass {to}; }}\n"
    names = "".join(f"    {name} {HOST}:{backend if name == ROUTED else NOWHERE};\n"
                    for name in NAMES)
    sni, tls = ports["sni"], ports["tls"]
    servers += f"""  map $ssl_preread_server_name $server_of_name {{
{names}  }}
  server {{ listen {HOST}:{sni} backlog=4096; ssl_preread on; proxy_pass $server_of_name; }}
  server {{
    listen {HOST}:{tls} ssl backlog=4096; proxy_pass backend;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    ssl_protocols TLSv1.2 TLSv1.3;
  }}
"""
    return f"""{f"load_module {module};" if module.exists() else ""}
daemon off;
worker_processes {kind.workers};
error_log {directory}/nginx-error.log error;
pid {directory}/nginx.pid;
events {{ worker_connections {min(files - 100, 20000)}; }}
stream {{
  {log}
  proxy_half_close on;
  proxy_buffer_size 64k;
  proxy_timeout 10m;
  upstream backend {{ server {HOST}:{backend} max_fails=0; }}
  upstream aside {{ server {HOST}:{aside} max_fails=0; }}
{servers}}}
"""


def sniproxy_config(ports, backend, directory):
    """Names are Perl's regular expressions, tried one after the other."""
    names = ""
    for name in NAMES:
        pattern = name.replace(".", "\\.")
        names += f"    ^{pattern}$ {HOST}:{backend if name == ROUTED else NOWHERE}\n"
    return f"""pidfile {directory}/sniproxy.pid
error_log {{
    filename {directory}/sniproxy.log
    priority warning
}}
listen {HOST}:{ports["sni"]} {{
    proto tls
    table names
}}
table names {{
{names}}}
"""


# Balancing and limits: how servers are chosen, and limits that are never reached.
CHOICES = {"turns": "round-robin", "least": "least-connections", "hash": "source-hash"}
FAR = 1000000


def sluice_config(kind, ports, backend, aside, certificate, log):
    listeners = backends = sources = ""
    servers, server_limit, backend_more, listener_more = [HOST], "", "eject: off", ""
    if kind.choice is not None:
        servers = [f"127.0.0.{n}" for n in range(1, ADDRESSES + 1)]
    if kind.choice in CHOICES:
        backend_more += f", balance: {CHOICES[kind.choice]}"
    elif kind.choice == "limits":
        server_limit = f", max-connections: {FAR}"
        backend_more += f", max-connections: {FAR}"
        listener_more = f", max-connections: {FAR}, queue: {{ length: 1000 }}"
        sources = f", per-source: {FAR}, per-source-rate: {FAR}"
    elif kind.choice == "bandwidth":
        listener_more = ", bandwidth: 64GiB, bandwidth-per-connection: 64GiB"
    for entry in (*HEADERS, "aside"):
        port = aside if entry == "aside" else backend
        listed = ", ".join(f'{{ address: "{server}:{port}"{server_limit} }}' for server in servers)
        header = "none" if entry == "aside" else entry
        listeners += (f'  {entry}: {{ bind: "{HOST}:{ports[entry]}", type: tcp, backend: {entry}'
                      f'{listener_more} }}\n')
        backends += (f'  {entry}: {{ servers: [{listed}], send-proxy: "{header}", '
                     f'splice: "{kind.splice}", {backend_more} }}\n')
    rules = ", ".join(f"{{ name: {name}, sni: {name}, "
                      f"backend: {'none' if name == ROUTED else 'nowhere'} }}" for name in NAMES)
    listeners += (f'  tls: {{ bind: "{HOST}:{ports["tls"]}", type: tcp, backend: none, '
                  f'tls: {{ certificates: "{certificate}" }} }}\n')
    listeners += f'  sni: {{ bind: "{HOST}:{ports["sni"]}", type: tls, rules: [{rules}] }}\n'
    backends += f'  nowhere: {{ servers: ["{HOST}:{NOWHERE}"] }}\n'
    room = min(100000, (os.sysconf("SC_OPEN_MAX") - DESCRIPTORS_ASIDE) // 2)
    latency = f"latency: {kind.latency}\n" if kind.latency != "balanced" else ""
    return f"""workers: {kind.workers}
events: {kind.events}
{latency}log: {{ connections: "{log}" }}
limits: {{ max-connections: {room}{sources} }}
timeouts: {{ idle: 10m, drain: 1s }}
listeners:
{listeners}backends:
{backends}"""


def floor_arguments(ports, backend, aside):
    """Its `none` copies and its `splice` splices; which one a workload goes to is the caller's."""
    lanes = (("copy", "none", backend), ("splice", "splice", backend), ("v2", "v2", backend),
             ("copy", "aside", aside))
    return [f"{lane}:{ports[entry]}:{to}" for lane, entry, to in lanes]
