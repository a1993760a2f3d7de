#!/usr/bin/env bash
# In network namespaces of its own: a forward proxy, and an origin that has an address of the public
# network. Prints what curl gets of it, one line each.
#   public_origin.sh SLUICE DIRECTORY     with origin.crt and origin.key in it; as root
set -euo pipefail
if [ "${3:-}" != inside ]; then exec unshare --net --kill-child "$0" "$1" "$2" inside; fi
sluice=$1 directory=$2 origin=198.41.0.4 own=198.41.0.1
PATH=$PATH:/usr/sbin:/sbin

unshare --net sleep 50 &
far=$!
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
for _ in $(seq 50); do
  [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break
  sleep 0.1
done
ip link set lo up
ip link add near type veth peer name far netns "$far"
ip addr add "$own/24" dev near
ip link set near up
nsenter --target "$far" --net sh -c "ip link set lo up; ip addr add $origin/24 dev far; ip link set far up"

cat >"$directory/nginx.conf" <<CONF
daemon off; master_process off; pid $directory/nginx.pid; error_log $directory/nginx.log;
events {}
http {
  access_log off;
  server {
    listen $origin:80; listen $origin:443 ssl; listen $origin:8080;
    ssl_certificate $directory/origin.crt; ssl_certificate_key $directory/origin.key;
    location / { return 200 "good from \$remote_addr"; }
  }
}
CONF
nsenter --target "$far" --net nginx -p "$directory" -c "$directory/nginx.conf" 2>/dev/null &
cat >"$directory/sluice.yaml" <<CONF
workers: 1
log: { connections: "$directory/connections" }
listeners: { out: { bind: 127.0.0.1:3128, type: http-proxy, egress: e } }
egress: { e: { rules: [{ name: all, action: allow }] } }
CONF
"$sluice" run -c "$directory/sluice.yaml" 2>"$directory/sluice.log" &

ask() { curl -sk --max-time 10 --noproxy '' -x http://127.0.0.1:3128 "$@" || true; echo; }
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/$origin/80" 4<>/dev/tcp/127.0.0.1/3128) 2>/dev/null && break
  sleep 0.1
done
ask "http://$origin/"
ask "https://$origin/"
ask "http://$origin:8080/"
ask "http://$own/"
ask -w '%{http_connect}' "https://$own/"
ask "http://[::ffff:$own]/"
