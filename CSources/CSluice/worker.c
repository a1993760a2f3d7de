// A worker: its slots, its run queue, and the turn.
#include "internal.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <poll.h>
#include <unistd.h>

// ---- slots -------------------------------------------------------------------------------------

uint32_t worker_slot(const struct sluice_worker *w, const struct connection *c) {
  return (uint32_t)(c - w->slots);
}

struct connection *worker_find(const struct sluice_worker *w, uint32_t slot,
                               uint32_t generation) {
  if (slot >= w->slots_touched) return NULL;
  struct connection *c = &w->slots[slot];
  return c->state != STATE_FREE && c->generation == generation ? c : NULL;
}

struct connection *worker_take_slot(struct sluice_worker *w) {
  struct connection *c = NULL;
  if (w->free_slot != NO_SLOT) {
    c = &w->slots[w->free_slot];
    w->free_slot = c->next;
  } else if (w->slots_touched < w->slots_max) {
    c = &w->slots[w->slots_touched++];
  }
  if (c) w->live++;
  handover_tell(w);
  return c;
}

void worker_give_slot(struct sluice_worker *w, struct connection *c) {
  CHECKED(c->in_kernel == 0 && c->sides[0].descriptor < 0 && c->sides[1].descriptor < 0);
  transport_free(c);
  connection_move(w, c, STATE_FREE);
  c->next = w->free_slot;
  w->free_slot = worker_slot(w, c);
  w->live--;
  handover_tell(w);
  listen_give_credit(w);
}

void worker_queue(struct sluice_worker *w, struct connection *c) {
  if (c->queued) return;
  c->queued = true;
  struct run_queue *queue = c->bulk ? &w->bulk : &w->quick;
  queue->slots[(queue->head + queue->count++) & w->run_mask] = worker_slot(w, c);
}

struct sluice_event *worker_event(struct sluice_worker *w, struct connection *c,
                                  enum sluice_event_kind kind) {
  if (w->events_count == EVENTS_PER_TURN) return NULL;
  struct sluice_event *event = &w->events[w->events_count++];
  *event = (struct sluice_event){
      .id = {worker_slot(w, c), c->generation}, .listener = c->listener, .kind = kind};
  return event;
}

// ---- what event sources report -----------------------------------------------------------------

void worker_ready(struct sluice_worker *w, uint32_t slot, uint32_t generation,
                  enum sluice_side side, uint32_t poll_mask) {
  struct connection *c = worker_find(w, slot, generation);
  if (!c || (side == SIDE_RIVAL && c->race == 0)) return;
  struct side *s = race_side(w, c, side);
  if (poll_mask & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) s->readable = true;
  if (poll_mask & (POLLOUT | POLLHUP | POLLERR)) s->writable = true;
  if (poll_mask & (POLLRDHUP | POLLHUP | POLLERR)) {
    s->hung_up = true;
    s->ended = !(poll_mask & (POLLHUP | POLLERR));
  }
  if (poll_mask & POLLPRI) s->urgent = true;
  worker_queue(w, c);
}

// A watch is over. A multishot one may end by itself (the completion queue overflowed): then it is
// armed again and we assume that everything happened meanwhile.
void worker_unwatched(struct sluice_worker *w, uint32_t slot, uint32_t generation,
                      enum sluice_side side) {
  struct connection *c = worker_find(w, slot, generation);
  INVARIANT(c);  // a slot with a watch in the kernel is never freed
  enum in_kernel bit = watch_bit(side);
  connection_gave(w, c, bit);
  if (c->forgotten & bit) return;
  w->stats.overflows++;
  w->source->watch(w, c, side);
  worker_ready(w, slot, generation, side, POLLIN | POLLOUT);
}

void worker_spliced(struct sluice_worker *w, uint32_t slot, uint32_t generation, int half,
                    int32_t result) {
  struct connection *c = worker_find(w, slot, generation);
  INVARIANT(c);  // a slot with an operation in the kernel is never freed
  connection_gave(w, c, half == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN);
  relay_spliced(w, c, half, result);
}

void worker_woken(struct sluice_worker *w) { w->woken = true; }

// ---- the turn ----------------------------------------------------------------------------------

// Slots whose closed event was in the last batch are free now. Every question of that batch must
// have been answered.
static void turn_begin(struct sluice_worker *w) {
  for (uint32_t i = 0; i < w->events_count; i++) {
    const struct sluice_event *event = &w->events[i];
    struct connection *c = worker_find(w, event->id.slot, event->id.generation);
    if (event->kind == sluice_event_kind_closed) {
      INVARIANT(c);
      worker_give_slot(w, c);
    } else {
      INVARIANT(!c || c->state != STATE_ASKING || c->redial || c->halves[0].ask);
    }
  }
  w->events_count = 0;
}

