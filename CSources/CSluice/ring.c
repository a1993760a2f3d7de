// The event source that the product is built for, and the only file that names io_uring: one ring
// per worker, multishot accept, one multishot poll per socket for the life of its connection, and
// IORING_OP_SPLICE for the ring engine. One io_uring_enter per loop submits, waits and reaps.
#include "internal.h"

#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
  SUBMISSIONS = 1024,
  COMPLETIONS = 16384,  // room for multishot polls that all fire at once
};

// Newer than the header of the oldest liburing we build with (2.3).
#define FEAT_MIN_TIMEOUT (1u << 15)  // 6.12: min_wait_usec in the wait's argument
#define SETUP_NO_SQARRAY (1u << 16)  // 6.6: the queue has no array of indexes into itself
struct enter_argument {
  uint64_t sigmask;
  uint32_t sigmask_size;
  uint32_t min_wait_us;
  uint64_t timespec;
};
_Static_assert(sizeof(struct enter_argument) == sizeof(struct io_uring_getevents_arg),
               "the kernel's io_uring_getevents_arg has not grown");

// What an operation is for, in the high byte of its user_data; then slot and generation.
enum token : uint8_t {
  TOKEN_IGNORED,
  TOKEN_WATCH_CLIENT,
  TOKEN_WATCH_UPSTREAM,
  TOKEN_WATCH_RIVAL,
  TOKEN_SPLICE_UP,
  TOKEN_SPLICE_DOWN,
  TOKEN_ACCEPT,
  TOKEN_LISTENER,
  TOKEN_WAKE,
};

struct ring_state {
  struct io_uring ring;
  bool can_batch;
};

static uint64_t token_pack(enum token token, uint32_t slot, uint32_t generation) {
  return (uint64_t)token << 56 | (uint64_t)slot << 32 | generation;
}

static struct io_uring *ring_of(const struct sluice_worker *w) {
  return &((struct ring_state *)w->source_state)->ring;
}

// ---- submitting and waiting --------------------------------------------------------------------

// Makes filled entries visible to the kernel; liburing has this only inside its own submit.
static unsigned ring_flush(struct io_uring *ring) {
  struct io_uring_sq *sq = &ring->sq;
  unsigned tail = *sq->ktail;
  // A library of 2.5 or later asks for rings without the array where the kernel (6.6) has them: an
  // entry's place in the queue is then its own, and `array` points nowhere.
  bool has_array = !(ring->flags & SETUP_NO_SQARRAY);
  for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++, tail++)
    if (has_array) sq->array[tail & sq->ring_mask] = sq->sqe_head & sq->ring_mask;
  io_uring_smp_store_release(sq->ktail, tail);
  return tail - io_uring_smp_load_acquire(sq->khead);
}

static int ring_enter(struct io_uring *ring, unsigned wait_for, uint64_t wait_ns,
                      uint32_t min_wait_us) {
  struct __kernel_timespec time = {
      .tv_sec = (int64_t)(wait_ns / 1000000000u), .tv_nsec = (int64_t)(wait_ns % 1000000000u)};
  struct enter_argument argument = {
      .min_wait_us = min_wait_us,
      .timespec = wait_ns == UINT64_MAX ? 0 : (uint64_t)(uintptr_t)&time,
  };
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if (ring->enter_ring_fd != ring->ring_fd) flags |= IORING_ENTER_REGISTERED_RING;
  long result = syscall(__NR_io_uring_enter, ring->enter_ring_fd, ring_flush(ring), wait_for,
                        flags, &argument, sizeof argument);
  return result < 0 ? -errno : (int)result;
}

// An entry to fill. A full queue is submitted first, which frees all of it.
static struct io_uring_sqe *ring_entry(struct sluice_worker *w) {
  struct io_uring *ring = ring_of(w);
  struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
  for (int tries = 0; !sqe && tries < 1000; tries++) {
    (void)ring_enter(ring, 0, 0, 0);
    sqe = io_uring_get_sqe(ring);
  }
  INVARIANT(sqe);
  return sqe;
}

// ---- open and close ----------------------------------------------------------------------------

static int ring_make(struct io_uring *ring, unsigned entries, unsigned completions) {
  const unsigned lean = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP;
  struct io_uring_params parameters = {
      .flags = lean | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
      .cq_entries = completions};
  int result = io_uring_queue_init_params(entries, ring, &parameters);
  if (result != -EINVAL) return result;
  // Before 6.1. What completes does so in our own calls here too, which all ask for it.
  parameters = (struct io_uring_params){
      .flags = lean | IORING_SETUP_COOP_TASKRUN, .cq_entries = completions};
  return io_uring_queue_init_params(entries, ring, &parameters);
}

