// The other event source, for where io_uring is denied: epoll, edge by edge for connections and
// by level for listeners. The same pump runs above both.
#include "internal.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 256 };

enum token : uint8_t { TOKEN_CLIENT, TOKEN_UPSTREAM, TOKEN_RIVAL, TOKEN_LISTENER, TOKEN_WAKE };

struct epoll_state {
  int descriptor;
  struct epoll_event ready[EVENTS_PER_WAIT];
};

static uint64_t token_pack(enum token token, uint32_t slot, uint32_t generation) {
  return (uint64_t)token << 56 | (uint64_t)slot << 32 | generation;
}

static int epoll_descriptor(const struct sluice_worker *w) {
  return ((struct epoll_state *)w->source_state)->descriptor;
}

static void epoll_close(struct sluice_worker *w) {
  struct epoll_state *state = w->source_state;
  if (!state) return;
  if (state->descriptor >= 0) close(state->descriptor);
  free(state);
  w->source_state = NULL;
}

static bool epoll_open(struct sluice_worker *w, struct sluice_error *error) {
  struct epoll_state *state = calloc(1, sizeof *state);
  *error = (struct sluice_error){"epoll_create1", ENOMEM};
  if (!state) return false;
  w->source_state = state;
  state->descriptor = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {EPOLLIN | EPOLLET, {.u64 = token_pack(TOKEN_WAKE, 0, 0)}};
  if (state->descriptor >= 0 &&
      epoll_ctl(state->descriptor, EPOLL_CTL_ADD, w->wake_descriptor, &event) == 0)
    return true;
  error->number = errno;
  epoll_close(w);
  return false;
}

static void epoll_watch(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  connection_took(c, watch_bit(side));
  enum token token = side == SIDE_RIVAL           ? TOKEN_RIVAL
                     : side == sluice_side_client ? TOKEN_CLIENT
                                                  : TOKEN_UPSTREAM;
  struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
                              {.u64 = token_pack(token, worker_slot(w, c), c->generation)}};
  int result =
      epoll_ctl(epoll_descriptor(w), EPOLL_CTL_ADD, race_side(w, c, side)->descriptor, &event);
  // ENOMEM and ENOSPC (max_user_watches): without events the deadlines end the connection.
  if (result != 0) w->stats.overflows++;
}

// Closing the descriptor takes it out of epoll, and that follows at once, unless it is a rival's,
// which may go on as the upstream; an event that is still in the batch finds a newer generation or
// a closed connection.
static void epoll_forget(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  if (side == SIDE_RIVAL)
    (void)epoll_ctl(epoll_descriptor(w), EPOLL_CTL_DEL, race_side(w, c, side)->descriptor, NULL);
  connection_gave(w, c, watch_bit(side));
}

static void epoll_accept(struct sluice_worker *w, struct listener *listener) {
  uint32_t events = EPOLLIN | (listener->exclusive ? 0u : (uint32_t)EPOLLEXCLUSIVE);
  uint64_t token = token_pack(TOKEN_LISTENER, listen_index(w, listener), listener->generation);
  struct epoll_event event = {events, {.u64 = token}};
  if (epoll_ctl(epoll_descriptor(w), EPOLL_CTL_ADD, listener->descriptor, &event) != 0)
    w->stats.overflows++;
}

static void epoll_refuse(struct sluice_worker *w, struct listener *listener) {
  (void)epoll_ctl(epoll_descriptor(w), EPOLL_CTL_DEL, listener->descriptor, NULL);
  listen_ended(w, listener);
}

static void epoll_dispatch(struct sluice_worker *w, const struct epoll_event *event) {
  uint64_t packed = event->data.u64;
  uint32_t slot = (uint32_t)(packed >> 32) & 0xffffffu;
  uint32_t generation = (uint32_t)packed;
  switch ((enum token)(packed >> 56)) {
    case TOKEN_CLIENT:
      worker_ready(w, slot, generation, sluice_side_client, event->events);
      return;
    case TOKEN_UPSTREAM:
      worker_ready(w, slot, generation, sluice_side_upstream, event->events);
      return;
    case TOKEN_RIVAL:
      worker_ready(w, slot, generation, SIDE_RIVAL, event->events);
      return;
    case TOKEN_LISTENER: {
      struct listener *listener = listen_find(w, slot, generation);
      if (listener) listen_some(w, listener);
      return;
    }
    case TOKEN_WAKE:
      worker_woken(w);
      return;
  }
}

static uint32_t epoll_wait_events(struct sluice_worker *w, uint64_t wait_ns, bool batch) {
  struct epoll_state *state = w->source_state;
  // Events gather, as behind the ring's least wait (measured: 64 streams, 9 % less CPU per GB).
  if (batch && wait_ns > BATCH_WAIT_US * 1000)
    nanosleep(&(struct timespec){.tv_nsec = BATCH_WAIT_US * 1000}, NULL);
  uint64_t wait_ms = wait_ns == UINT64_MAX ? 0 : (wait_ns + 999999) / 1000000;
  int timeout = wait_ns == UINT64_MAX ? -1 : wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
  int count = epoll_wait(state->descriptor, state->ready, EVENTS_PER_WAIT, timeout);
  w->now_ns = sys_now_ns();
  w->now_ms = w->now_ns / 1000000;
  for (int i = 0; i < count; i++) epoll_dispatch(w, &state->ready[i]);
  return count > 0 ? (uint32_t)count : 0;
}

const struct source source_epoll = {
    .kind = sluice_events_epoll,
    .open = epoll_open,
    .close = epoll_close,
    .watch = epoll_watch,
    .forget = epoll_forget,
    .accept = epoll_accept,
    .refuse = epoll_refuse,
    .splice = NULL,
    .wait = epoll_wait_events,
};