static void run_next(struct sluice_worker *w, struct run_queue *queue) {
  struct connection *c = &w->slots[queue->slots[queue->head++ & w->run_mask]];
  // An empty queue starts at its front again, or it would touch all its memory in time.
  if (--queue->count == 0) queue->head = 0;
  c->queued = false;
  connection_run(w, c);
}

// Each connection that was queued before gets one run; those queued meanwhile wait for the next
// loop, so that nobody keeps the worker from looking at the kernel. Bulk comes last, and while
// others exchange messages only LOOP_SHARED of it, or they would wait for all of it.
static void turn_run(struct sluice_worker *w) {
  bool shared = w->now_ns - w->interactive_ns < BATCH_QUIET_NS;
  w->pump_bytes = shared ? PUMP_SHARED : PUMP_BYTES;
  for (uint32_t left = w->quick.count; left > 0; left--) run_next(w, &w->quick);
  uint64_t until = shared ? w->moved + LOOP_SHARED : UINT64_MAX;
  for (uint32_t left = w->bulk.count; left > 0 && w->moved < until; left--)
    run_next(w, &w->bulk);
  buffers_feed(w);
}

static void turn_clock(struct sluice_worker *w) {
  w->now_ns = sys_now_ns();
  w->now_ms = w->now_ns / 1000000;
}

static uint64_t turn_wait_ns(const struct sluice_worker *w, uint64_t until_ns) {
  if (!worker_is_idle(w) || (w->listeners_leaving > 0 && !w->leaving_blocked)) return 0;
  uint64_t wait = until_ns == UINT64_MAX      ? UINT64_MAX
                  : until_ns > w->now_ns      ? until_ns - w->now_ns
                                              : 0;
  uint64_t deadline = deadline_wait_ns(w);
  if (deadline < wait) wait = deadline;
  uint64_t retry = (uint64_t)ACCEPT_RETRY_MS * 1000000u;
  if (w->listeners_leaving > 0 && retry < wait) wait = retry;
  if (w->accept_paused) {
    retry = w->accept_retry_ms > w->now_ms ? (w->accept_retry_ms - w->now_ms) * 1000000u
                                           : 1000000u;
    if (retry < wait) wait = retry;
  }
  return wait;
}

// Waits may be batched while all that moves is one-way bulk.
static bool turn_batches(const struct sluice_worker *w) {
  return w->now_ns - w->bulk_ns < BATCH_QUIET_NS &&
         w->now_ns - w->interactive_ns > BATCH_QUIET_NS;
}

static void turn_wait(struct sluice_worker *w, uint64_t wait_ns, bool batch) {
  if (wait_ns > 0 && !batch && spin_wanted(w)) {
    spin_wait(w, wait_ns);
  } else {
    (void)w->source->wait(w, wait_ns, batch);
  }
}

uint32_t sluice_worker_turn(struct sluice_worker *w, int32_t wait_ms) {
  turn_begin(w);
  turn_clock(w);
  uint64_t until_ns =
      wait_ms < 0 ? UINT64_MAX : w->now_ns + (uint64_t)(uint32_t)wait_ms * 1000000u;
  w->stats.turns++;
  for (int loop = 0; loop < RUNS_BEFORE_MAIL; loop++) {
    turn_run(w);
    bool speaks = w->events_count > 0;
    if (speaks && w->unreaped++ < TURNS_UNREAPED) break;
    w->unreaped = 0;
    w->waits++;
    w->shakes = 0;
    turn_wait(w, speaks ? 0 : turn_wait_ns(w, until_ns), !speaks && turn_batches(w));
    turn_clock(w);
    handover_take(w);
    deadline_run(w);
    listen_look(w);
    if (w->accept_paused && w->now_ms >= w->accept_retry_ms) listen_review(w);
    if (w->listeners_leaving > 0) listen_leave(w);
    if (speaks) break;
    if (w->woken || w->now_ns >= until_ns) {
      turn_run(w);
      break;
    }
  }
  w->woken = false;
  return w->events_count;
}

const struct sluice_event *sluice_worker_events(const struct sluice_worker *w) {
  return w->events;
}

void sluice_worker_wake(struct sluice_worker *w) {
  uint64_t one = 1;
  ssize_t written = write(w->wake_descriptor, &one, sizeof one);
  (void)written;  // EAGAIN: the counter is full of wakes already
}

