// What a side speaks beneath its bytes, where that is TLS. The relay asks for bytes and hands bytes
// over as with a socket; here they go through tls.h.
//
// client     an answer begins it: what is held is TLS, and the half stays HOLDING until the
//            handshake is done; then there is an ask
// upstream   a route begins it: the prefix goes out first, in plaintext, and the connection stays
//            DIALLING until the handshake is done
//
// Sealed bytes that the kernel does not take wait in the TLS's own buffer, so that a record is
// never half-written; nothing more is sealed for that side until it is empty. Each side's FIN waits
// for it, and for close_notify, which goes before. What the other side said is `readable` until
// OpenSSL has found the socket empty: it may hold bytes that the kernel does not.
#include "tls.h"

// ---- made --------------------------------------------------------------------------------------

// The lane of a half that has been spliced knows no TLS. What another upstream said may still be in
// the pipe on its way to the client.
static void transport_attach(struct connection *c, enum sluice_side side) {
  struct side *s = &c->sides[side];
  s->plain = false;
  s->tls->side = s;
  INVARIANT(c->halves[1 - (int)side].piped == 0);
  for (int i = 0; i < 2; i++) c->halves[i].lane = LANE_COPY;
}

// The client's side speaks TLS from here on. What it was told before goes out in plaintext first.
void transport_begin(struct connection *c, struct tls *tls) {
  struct half *up = &c->halves[0];
  c->sides[0].tls = tls;
  transport_attach(c, sluice_side_client);
  up->bytes -= buffer_length(up->held);  // none of them is the client's own
  tls->in = up->held;
  tls->out = c->halves[1].rest;
  tls->fin = up->eof;  // behind what is not read yet
  up->eof = false;
  up->held = c->halves[1].rest = NULL;
  up->ask = false;
  up->final = sluice_final_no;
  if (tls_begin(tls, sys_now_ns())) return;
  up->final = sluice_final_failed;
  up->ask = true;
}

// Which server the sessions of a setup are for: FNV-1a over its address and its name.
static uint64_t transport_key(const struct sluice_route *route) {
  const struct sluice_endpoint *to = &route->address;
  const uint64_t words[4] = {to->high, to->low, to->port, (uint64_t)to->family};
  uint64_t key = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < sizeof words; i++)
    key = (key ^ ((const uint8_t *)words)[i]) * UINT64_C(0x100000001b3);
  for (uint32_t i = 0; i < to->path_length; i++)
    key = (key ^ (uint8_t)to->path[i]) * UINT64_C(0x100000001b3);
  for (uint32_t i = 0; i < route->tls_name.length; i++)
    key = (key ^ route->tls_name.start[i]) * UINT64_C(0x100000001b3);
  return key;
}

// Before a dial: what its server will be spoken to with. False without memory.
bool transport_prepare(struct sluice_worker *w, struct connection *c,
                       const struct sluice_route *route) {
  struct side *upstream = &c->sides[sluice_side_upstream];
  tls_free(&upstream->tls);  // of a dial that failed
  if (!route->tls) return true;
  struct tls *tls = tls_make(w, route->tls);
  if (!tls) return false;
  uint32_t length = route->tls_name.length;
  if (length >= NAME_BYTES) length = 0;
  if (length > 0) memcpy(tls->name, route->tls_name.start, length);
  tls->session_key = transport_key(route);
  upstream->tls = tls;
  return true;
}

// Where a dialled server's first bytes wait, which are said in plaintext.
struct buffer **transport_first(struct connection *c) {
  struct tls *tls = c->sides[sluice_side_upstream].tls;
  return tls && !c->tls_inside ? &tls->out : &c->halves[0].rest;
}

// The server behind the upstream is there. What is still to be said goes before its handshake, and
// what it has said already is of that.
void transport_inside(struct connection *c) {
  struct tls *tls = c->sides[sluice_side_upstream].tls;
  struct half *up = &c->halves[0];
  struct half *down = &c->halves[1];
  INVARIANT(tls && tls->stage == TLS_WAITING && !tls->out);
  c->tls_inside = false;
  tls->out = up->rest;
  tls->in = down->held;
  tls->fin = down->eof;
  up->rest = down->held = NULL;
  down->bytes -= buffer_length(tls->in);
  down->eof = down->ask = false;
  down->final = sluice_final_no;
}

