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

static _Atomic uint64_t *bucket_shared(struct sluice_worker *w, const struct connection *c,
                                       int i) {
  return &w->shared->buckets[c->bucket].full_ns[i];
}

// Before a half moves bytes: what it may read.
void pace_begin(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  half->room = NO_LIMIT;
  // What a side sent before its reset is in the kernel already.
  if (c->state != STATE_OPEN) return;
  if (half->rest_ms > w->now_ms) {
    half->room = 0;
    return;
  }
  half->rest_ms = 0;
  if (c->bandwidth > 0) half->room = bucket_room(half->full_ns, w->now_ns, c->bandwidth);
  if (c->shared_bandwidth > 0) {
    uint64_t full_ns = atomic_load_explicit(bucket_shared(w, c, i), memory_order_relaxed);
    uint64_t room = bucket_room(full_ns, w->now_ns, c->shared_bandwidth);
    if (room < half->room) half->room = room;
  }
}

void pace_charge(struct sluice_worker *w, struct connection *c, int i, uint64_t bytes) {
  struct half *half = &c->halves[i];
  if (half->room != NO_LIMIT) half->room -= bytes < half->room ? bytes : half->room;
  if (c->bandwidth > 0)
    half->full_ns = later(half->full_ns, w->now_ns) + pace_ns(bytes, c->bandwidth);
  if (c->shared_bandwidth == 0) return;
  _Atomic uint64_t *bucket = bucket_shared(w, c, i);
  uint64_t before = atomic_load_explicit(bucket, memory_order_relaxed);
  uint64_t cost = pace_ns(bytes, c->shared_bandwidth);
  while (!atomic_compare_exchange_weak_explicit(bucket, &before,
                                                later(before, w->now_ns) + cost,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
}

// After it has moved bytes: with an empty bucket and more to read it rests.
void pace_end(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (half->room > 0 || c->state != STATE_OPEN || half->rest_ms > w->now_ms) return;
  uint64_t until_ns = 0;
  if (c->bandwidth > 0 && bucket_room(half->full_ns, w->now_ns, c->bandwidth) == 0)
    until_ns = bucket_half_full_ns(half->full_ns, c->bandwidth);
  if (c->shared_bandwidth > 0) {
    uint64_t full_ns = atomic_load_explicit(bucket_shared(w, c, i), memory_order_relaxed);
    if (bucket_room(full_ns, w->now_ns, c->shared_bandwidth) == 0)
      until_ns = later(until_ns, bucket_half_full_ns(full_ns, c->shared_bandwidth));
  }
  half->rest_ms = later(until_ns / 1000000, w->now_ms) + 1;
  c->rests = true;
}

// When a half has rested; UINT64_MAX when none rests.
uint64_t pace_next_ms(const struct sluice_worker *w, const struct connection *c) {
  uint64_t next = UINT64_MAX;
  for (int i = 0; i < 2; i++) {
    uint64_t rest_ms = c->halves[i].rest_ms;
    if (rest_ms > w->now_ms && rest_ms < next) next = rest_ms;
  }
  return next;
}
