// Reaching an upstream: a non-blocking connect, its deadline, and what is said first.
#include "tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/un.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

socklen_t endpoint_encode(const struct sluice_endpoint *endpoint,
                          struct sockaddr_storage *address) {
  memset(address, 0, sizeof *address);
  switch (endpoint->family) {
    case sluice_family_ipv4: {
      struct sockaddr_in *in = (struct sockaddr_in *)address;
      in->sin_family = AF_INET;
      in->sin_port = htons(endpoint->port);
      in->sin_addr.s_addr = htonl((uint32_t)endpoint->low);
      return sizeof *in;
    }
    case sluice_family_ipv6: {
      struct sockaddr_in6 *in = (struct sockaddr_in6 *)address;
      in->sin6_family = AF_INET6;
      in->sin6_port = htons(endpoint->port);
      in->sin6_scope_id = endpoint->scope;
      for (int i = 0; i < 8; i++) {
        in->sin6_addr.s6_addr[i] = (uint8_t)(endpoint->high >> (56 - 8 * i));
        in->sin6_addr.s6_addr[8 + i] = (uint8_t)(endpoint->low >> (56 - 8 * i));
      }
      return sizeof *in;
    }
    case sluice_family_unix: {
      struct sockaddr_un *un = (struct sockaddr_un *)address;
      un->sun_family = AF_UNIX;
      size_t length = endpoint->path_length;
      if (length >= sizeof un->sun_path) length = sizeof un->sun_path - 1;
      if (endpoint->path) memcpy(un->sun_path, endpoint->path, length);
      bool abstract = length > 0 && un->sun_path[0] == 0;
      return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
    }
    case sluice_family_none:
      break;
  }
  return 0;
}

void endpoint_decode(const struct sockaddr_storage *address, struct sluice_endpoint *endpoint) {
  *endpoint = (struct sluice_endpoint){.family = sluice_family_none};
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    endpoint->family = sluice_family_ipv4;
    endpoint->port = ntohs(in->sin_port);
    endpoint->low = ntohl(in->sin_addr.s_addr);
  } else if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
    endpoint->family = sluice_family_ipv6;
    endpoint->port = ntohs(in->sin6_port);
    endpoint->scope = in->sin6_scope_id;
    for (int i = 0; i < 8; i++) {
      endpoint->high = endpoint->high << 8 | in->sin6_addr.s6_addr[i];
      endpoint->low = endpoint->low << 8 | in->sin6_addr.s6_addr[8 + i];
    }
  } else if (address->ss_family == AF_UNIX) {
    endpoint->family = sluice_family_unix;
  }
}

static int dial_domain(enum sluice_family family) {
  if (family == sluice_family_ipv4) return AF_INET;
  return family == sluice_family_ipv6 ? AF_INET6 : AF_UNIX;
}

static void dial_leave(struct sluice_worker *w, struct connection *c, int number);

static void set_int(int descriptor, int level, int name, int value) {
  (void)sys_set_option(descriptor, level, name, &value, sizeof value);
}