// ---- the handshake -----------------------------------------------------------------------------

bool transport_shaking(const struct side *side) {
  return !side->plain && side->tls->stage == TLS_SHAKING;
}

// A step, when there is any news and this run has room for it: the others' relaying goes before.
// TLS_NOTHING also says that it must wait for the kernel; FLUSH_BROKEN is TLS_BROKEN.
static enum tls_step transport_step(struct sluice_worker *w, struct connection *c,
                                    struct side *side) {
  struct tls *t = side->tls;
  enum flush before = transport_flush(w, c, side);
  if (before == FLUSH_BLOCKED && t->blocked) return TLS_NOTHING;
  if (before == FLUSH_BROKEN) return TLS_BROKEN;
  if (t->blocked && !side->readable) return TLS_NOTHING;
  if (w->shakes >= SHAKES_PER_RUN) return TLS_AGAIN;
  w->shakes++;
  enum tls_step step = tls_handshake(t, sys_now_ns());
  if (step == TLS_NOTHING && t->blocked) side->readable = false;
  if (step == TLS_DONE) side->readable = true;  // there may be bytes behind it that were read
  bool filled = step == TLS_NOTHING && !t->blocked;
  enum flush after = transport_flush(w, c, side);
  if (after == FLUSH_BROKEN && step != TLS_BROKEN) return TLS_BROKEN;
  if (step == TLS_ROOM) preface_starve(w, c);
  return filled && after == FLUSHED ? TLS_AGAIN : step;
}

// The client's handshake goes on; when it is over, one way or the other, there is an ask.
void transport_shake(struct sluice_worker *w, struct connection *c) {
  struct half *up = &c->halves[0];
  struct side *client = &c->sides[sluice_side_client];
  if (up->ask) return;
  switch (transport_step(w, c, client)) {
    case TLS_NOTHING:
    case TLS_ROOM:
      return;
    case TLS_AGAIN:
      worker_queue(w, c);
      return;
    case TLS_DONE:
      c->active_ms = w->now_ms;
      w->interactive_ns = w->now_ns;
      break;
    case TLS_ENDED:
    case TLS_CUT:
      if (!up->eof) connection_end(c, sluice_end_client_fin);
      if (c->first_fin_ns == 0) c->first_fin_ns = w->now_ns;
      up->eof = true;
      up->final = sluice_final_half_closed;
      break;
    case TLS_BROKEN:
      if (client->tls->error != EBADMSG) {
        connection_broken(w, c, sluice_side_client, client->tls->error);
        return;
      }
      up->final = sluice_final_failed;
      break;
  }
  up->ask = true;
}

// The server is connected; true once it has been spoken to in TLS. Otherwise it is waited for, or
// the dial has failed.
bool transport_dialled(struct sluice_worker *w, struct connection *c) {
  struct side *upstream = &c->sides[sluice_side_upstream];
  struct tls *t = upstream->tls;
  if (t->stage == TLS_WAITING) {
    c->race_ms = 0;  // it is not slow: it was reached
    transport_attach(c, sluice_side_upstream);
    connection_file(w, c);
    if (!tls_begin(t, sys_now_ns())) {
      dial_failed(w, c, EBADMSG);
      return false;
    }
  }
  enum tls_step step = transport_step(w, c, upstream);
  if (step == TLS_DONE) return true;
  if (step == TLS_AGAIN) worker_queue(w, c);
  if (step == TLS_ENDED || step == TLS_CUT || step == TLS_BROKEN)
    dial_failed(w, c, t->error != 0 ? t->error : EBADMSG);
  return false;
}

// ---- bytes -------------------------------------------------------------------------------------

static ssize_t nothing_read(int number) {
  errno = number;
  return -1;
}

// What a client that is sent away still says is dropped as it comes.
static ssize_t transport_drop_raw(struct side *from, void *to, size_t most) {
  ssize_t n;
  do n = sys_recv(from->descriptor, to, most);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) from->readable = false;
  return n;
}

