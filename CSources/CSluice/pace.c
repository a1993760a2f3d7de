// Bandwidth: token buckets of each half of a connection, and of all connections of a listener,
// which the workers share. A bucket is one word that says when it will be full again (the generic
// cell rate algorithm, ITU-T I.371, annex A). Bytes are charged once they were read, so that a
// bucket several workers have read from at once may be in debt, which later bytes pay: the rate is
// kept over time.
//
// A half whose bucket is empty rests until it is half full again: what it does then is worth a
// wake-up, and the kernel's window tells the sender meanwhile.
#include "internal.h"

#define NS_PER_S 1000000000u

static uint64_t pace_burst(uint64_t rate) {
  return rate / BURST_DIVISOR > BURST_LEAST ? rate / BURST_DIVISOR : BURST_LEAST;
}

// How long `bytes` take. PUMP_BYTES of a run and bursts of SLUICE_BANDWIDTH_MAX fit in 64 bits.
static uint64_t pace_ns(uint64_t bytes, uint64_t rate) { return bytes * NS_PER_S / rate; }

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

// Bytes that a bucket holds at a time.
static uint64_t bucket_room(uint64_t full_ns, uint64_t now_ns, uint64_t rate) {
  uint64_t missing_ns = full_ns > now_ns ? full_ns - now_ns : 0;
  uint64_t whole_ns = pace_ns(pace_burst(rate), rate);
  return missing_ns >= whole_ns ? 0 : (whole_ns - missing_ns) * rate / NS_PER_S;
}

// When an empty bucket will be half full.
static uint64_t bucket_half_full_ns(uint64_t full_ns, uint64_t rate) {
  return full_ns - pace_ns(pace_burst(rate) / 2, rate);
}

static struct pace *pace_of(const struct sluice_worker *w, const struct connection *c) {
  return &w->paces[worker_slot(w, c)];
}

static _Atomic uint64_t *bucket_shared(struct sluice_worker *w, const struct pace *pace, int i) {
  return &w->shared->buckets[pace->bucket].full_ns[i];
}

// What a route allows. Another server's bytes count on.
void pace_set(struct sluice_worker *w, struct connection *c, const struct sluice_route *route) {
  bool paced = route->bandwidth > 0 || route->shared_bandwidth > 0;
  if (paced) {
    struct pace *pace = pace_of(w, c);
    if (!c->paced) *pace = (struct pace){0};  // another connection's
    pace->bandwidth = route->bandwidth;
    pace->shared_bandwidth = route->shared_bandwidth;
    pace->bucket = route->bucket % SLUICE_BUCKETS;
    pace->halves[0].rest_ms = pace->halves[1].rest_ms = 0;
  }
  c->paced = paced;
}

// What a half may read now, or NO_LIMIT.
uint64_t pace_begin(struct sluice_worker *w, const struct connection *c, int i) {
  struct pace *pace = pace_of(w, c);
  uint64_t most = NO_LIMIT;
  // What a side sent before its reset is in the kernel already.
  if (c->state != STATE_OPEN) return most;
  if (pace->halves[i].rest_ms > w->now_ms) return 0;
  pace->halves[i].rest_ms = 0;
  if (pace->bandwidth > 0)
    most = bucket_room(pace->halves[i].full_ns, w->now_ns, pace->bandwidth);
  if (pace->shared_bandwidth > 0) {
    uint64_t full_ns = atomic_load_explicit(bucket_shared(w, pace, i), memory_order_relaxed);
    uint64_t room = bucket_room(full_ns, w->now_ns, pace->shared_bandwidth);
    if (room < most) most = room;
  }
  return most;
}

void pace_charge(struct sluice_worker *w, struct connection *c, int i, uint64_t bytes) {
  struct pace *pace = pace_of(w, c);
  uint64_t *full_ns = &pace->halves[i].full_ns;
  if (w->room != NO_LIMIT) w->room -= bytes < w->room ? bytes : w->room;
  if (pace->bandwidth > 0)
    *full_ns = later(*full_ns, w->now_ns) + pace_ns(bytes, pace->bandwidth);
  if (pace->shared_bandwidth == 0) return;
  _Atomic uint64_t *bucket = bucket_shared(w, pace, i);
  uint64_t before = atomic_load_explicit(bucket, memory_order_relaxed);
  uint64_t cost = pace_ns(bytes, pace->shared_bandwidth);
  while (!atomic_compare_exchange_weak_explicit(bucket, &before,
                                                later(before, w->now_ns) + cost,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
}

// After it has moved bytes: with an empty bucket and more to read it rests.
void pace_end(struct sluice_worker *w, struct connection *c, int i) {
  struct pace *pace = pace_of(w, c);
  if (w->room > 0 || c->state != STATE_OPEN || pace->halves[i].rest_ms > w->now_ms) return;
  uint64_t until_ns = 0;
  uint64_t full_ns = pace->halves[i].full_ns;
  if (pace->bandwidth > 0 && bucket_room(full_ns, w->now_ns, pace->bandwidth) == 0)
    until_ns = bucket_half_full_ns(full_ns, pace->bandwidth);
  if (pace->shared_bandwidth > 0) {
    full_ns = atomic_load_explicit(bucket_shared(w, pace, i), memory_order_relaxed);
    if (bucket_room(full_ns, w->now_ns, pace->shared_bandwidth) == 0)
      until_ns = later(until_ns, bucket_half_full_ns(full_ns, pace->shared_bandwidth));
  }
  pace->halves[i].rest_ms = later(until_ns / 1000000, w->now_ms) + 1;
  c->rests = true;
}

// When a half of a paced connection has rested; UINT64_MAX when none rests.
uint64_t pace_next_ms(const struct sluice_worker *w, const struct connection *c) {
  uint64_t next = UINT64_MAX;
  for (int i = 0; i < 2; i++) {
    uint64_t rest_ms = pace_of(w, c)->halves[i].rest_ms;
    if (rest_ms > w->now_ms && rest_ms < next) next = rest_ms;
  }
  return next;
}