// Keepalive and user time-out for the dialled side, set when the connection has lived a while:
// short ones never pay for the calls. (Accepted sockets inherit theirs from the listener.)
void dial_tune(struct connection *c) {
  struct side *side = &c->sides[sluice_side_upstream];
  c->tuned = true;
  if (side->descriptor < 0 || side->local) return;
  set_int(side->descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(side->descriptor, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_int(side->descriptor, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set_int(side->descriptor, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
  set_int(side->descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

static int dial_prepare(int descriptor, const struct sluice_route *route) {
  if (route->address.family != sluice_family_unix) {
    set_int(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    if (route->congestion.length > 0 &&
        sys_set_option(descriptor, IPPROTO_TCP, TCP_CONGESTION, route->congestion.start,
                       route->congestion.length) != 0)
      return errno;
  }
  if (route->source.family == sluice_family_none) return 0;
  // The port is chosen at connect, so that one source address serves every 4-tuple (ip(7)).
  struct sockaddr_storage source;
  socklen_t length = endpoint_encode(&route->source, &source);
  if (route->source.family != sluice_family_unix)
    set_int(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  return sys_bind(descriptor, (struct sockaddr *)&source, length) == 0 ? 0 : errno;
}

// Opens a socket and starts to connect it. Returns 0 when it is connected at once (Unix sockets),
// EINPROGRESS, or why it failed; then there may be a descriptor to be closed all the same.
int dial_begin(struct side *side, const struct sluice_route *route) {
  int descriptor = sys_socket(dial_domain(route->address.family), SOCK_STREAM);
  if (descriptor < 0) return errno;
  *side = (struct side){.descriptor = descriptor,
                        .plain = true,
                        .local = route->address.family == sluice_family_unix};
  int number = dial_prepare(descriptor, route);
  if (number == 0) {
    struct sockaddr_storage address;
    socklen_t length = endpoint_encode(&route->address, &address);
    if (sys_connect(descriptor, (struct sockaddr *)&address, length) != 0) number = errno;
  }
  side->writable = number == 0;
  return number;
}

// Starts the upstream's dial. What is to be said first, the prefix and then
// `send`, waits in the rest of the upward half, before the bytes that were held. Nothing has
// begun when there is no room for it.
enum sluice_result dial_start(struct sluice_worker *w, struct connection *c,
                              const struct sluice_route *route, struct sluice_bytes send) {
  struct half *up = &c->halves[0];
  INVARIANT(c->sides[sluice_side_upstream].descriptor < 0 && c->race == 0);
  buffer_give(w, &up->rest);  // the prefix of a dial that failed
  c->tls_inside = route->tls && route->tls_inside;
  enum sluice_result kept =
      buffer_append(w, transport_first(c), route->prefix.start, route->prefix.length);
  if (kept == sluice_result_done) kept = buffer_append(w, &up->rest, send.start, send.length);
  if (kept != sluice_result_done) return kept;

  c->idle_ms = route->idle_ms;
  c->half_closed_ms = route->half_closed_ms;
  c->max_age_ms = route->max_age_ms;
  c->splice = route->splice;
  c->redial_reset = route->redial_reset;
  c->ask_open = route->ask_open;
  c->outlived = route->outlived;
  c->greet_ms = route->hold_ms;
  pace_set(w, c, route);
  c->summary.tries++;
  c->summary.connect_us = w->now_ns / 1000;  // until dial_check makes a duration of it
  c->until_ms = route->connect_ms ? w->now_ms + route->connect_ms : 0;
  c->race_ms = (uint16_t)(route->race_ms < UINT16_MAX ? route->race_ms : UINT16_MAX);
  connection_move(w, c, STATE_DIALLING);
  struct tls *tls = c->sides[sluice_side_upstream].tls;
  int number = dial_begin(&c->sides[sluice_side_upstream], route);
  c->sides[sluice_side_upstream].tls = tls;
  if (number != 0 && number != EINPROGRESS) {
    dial_failed(w, c, number);
    return sluice_result_not_dialled;
  }
  w->source->watch(w, c, sluice_side_upstream);
  if (number == 0) worker_queue(w, c);
  return sluice_result_done;
}

static void dial_done(struct sluice_worker *w, struct connection *c) {
  c->summary.connect_us = w->now_ns / 1000 - c->summary.connect_us + 1;
  c->active_ms = w->now_ms;
  w->interactive_ns = w->now_ns;
  w->stats.dialled++;
  c->tuned = false;
  if (c->greet_ms > 0) c->hold_until_ms = w->now_ms + c->greet_ms;
  if (c->ask_open && c->halves[1].mode == sluice_mode_hold) c->halves[1].ask = true;
  connection_move(w, c, STATE_OPEN);
}

// Why a socket broke off, 0 when it did not. To be asked for once: the kernel forgets it then.
int dial_error(const struct side *side) {
  return side->hung_up ? sys_socket_error(side->descriptor) : 0;
}

// A FIN of the client is no reason to stop (it may have sent its whole request); a reset is.
static bool dial_left(struct sluice_worker *w, struct connection *c) {
  int number = c->halves[0].eof ? 0 : dial_error(&c->sides[sluice_side_client]);
  if (number == 0) return false;
  connection_broken(w, c, sluice_side_client, number);
  return true;
}

// Called while dialling, when a side was heard of or a race is due.
void dial_check(struct sluice_worker *w, struct connection *c) {
  const struct side *upstream = &c->sides[sluice_side_upstream];
  if (dial_left(w, c) || race_run(w, c)) return;
  int number = dial_error(upstream);
  if (number != 0) {
    dial_failed(w, c, number);
  } else if (upstream->writable || transport_shaking(upstream)) {
    if (!upstream->tls || c->tls_inside || transport_dialled(w, c)) dial_done(w, c);
  } else {
    race_ask(w, c);
  }
}

// The upstream was somebody on the way to the server, who has said all he had to say. It is as if
// the server had just been reached; with TLS it has yet to be.
void dial_opened(struct sluice_worker *w, struct connection *c, uint64_t until_ms,
                 uint32_t hold_ms) {
  if (buffer_length(c->halves[1].held) == 0) c->summary.first_byte_us = 0;
  if (hold_ms == 0) c->hold_until_ms = 0;
  if (!c->tls_inside) return;
  transport_inside(c);
  c->summary.connect_us = w->now_ns / 1000 - c->summary.connect_us;
  c->until_ms = until_ms;
  c->greet_ms = hold_ms;
  c->hold_until_ms = 0;
  w->stats.dialled--;
  connection_move(w, c, STATE_DIALLING);
}

// Whether nothing that the client said was let go to the upstream, and nothing of what that said:
// it may have said nothing, or, where its greeting is waited for, all of it is held.
static bool dial_untouched(const struct connection *c) {
  const struct half *up = &c->halves[0];
  const struct half *down = &c->halves[1];
  if (up->bytes != buffer_length(up->held) || up->shut || down->shut) return false;
  if (up->mode == sluice_mode_discard || down->mode == sluice_mode_discard) return false;
  bool holds = c->greet_ms > 0 && down->mode == sluice_mode_hold;
  if (down->bytes > 0 && (!holds || down->bytes != buffer_length(down->held))) return false;
  return !(c->in_kernel & (KERNEL_SPLICE_UP | KERNEL_SPLICE_DOWN));
}

// The end of one upstream is not the connection's.
static void dial_forget_end(struct sluice_worker *w, struct connection *c) {
  if (c->halves[1].eof) {
    c->halves[1].eof = false;
    c->summary.ends = c->ends_count = 0;
    c->first_fin_ns = c->halves[0].eof ? w->now_ns : 0;
    if (c->halves[0].eof) connection_end(c, sluice_end_client_fin);
  }
  c->parked = c->half_closed_filed = false;
}

// The upstream broke off. When it is untouched, and no question about either side stands, it is as
// if it had never been reached.
bool dial_undone(struct sluice_worker *w, struct connection *c, int number) {
  const struct half *up = &c->halves[0];
  const struct half *down = &c->halves[1];
  if (!c->redial_reset || c->state != STATE_OPEN || c->parked || c->sides[0].reset) return false;
  if (number != ECONNRESET && number != EPIPE) return false;
  if (up->eof || down->eof || !dial_untouched(c)) return false;
  if (up->ask || down->ask || c->asked_turn == (uint32_t)w->stats.turns) return false;
  dial_failed(w, c, number);
  return true;
}

enum sluice_result sluice_worker_redial(struct sluice_worker *w, struct sluice_id id,
                                        int32_t error) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || c->state != STATE_OPEN || c->sides[0].reset || !dial_untouched(c))
    return sluice_result_stale;
  dial_forget_end(w, c);
  dial_failed(w, c, error);
  return sluice_result_done;
}

// The upstream goes, and the connection stays. What it said was passed on or is dropped; so is what
// was on its way to it.
static void dial_let_go(struct sluice_worker *w, struct connection *c, int number) {
  struct half *up = &c->halves[0];
  buffer_give(w, &up->rest);
  pipe_let_go(w, c, 0);
  up->mode = sluice_mode_hold;
  up->limit = BUFFER_BYTES;
  preface_drop(w, &c->halves[1]);
  for (int i = 0; i < 2; i++) {
    c->halves[i].lane = LANE_COPY;
    c->halves[i].small_runs = 0;
  }
  dial_forget_end(w, c);
  dial_leave(w, c, number);
}

// Whether the upstream can go and leave the client where it is: nothing of its answer is on its way
// but what is ours already, and no end was passed on.
static bool dial_can_let_go(const struct connection *c) {
  const struct half *up = &c->halves[0];
  const struct half *down = &c->halves[1];
  if (c->state != STATE_OPEN || c->sides[0].reset || up->shut || down->shut) return false;
  if (up->mode == sluice_mode_discard || down->mode != sluice_mode_hold) return false;
  bool reads = (c->in_kernel & KERNEL_SPLICE_DOWN) && down->filling;
  return !reads && !(c->in_kernel & KERNEL_SPLICE_UP);
}

enum sluice_result sluice_worker_release(struct sluice_worker *w, struct sluice_id id) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || !dial_can_let_go(c)) return sluice_result_stale;
  dial_let_go(w, c, 0);
  return sluice_result_done;
}

// The upstream broke off between two exchanges, or with nothing of its answer passed on. Not while
// a question stands: its answer would meet another upstream.
bool dial_outlived(struct sluice_worker *w, struct connection *c, int number) {
  if (!c->outlived || c->parked || c->asked_turn == (uint32_t)w->stats.turns) return false;
  if (!dial_can_let_go(c)) return false;
  dial_let_go(w, c, number);
  return true;
}

void dial_failed(struct sluice_worker *w, struct connection *c, int number) {
  INVARIANT(c->race == 0);
  c->summary.connect_us = 0;
  w->stats.dial_failures++;
  dial_leave(w, c, number);
}

// Leaves the socket to be closed by asking_run once the kernel has let go of it; then another
// server is asked for.
static void dial_leave(struct sluice_worker *w, struct connection *c, int number) {
  c->summary.error = (int16_t)number;
  c->redial = true;
  struct tls *tls = c->sides[sluice_side_upstream].tls;
  if (tls) tls_drop_buffers(tls);
  connection_move(w, c, STATE_ASKING);
  if (c->in_kernel & KERNEL_WATCH_UPSTREAM) w->source->forget(w, c, sluice_side_upstream);
  worker_queue(w, c);
}