// EAGAIN with `readable` still set: somebody else must act first, and will queue the connection.
ssize_t transport_recv(struct sluice_worker *w, struct connection *c, int half, void *to,
                       size_t most) {
  struct side *from = half_from(c, half);
  struct tls *t = from->tls;
  if (c->state == STATE_FAREWELL) return transport_drop_raw(from, to, most);
  if (t->stage != TLS_OPEN) return nothing_read(t->error != 0 ? t->error : EBADMSG);
  size_t got = 0;
  enum tls_step step = tls_read(t, to, most, &got);
  // An alert, or a key update's answer. That the kernel does not take it is found when it matters.
  if (t->out) (void)transport_flush(w, c, from);
  if (step == TLS_NOTHING && t->blocked) from->readable = false;
  if (got > 0) return (ssize_t)got;
  switch (step) {
    case TLS_ENDED:
    case TLS_CUT:
      return 0;
    case TLS_BROKEN:
      return nothing_read(t->error);
    case TLS_AGAIN:
      worker_queue(w, c);
      break;
    case TLS_ROOM:
      preface_starve(w, c);
      break;
    case TLS_DONE:
    case TLS_NOTHING:
      break;
  }
  return nothing_read(EAGAIN);
}

bool transport_flushed(const struct side *side) {
  return side->plain || side->reset || buffer_length(side->tls->out) == 0;
}

// Sends what was sealed. FLUSH_BROKEN: the side is dead, `error` says of what.
enum flush transport_flush(struct sluice_worker *w, struct connection *c, struct side *side) {
  struct tls *t = side->tls;
  if (buffer_length(t->out) > 0) {
    if (!side->writable) return FLUSH_BLOCKED;
    struct iovec part = {t->out->data + t->out->start, buffer_length(t->out)};
    ssize_t sent;
    do sent = sys_send(side->descriptor, &part, 1);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
      t->error = errno;
      return FLUSH_BROKEN;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done > 0) c->active_ms = w->now_ms;
    t->out->start += (uint32_t)done;
    if (done < part.iov_len) {
      side->writable = false;
      return FLUSH_BLOCKED;
    }
  }
  tls_give_out(t);
  return FLUSHED;
}

// False when the side is dead; its `error` is then in errno.
bool transport_seal(struct side *to, const uint8_t *bytes, size_t length) {
  if (to->tls->stage == TLS_OPEN && tls_seal(to->tls, bytes, length)) return true;
  errno = to->tls->error != 0 ? to->tls->error : EBADMSG;
  return false;
}

// The kernel seals what the side is told from here on, where it can.
void transport_offload(struct side *to) { to->sealed = tls_offload(to->tls); }

// Whether what we say would be heard.
bool transport_speaks(const struct side *side) {
  return side->plain || side->tls->stage == TLS_OPEN;
}

// Whether it failed, and must be told before the socket is closed.
bool transport_alerts(const struct side *side) {
  return !side->plain && side->tls->stage == TLS_FAILED;
}

// ---- the end -----------------------------------------------------------------------------------

// How the source of a half came to its end.
enum sluice_end transport_end(const struct connection *c, int half) {
  const struct side *from = &c->sides[half];
  bool cut = !from->plain && from->tls->verdict == TLS_CUT;
  if (half == 0) return cut ? sluice_end_client_truncated : sluice_end_client_fin;
  return cut ? sluice_end_upstream_truncated : sluice_end_upstream_fin;
}

// All was handed over: says so to the destination of a half, unless the source was cut off, which
// it shall find out. True when its FIN may go out.
bool transport_finish(struct sluice_worker *w, struct connection *c, int half) {
  const struct side *from = half_from(c, half);
  struct side *to = half_to(c, half);
  if (to->plain || to->reset) return true;
  bool cut = !from->plain && from->tls && from->tls->verdict == TLS_CUT;
  if (to->sealed) {
    c->finishing = !tls_kernel_end(to->tls, cut);
    if (c->finishing) connection_file(w, c);
    return !c->finishing;
  }
  if (!cut && !tls_say_end(to->tls)) {
    preface_starve(w, c);
    return false;
  }
  // With a dead socket there is nobody to be told.
  return transport_flush(w, c, to) != FLUSH_BLOCKED;
}

// Nothing more is said.
void transport_drop(struct connection *c) {
  for (int i = 0; i < 2; i++)
    if (c->sides[i].tls) tls_drop_buffers(c->sides[i].tls);
}

void transport_free(struct connection *c) {
  for (int i = 0; i < 2; i++) tls_free(&c->sides[i].tls);
}
