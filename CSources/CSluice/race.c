// Two dials for one connection: Happy Eyeballs (RFC 8305) between the addresses of a name.
//
// A route may ask for it. When its dial has taken `race_ms`, the caller is told (slow) and may name
// a second server, which is dialled beside the first. Whichever connects first gets the connection,
// and when one fails the other goes on alone; the caller is told either way (raced), and so has the
// other's place back before anything else happens. From there on it is an ordinary dial again: the
// one that goes on has the place of the upstream, with its own deadline.
//
//   BOTH ──── first connected, or second failed ────▶ FIRST:  the second is let go of
//     └────── second connected, or first failed ────▶ SECOND: so is the first; then the second
//                                                     moves to its place and is watched anew
//
// The second socket stands in the worker's pool and not in the connection, which would be larger
// for it all its life.
#include "internal.h"

static struct race *race_of(const struct sluice_worker *w, const struct connection *c) {
  return &w->races[c->race - 1];
}

// The socket of a watch: a side's, or the second dial's.
struct side *race_side(const struct sluice_worker *w, struct connection *c,
                       enum sluice_side side) {
  return side == SIDE_RIVAL ? &race_of(w, c)->side : &c->sides[side];
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t race_due_ms(const struct connection *c) {
  return c->summary.connect_us / 1000 + c->race_ms;
}

// When a connection that is being dialled must be looked at, UINT64_MAX for never.
uint64_t race_next_ms(const struct sluice_worker *w, const struct connection *c) {
  uint64_t at = c->until_ms > 0 ? c->until_ms : UINT64_MAX;
  if (c->race_ms > 0) at = earlier(at, race_due_ms(c));
  if (c->race == 0) return at;
  const struct race *race = race_of(w, c);
  if (race->stage != RACE_BOTH) return UINT64_MAX;  // the kernel's word is waited for
  return race->until_ms > 0 ? earlier(at, race->until_ms) : at;
}

static void race_file(struct sluice_worker *w, struct connection *c) {
  uint64_t at = race_next_ms(w, c);
  if (at == UINT64_MAX) {
    deadline_clear(w, c);
  } else {
    deadline_set(w, c, at);
  }
}

// ---- begun -------------------------------------------------------------------------------------

// The dial has taken its time: the caller is told, once.
void race_ask(struct sluice_worker *w, struct connection *c) {
  if (c->race_ms == 0 || w->now_ms < race_due_ms(c)) return;
  if (!worker_event(w, c, sluice_event_kind_slow)) {
    worker_queue(w, c);
    return;
  }
  c->race_ms = 0;
  race_file(w, c);
}

// The credit that was taken at accept is for two descriptors; this is a third.
static struct race *race_take(struct sluice_worker *w, struct connection *c) {
  bool pooled = w->free_race != NO_SLOT;
  if (!pooled && w->races_touched == RACES_MAX) return NULL;
  struct sluice_shared *shared = w->shared;
  uint32_t used = atomic_fetch_add_explicit(&shared->descriptors, 1, memory_order_relaxed);
  if (used + 1 > shared->descriptors_max) {
    atomic_fetch_sub_explicit(&shared->descriptors, 1, memory_order_relaxed);
    return NULL;
  }
  uint32_t index = pooled ? w->free_race : w->races_touched++;
  struct race *race = &w->races[index];
  if (pooled) w->free_race = race->next;
  *race = (struct race){.side.descriptor = -1, .stage = RACE_BOTH};
  w->races_live++;
  c->race = (uint16_t)(index + 1);
  return race;
}

static void race_give(struct sluice_worker *w, struct connection *c) {
  race_of(w, c)->next = w->free_race;
  w->free_race = c->race - 1u;
  c->race = 0;
  w->races_live--;
  atomic_fetch_sub_explicit(&w->shared->descriptors, 1, memory_order_relaxed);
}

enum sluice_result sluice_worker_race(struct sluice_worker *w, struct sluice_id id,
                                      const struct sluice_route *route) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || c->state != STATE_DIALLING || c->race > 0) return sluice_result_stale;
  struct race *race = race_take(w, c);
  if (!race) return sluice_result_no_buffer;
  c->summary.tries++;
  race->began_us = w->now_ns / 1000;
  race->until_ms = route->connect_ms ? w->now_ms + route->connect_ms : 0;
  int number = dial_begin(&race->side, route);
  if (number != 0 && number != EINPROGRESS) {
    race->error = number;
    worker_queue(w, c);
    return sluice_result_not_dialled;
  }
  w->source->watch(w, c, SIDE_RIVAL);
  if (number == 0) worker_queue(w, c);
  race_file(w, c);
  return sluice_result_done;
}

