// Deadlines: a wheel of connections, by when they must be looked at. A connection is filed once
// and looked at when its slot is due; moving a deadline further away costs nothing (connection_due
// files it anew), so relaying never touches the wheel.
#include "internal.h"

enum { TICKS_PER_OUTER = WHEEL_SLOTS, NOT_FILED = 0xffff };

static void wheel_insert(struct sluice_worker *w, uint32_t slot, uint64_t at_tick) {
  struct wheel *wheel = &w->wheel;
  uint64_t distance = at_tick - wheel->tick;
  uint32_t index;
  if (distance < WHEEL_SLOTS) {
    index = (uint32_t)(at_tick % WHEEL_SLOTS);
  } else {
    uint64_t outer = at_tick / TICKS_PER_OUTER;
    uint64_t last = wheel->tick / TICKS_PER_OUTER + WHEEL_SLOTS - 1;
    if (outer > last) outer = last;
    index = WHEEL_SLOTS + (uint32_t)(outer % WHEEL_SLOTS);
  }
  struct connection *c = &w->slots[slot];
  c->wheel_slot = (uint16_t)index;
  c->wheel_previous = NO_SLOT;
  c->wheel_next = wheel->heads[index];
  if (c->wheel_next != NO_SLOT) w->slots[c->wheel_next].wheel_previous = slot;
  wheel->heads[index] = slot;
  wheel->occupied[index / WHEEL_SLOTS][index % WHEEL_SLOTS / 64] |= 1ull << (index % 64);
}

void deadline_clear(struct sluice_worker *w, struct connection *c) {
  if (c->wheel_slot == NOT_FILED) return;
  uint32_t index = c->wheel_slot;
  if (c->wheel_previous != NO_SLOT) {
    w->slots[c->wheel_previous].wheel_next = c->wheel_next;
  } else {
    w->wheel.heads[index] = c->wheel_next;
    if (c->wheel_next == NO_SLOT)
      w->wheel.occupied[index / WHEEL_SLOTS][index % WHEEL_SLOTS / 64] &= ~(1ull << (index % 64));
  }
  if (c->wheel_next != NO_SLOT) w->slots[c->wheel_next].wheel_previous = c->wheel_previous;
  c->wheel_slot = NOT_FILED;
}

// Rounded up, so that nothing is due before its time.
void deadline_set(struct sluice_worker *w, struct connection *c, uint64_t at_ms) {
  deadline_clear(w, c);
  uint64_t at_tick = (at_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
  if (at_tick <= w->wheel.tick) at_tick = w->wheel.tick + 1;
  wheel_insert(w, worker_slot(w, c), at_tick);
}

// Takes a whole slot off the wheel and looks at each connection in it.
static void wheel_empty(struct sluice_worker *w, uint32_t index) {
  uint32_t slot = w->wheel.heads[index];
  w->wheel.heads[index] = NO_SLOT;
  w->wheel.occupied[index / WHEEL_SLOTS][index % WHEEL_SLOTS / 64] &= ~(1ull << (index % 64));
  while (slot != NO_SLOT) {
    struct connection *c = &w->slots[slot];
    slot = c->wheel_next;
    c->wheel_slot = NOT_FILED;
    connection_due(w, c);
  }
}

// The next occupied slot of a level at or after `from`, as a distance in slots; WHEEL_SLOTS: none.
static uint32_t wheel_distance(const struct wheel *wheel, int level, uint64_t from) {
  for (uint32_t step = 0; step < WHEEL_SLOTS;) {
    uint32_t index = (uint32_t)((from + step) % WHEEL_SLOTS);
    uint64_t word = wheel->occupied[level][index / 64] >> (index % 64);
    if (word != 0) {
      uint32_t distance = step + (uint32_t)__builtin_ctzll(word);
      return distance < WHEEL_SLOTS ? distance : WHEEL_SLOTS;
    }
    step += 64 - index % 64;
  }
  return WHEEL_SLOTS;
}

// The tick at which something is to be done, UINT64_MAX when the wheel is empty.
static uint64_t wheel_next(const struct wheel *wheel) {
  uint64_t next = UINT64_MAX;
  uint32_t inner = wheel_distance(wheel, 0, wheel->tick + 1);
  if (inner < WHEEL_SLOTS) next = wheel->tick + 1 + inner;
  uint64_t outer_tick = wheel->tick / TICKS_PER_OUTER + 1;
  uint32_t outer = wheel_distance(wheel, 1, outer_tick);
  if (outer < WHEEL_SLOTS) {
    uint64_t at = (outer_tick + outer) * TICKS_PER_OUTER;
    if (at < next) next = at;
  }
  return next;
}

// Jumps from one occupied slot to the next, so that a long sleep costs nothing.
void deadline_run(struct sluice_worker *w) {
  uint64_t now_tick = w->now_ms / WHEEL_TICK_MS;
  for (;;) {
    uint64_t next = wheel_next(&w->wheel);
    if (next > now_tick) break;
    w->wheel.tick = next;
    if (next % TICKS_PER_OUTER == 0)
      wheel_empty(w, WHEEL_SLOTS + (uint32_t)(next / TICKS_PER_OUTER % WHEEL_SLOTS));
    wheel_empty(w, (uint32_t)(next % WHEEL_SLOTS));
  }
  if (now_tick > w->wheel.tick) w->wheel.tick = now_tick;
}

uint64_t deadline_wait_ns(const struct sluice_worker *w) {
  uint64_t next = wheel_next(&w->wheel);
  if (next == UINT64_MAX) return UINT64_MAX;
  uint64_t at_ns = next * WHEEL_TICK_MS * 1000000u;
  return at_ns > w->now_ns ? at_ns - w->now_ns : 0;
}
