// What a side's transport does for the rest of the data plane (transport.c), and reading from a
// side, whichever it has. Part of internal.h, which includes it.
#pragma once

enum flush { FLUSHED, FLUSH_BLOCKED, FLUSH_BROKEN };
bool transport_prepare(struct sluice_worker *w, struct connection *c,
                       const struct sluice_route *route);
void transport_begin(struct connection *c, struct tls *tls);
bool transport_shaking(const struct side *side);
void transport_shake(struct sluice_worker *w, struct connection *c);
bool transport_dialled(struct sluice_worker *w, struct connection *c);
ssize_t transport_recv(struct sluice_worker *w, struct connection *c, int half, void *to,
                       size_t most);
enum flush transport_flush(struct sluice_worker *w, struct connection *c, struct side *side);
bool transport_flushed(const struct side *side);
bool transport_seal(struct side *to, const uint8_t *bytes, size_t length);
void transport_offload(struct side *to);
bool transport_finish(struct sluice_worker *w, struct connection *c, int half);
bool transport_speaks(const struct side *side);
bool transport_alerts(const struct side *side);
struct buffer *_Nullable *_Nonnull transport_first(struct connection *c);
void transport_inside(struct connection *c);
enum sluice_end transport_end(const struct connection *c, int half);
void transport_drop(struct connection *c);
void transport_free(struct connection *c);

// A short read proves the queue of a socket empty.
static inline bool side_emptied(const struct side *from, ssize_t n, size_t most) {
  return n > 0 && (size_t)n < most && !from->urgent;
}

// As recv(2), through the side's transport. Clears `readable` where there is nothing more.
static inline ssize_t side_recv(struct sluice_worker *w, struct connection *c, int half, void *to,
                                size_t most) {
  struct side *from = half_from(c, half);
  if (!from->plain) return transport_recv(w, c, half, to, most);
  ssize_t n;
  do n = sys_recv(from->descriptor, to, most);
  while (n < 0 && errno == EINTR);
  if (side_emptied(from, n, most) && !from->hung_up) from->readable = false;
  if (n < 0 && errno == EAGAIN) from->readable = false;
  return n;
}