// ---- decided -----------------------------------------------------------------------------------

static bool race_expired(const struct sluice_worker *w, const struct side *side,
                         uint64_t until_ms) {
  return !side->writable && until_ms > 0 && until_ms <= w->now_ms;
}

// Asks for the second's error first: when both have failed, the first's is found by dial_check.
static bool race_decide(struct sluice_worker *w, struct connection *c, struct race *race) {
  const struct side *first = &c->sides[sluice_side_upstream];
  if (race->error == 0) race->error = dial_error(&race->side);
  if (race->error == 0 && race_expired(w, &race->side, race->until_ms)) race->error = ETIMEDOUT;
  race->stage = RACE_FIRST;
  if (race->error != 0) return true;
  race->error = dial_error(first);
  if (race->error == 0 && first->writable) return true;
  if (race->error == 0 && race_expired(w, first, c->until_ms)) race->error = ETIMEDOUT;
  race->stage = RACE_SECOND;
  if (race->error != 0 || race->side.writable) return true;
  race->stage = RACE_BOTH;
  return false;
}

// Whoever goes on as the second is watched in another place, so both watches end then.
static void race_let_go(struct sluice_worker *w, struct connection *c, const struct race *race) {
  if (race->error != 0) {
    c->summary.error = (int16_t)race->error;
    w->stats.dial_failures++;
  }
  if (c->in_kernel & KERNEL_WATCH_RIVAL) w->source->forget(w, c, SIDE_RIVAL);
  if (race->stage == RACE_SECOND && (c->in_kernel & KERNEL_WATCH_UPSTREAM))
    w->source->forget(w, c, sluice_side_upstream);
  race_file(w, c);
}

// The event is answered before the next run.
static void race_tell(struct sluice_worker *w, struct connection *c, struct race *race) {
  worker_queue(w, c);
  struct sluice_event *event = worker_event(w, c, sluice_event_kind_raced);
  if (!event) return;
  race->told = true;
  event->error = race->error;
  event->second = race->stage == RACE_SECOND;
}

enum sluice_result sluice_worker_settle(struct sluice_worker *w, struct sluice_id id,
                                        struct sluice_bytes first) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || c->race == 0) return sluice_result_stale;
  const struct race *race = race_of(w, c);
  if (!race->told || race->stage != RACE_SECOND) return sluice_result_stale;
  if (first.length > BUFFER_BYTES) return sluice_result_too_long;
  buffer_give(w, &c->halves[0].rest);
  buffer_give(w, transport_first(c));
  return buffer_append(w, transport_first(c), first.start, first.length);
}

static void race_end(struct sluice_worker *w, struct connection *c, struct race *race) {
  struct side *first = &c->sides[sluice_side_upstream];
  bool second = race->stage == RACE_SECOND;
  struct side loser = second ? *first : race->side;
  if (loser.descriptor >= 0) sys_close(loser.descriptor);
  if (second) {
    struct tls *tls = first->tls;  // which has not begun
    *first = race->side;
    first->tls = tls;
    c->until_ms = race->until_ms;
    c->race_ms = 0;
    c->summary.connect_us = race->began_us;
  }
  race_give(w, c);
  if (second) w->source->watch(w, c, sluice_side_upstream);
  race_file(w, c);
}

// A step of the race. False when there is none (any more): then it is an ordinary dial.
bool race_run(struct sluice_worker *w, struct connection *c) {
  if (c->race == 0) return false;
  struct race *race = race_of(w, c);
  if (race->stage == RACE_BOTH) {
    if (!race_decide(w, c, race)) return true;
    race_let_go(w, c, race);
  }
  if (!race->told) {
    race_tell(w, c, race);
    return true;
  }
  uint8_t waited_for = KERNEL_WATCH_RIVAL;
  if (race->stage == RACE_SECOND) waited_for |= KERNEL_WATCH_UPSTREAM;
  if (c->in_kernel & waited_for) return true;  // connection_gave queues it again
  race_end(w, c, race);
  return false;
}

// ---- broken off --------------------------------------------------------------------------------

void race_close(struct sluice_worker *w, struct connection *c) {
  if (c->in_kernel & KERNEL_WATCH_RIVAL) w->source->forget(w, c, SIDE_RIVAL);
}

void race_retire(struct sluice_worker *w, struct connection *c) {
  if (c->race == 0) return;
  int descriptor = race_of(w, c)->side.descriptor;
  if (descriptor >= 0) sys_close(descriptor);
  race_give(w, c);
}