// The opcodes we need, and waiting with a time-out in the call itself (5.11). Multishot accept has
// no sign of its own; IORING_OP_SOCKET came with it (5.19). docs/constants.md has all of it.
static int ring_suffices(struct io_uring *ring) {
  if (!(ring->features & IORING_FEAT_EXT_ARG)) return -EOPNOTSUPP;
  static const int needed[] = {IORING_OP_ACCEPT, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
                               IORING_OP_SPLICE, IORING_OP_SOCKET};
  struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
  if (!probe) return -EOPNOTSUPP;
  int result = 0;
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    if (!io_uring_opcode_supported(probe, needed[i])) result = -EOPNOTSUPP;
  io_uring_free_probe(probe);
  return result;
}

bool sluice_ring_probe(struct sluice_error *error) {
  struct io_uring ring;
  *error = (struct sluice_error){0};
  int result = ring_make(&ring, 8, 16);
  if (result == 0) {
    result = ring_suffices(&ring);
    io_uring_queue_exit(&ring);
  }
  if (result == 0) return true;
  *error = (struct sluice_error){"io_uring_setup", -result};
  return false;
}

static void ring_watch_wakes(struct sluice_worker *w) {
  struct io_uring_sqe *sqe = ring_entry(w);
  io_uring_prep_poll_multishot(sqe, w->wake_descriptor, POLLIN);
  io_uring_sqe_set_data64(sqe, token_pack(TOKEN_WAKE, 0, 0));
}

static bool ring_open(struct sluice_worker *w, struct sluice_error *error) {
  struct ring_state *state = calloc(1, sizeof *state);
  *error = (struct sluice_error){"io_uring_setup", ENOMEM};
  if (!state) return false;
  int result = ring_make(&state->ring, SUBMISSIONS, COMPLETIONS);
  if (result == 0) {
    result = ring_suffices(&state->ring);
    if (result != 0) io_uring_queue_exit(&state->ring);
  }
  if (result != 0) {
    error->number = -result;
    free(state);
    return false;
  }
  (void)io_uring_register_ring_fd(&state->ring);  // saves a look-up per enter; not vital
  state->can_batch = (state->ring.features & FEAT_MIN_TIMEOUT) != 0;
  w->source_state = state;
  ring_watch_wakes(w);
  return true;
}

static void ring_close(struct sluice_worker *w) {
  struct ring_state *state = w->source_state;
  if (!state) return;
  io_uring_queue_exit(&state->ring);
  free(state);
  w->source_state = NULL;
}

// ---- operations --------------------------------------------------------------------------------

static enum token watch_token(enum sluice_side side) {
  if (side == SIDE_RIVAL) return TOKEN_WATCH_RIVAL;
  return side == sluice_side_client ? TOKEN_WATCH_CLIENT : TOKEN_WATCH_UPSTREAM;
}

static void ring_watch(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  connection_took(c, watch_bit(side));
  c->forgotten &= (uint8_t)~watch_bit(side);
  struct io_uring_sqe *sqe = ring_entry(w);
  io_uring_prep_poll_multishot(sqe, race_side(w, c, side)->descriptor,
                               POLLIN | POLLOUT | POLLPRI | POLLRDHUP);
  io_uring_sqe_set_data64(sqe, token_pack(watch_token(side), worker_slot(w, c), c->generation));
}

// IORING_OP_ASYNC_CANCEL and not POLL_REMOVE: the latter fails with EALREADY, and the poll lives
// on, when an event of that poll is on its way (with DEFER_TASKRUN: nearly always).
static void ring_cancel(struct sluice_worker *w, uint64_t token) {
  struct io_uring_sqe *sqe = ring_entry(w);
  io_uring_prep_cancel64(sqe, token, 0);
  io_uring_sqe_set_data64(sqe, token_pack(TOKEN_IGNORED, 0, 0));
  io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
}

static void ring_forget(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  if (c->forgotten & watch_bit(side)) return;
  c->forgotten |= (uint8_t)watch_bit(side);
  ring_cancel(w, token_pack(watch_token(side), worker_slot(w, c), c->generation));
}

static uint64_t listener_token(const struct sluice_worker *w, const struct listener *listener) {
  return token_pack(listener->careful ? TOKEN_LISTENER : TOKEN_ACCEPT, listen_index(w, listener),
                    listener->generation);
}