// ---- made and unmade ---------------------------------------------------------------------------

static uint32_t run_queue_length(const struct sluice_worker *w) {
  uint32_t length = 2;
  while (length < w->slots_max) length *= 2;
  return length;
}

static size_t run_queue_bytes(const struct sluice_worker *w) {
  return ((size_t)w->run_mask + 1) * sizeof *w->quick.slots;
}

static bool worker_open_memory(struct sluice_worker *w, const struct sluice_options *options) {
  w->slots = sys_reserve((size_t)w->slots_max * sizeof *w->slots);
  w->records = sys_reserve((size_t)w->slots_max * RECORD_BYTES);
  w->paces = sys_reserve((size_t)w->slots_max * sizeof *w->paces);
  w->run_mask = run_queue_length(w) - 1;
  w->quick.slots = sys_reserve(run_queue_bytes(w));
  w->bulk.slots = sys_reserve(run_queue_bytes(w));
  w->scratch = sys_reserve(BUFFER_BYTES);
  w->listeners = calloc(LISTENERS_MAX, sizeof *w->listeners);
  w->races = calloc(RACES_MAX, sizeof *w->races);
  return w->slots && w->records && w->paces && w->quick.slots && w->bulk.slots && w->scratch &&
         w->listeners && w->races && buffers_open(w) && pipes_open(w, options->pipes);
}

static bool worker_open_source(struct sluice_worker *w, enum sluice_events wanted,
                               struct sluice_error *error) {
#ifdef SLUICE_SIMULATION
  (void)wanted;
  w->source = &source_simulated;
  return w->source->open(w, error);
#else
  if (wanted != sluice_events_epoll) {
    w->source = &source_ring;
    if (w->source->open(w, error)) return true;
    if (wanted == sluice_events_ring) return false;
  }
  w->source = &source_epoll;
  return w->source->open(w, error);
#endif
}

struct sluice_worker *sluice_worker_create(const struct sluice_options *options,
                                           struct sluice_error *error) {
  *error = (struct sluice_error){.call = "mmap", .number = ENOMEM};
  struct sluice_worker *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->shared = options->shared;
  w->slots_max = options->slots;
  w->buffers_max = options->buffers;
  w->workers = options->workers;
  w->free_slot = NO_SLOT;
  w->free_race = NO_SLOT;
  w->spin.gap_ns = (uint64_t)SPIN_MAX_US * 1000u / 2;
  memset(w->wheel.heads, 0xff, sizeof w->wheel.heads);
  turn_clock(w);
  w->wheel.tick = w->now_ms / WHEEL_TICK_MS;
  w->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (w->wake_descriptor < 0) *error = (struct sluice_error){"eventfd", errno};
  if (w->wake_descriptor < 0 || !worker_open_memory(w, options) ||
      !worker_open_source(w, options->events, error)) {
    w->source = NULL;
    sluice_worker_destroy(w);
    return NULL;
  }
  *error = (struct sluice_error){0};
  return w;
}

enum sluice_events sluice_worker_source(const struct sluice_worker *w) { return w->source->kind; }

// The source goes first: once the ring is closed the kernel holds nothing of ours.
void sluice_worker_destroy(struct sluice_worker *w) {
  if (w->seat) sluice_worker_share(w, w->place, 0);
  if (w->source) w->source->close(w);
  for (uint32_t slot = 0; slot < w->slots_touched; slot++) {
    struct connection *c = &w->slots[slot];
    if (c->state == STATE_FREE) continue;
    for (int i = 0; i < 2; i++)
      if (c->sides[i].descriptor >= 0) sys_close(c->sides[i].descriptor);
    race_retire(w, c);
    transport_free(c);
    listen_give_credit(w);
  }
  pipes_close(w);
  buffers_close(w);
  if (w->slots) munmap(w->slots, (size_t)w->slots_max * sizeof *w->slots);
  if (w->records) munmap(w->records, (size_t)w->slots_max * RECORD_BYTES);
  if (w->paces) munmap(w->paces, (size_t)w->slots_max * sizeof *w->paces);
  if (w->quick.slots) munmap(w->quick.slots, run_queue_bytes(w));
  if (w->bulk.slots) munmap(w->bulk.slots, run_queue_bytes(w));
  if (w->scratch) munmap(w->scratch, BUFFER_BYTES);
  free(w->listeners);
  free(w->races);
  if (w->wake_descriptor >= 0) close(w->wake_descriptor);
  free(w);
}