static void ring_accept(struct sluice_worker *w, struct listener *listener) {
  struct io_uring_sqe *sqe = ring_entry(w);
  if (listener->careful) {
    io_uring_prep_poll_add(sqe, listener->descriptor, POLLIN);
  } else {
    io_uring_prep_multishot_accept(sqe, listener->descriptor, NULL, NULL,
                                   SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  io_uring_sqe_set_data64(sqe, listener_token(w, listener));
}

static void ring_refuse(struct sluice_worker *w, struct listener *listener) {
  ring_cancel(w, listener_token(w, listener));
}

// Sockets are O_NONBLOCK, so the kernel's worker thread is never parked in one: -EAGAIN comes
// back instead, and the poll says when to try again.
static void ring_splice(struct sluice_worker *w, struct connection *c, int half, int from, int to,
                        uint32_t length) {
  connection_took(c, half == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN);
  struct io_uring_sqe *sqe = ring_entry(w);
  io_uring_prep_splice(sqe, from, -1, to, -1, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  io_uring_sqe_set_data64(sqe, token_pack(half == 0 ? TOKEN_SPLICE_UP : TOKEN_SPLICE_DOWN,
                                          worker_slot(w, c), c->generation));
}

// ---- reaping -----------------------------------------------------------------------------------

static void watch_completed(struct sluice_worker *w, const struct io_uring_cqe *cqe,
                            enum sluice_side side, uint32_t slot, uint32_t generation) {
  uint32_t poll_mask = cqe->res < 0 ? 0 : (uint32_t)cqe->res;
  // Whatever arrives wakes with PRI, which is passed on unasked; with RDHUP the socket was asked.
  if (!(poll_mask & POLLRDHUP)) poll_mask &= ~(uint32_t)POLLPRI;
  if (cqe->res >= 0) worker_ready(w, slot, generation, side, poll_mask);
  if (!(cqe->flags & IORING_CQE_F_MORE)) worker_unwatched(w, slot, generation, side);
}

static void accept_completed(struct sluice_worker *w, const struct io_uring_cqe *cqe,
                             struct listener *listener) {
  if (!listener) {
    if (cqe->res >= 0) sys_close(cqe->res);
    return;
  }
  if (cqe->res >= 0) {
    listen_took(w, listener, cqe->res);
  } else if (cqe->res != -ECANCELED) {
    listen_failed(w, listener, -cqe->res);
  }
  if (!(cqe->flags & IORING_CQE_F_MORE)) listen_ended(w, listener);
}

static void ring_dispatch(struct sluice_worker *w, const struct io_uring_cqe *cqe) {
  uint32_t slot = (uint32_t)(cqe->user_data >> 32) & 0xffffffu;
  uint32_t generation = (uint32_t)cqe->user_data;
  switch ((enum token)(cqe->user_data >> 56)) {
    case TOKEN_IGNORED:
      return;
    case TOKEN_WATCH_CLIENT:
      watch_completed(w, cqe, sluice_side_client, slot, generation);
      return;
    case TOKEN_WATCH_UPSTREAM:
      watch_completed(w, cqe, sluice_side_upstream, slot, generation);
      return;
    case TOKEN_WATCH_RIVAL:
      watch_completed(w, cqe, SIDE_RIVAL, slot, generation);
      return;
    case TOKEN_SPLICE_UP:
      worker_spliced(w, slot, generation, 0, cqe->res);
      return;
    case TOKEN_SPLICE_DOWN:
      worker_spliced(w, slot, generation, 1, cqe->res);
      return;
    case TOKEN_ACCEPT:
      accept_completed(w, cqe, listen_find(w, slot, generation));
      return;
    case TOKEN_LISTENER: {
      struct listener *listener = listen_find(w, slot, generation);
      if (!listener) return;
      if (cqe->res > 0) listen_some(w, listener);
      listen_ended(w, listener);
      return;
    }
    case TOKEN_WAKE:
      worker_woken(w);
      if (!(cqe->flags & IORING_CQE_F_MORE)) ring_watch_wakes(w);
      return;
  }
}

static uint32_t ring_wait(struct sluice_worker *w, uint64_t wait_ns, bool batch) {
  struct ring_state *state = w->source_state;
  struct io_uring *ring = &state->ring;
  bool waits = wait_ns > 0 && io_uring_cq_ready(ring) == 0;
  bool batches = batch && waits && state->can_batch;
  int result = ring_enter(ring, batches ? BATCH_EVENTS : waits, wait_ns,
                          batches ? BATCH_WAIT_US : 0);
  // EINTR, ETIME, EAGAIN and EBUSY (completions must be reaped first) end the wait early, no
  // more; anything else means that the ring is not ours.
  INVARIANT(result >= 0 || result == -EINTR || result == -ETIME || result == -EAGAIN ||
            result == -EBUSY);
  w->now_ns = sys_now_ns();
  w->now_ms = w->now_ns / 1000000;
  struct io_uring_cqe *cqe;
  unsigned head;
  unsigned count = 0;
  io_uring_for_each_cqe(ring, head, cqe) {
    ring_dispatch(w, cqe);
    count++;
  }
  io_uring_cq_advance(ring, count);
  return count;
}

const struct source source_ring = {
    .kind = sluice_events_ring,
    .open = ring_open,
    .close = ring_close,
    .watch = ring_watch,
    .forget = ring_forget,
    .accept = ring_accept,
    .refuse = ring_refuse,
    .splice = ring_splice,
    .wait = ring_wait,
};
