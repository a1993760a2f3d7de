// Two dials for one connection: what the caller says when one is slow, and what it must hear of
// both.
#include "simulation.h"

enum { FIRST_MAX = 70000 };

static uint8_t first_bytes[FIRST_MAX];

// One of two dials that failed: a time-out of its own must not come before its time.
static void failed(const struct deal *d, int32_t error, uint64_t since_ns, uint32_t limit_ms) {
  if (error != ETIMEDOUT) return;
  MUST(limit_ms == 0 || world.now_ns - since_ns + NS_PER_MS >= limit_ms * NS_PER_MS,
       "slot %u: a dial of two timed out too early", d->id.slot);
}

void race_answer_slow(const struct sluice_event *e) {
  struct deal *d = deal_find(e->id.slot, e->id.generation);
  MUST(d && d->live, "a slow dial of nobody");
  note("slow dial of slot %llu", e->id.slot, 0, 0, 0);
  MUST(d->race_ms > 0 && !d->races && !d->opened, "slot %u: nobody asked for a race", d->id.slot);
  MUST(world.now_ns + NS_PER_MS >= d->dialled_ns + d->race_ms * NS_PER_MS,
       "slot %u: a dial is called slow too early", d->id.slot);
  d->race_ms = 0;
  coverage.slow++;
  if (chance(200)) return;
  struct sluice_route route = {0};
  draft_address(&route);
  if (chance(700)) route.connect_ms = (uint32_t)between(5, 1000);
  d->rival = NULL;
  d->rival_socket = NULL;
  world.dealing = d;
  world.racing = true;
  enum sluice_result result = sluice_worker_race(world.worker, d->id, &route);
  world.racing = false;
  world.dealing = NULL;
  note("race of slot %llu, connect %llu ms: %llu", d->id.slot, route.connect_ms, result, 0);
  switch (result) {
    case sluice_result_done: coverage.race_begun++; break;
    case sluice_result_not_dialled: coverage.race_not_dialled++; break;
    case sluice_result_no_buffer: coverage.race_denied++; return;
    case sluice_result_stale:
    case sluice_result_too_long: fail("slot %u: a race came to %d", d->id.slot, result);
  }
  MUST(sluice_worker_race(world.worker, d->id, &route) == sluice_result_stale,
       "slot %u: a third dial", d->id.slot);
  d->races = true;
  d->rival_ns = world.worker->now_ns;
  d->rival_connect_ms = route.connect_ms;
}

// The second is told something of its own, or what the first would have been told.
static void settle_second(struct deal *d) {
  struct said other = {0};
  struct sluice_bytes bytes = {0};
  enum sluice_result result = sluice_result_stale;
  if (chance(800)) {
    bytes = literal(first_bytes, literal_length(), &other.stream);
    other.length = bytes.length;
    result = sluice_worker_settle(world.worker, d->id, bytes);
    note("slot %llu is settled with %llu bytes: %llu", d->id.slot, bytes.length, result, 0);
    MUST(result != sluice_result_stale && result != sluice_result_not_dialled,
         "slot %u: a settlement came to %d", d->id.slot, result);
  }
  model_second(d, result == sluice_result_done ? &other : NULL);
  coverage.race_settled += result == sluice_result_done;
  if (result == sluice_result_no_buffer) give_kill(d);
}

void race_answer_raced(const struct sluice_event *e) {
  struct deal *d = deal_find(e->id.slot, e->id.generation);
  MUST(d && d->live && d->races, "a race of nobody");
  note("slot %llu raced: second %llu, error %llu", e->id.slot, e->second, (uint64_t)e->error, 0);
  d->one_failed = e->error != 0;
  bool both = d->socket[1] && d->server && d->socket[1]->state == FAKE_OPEN && d->rival &&
              d->rival_socket->state == FAKE_OPEN;
  coverage.race_both_stand += both;
  if (!e->second) {
    failed(d, e->error, d->rival_ns, d->rival_connect_ms);
    if (e->error) coverage.race_second_failed++;
    else coverage.race_first_won++;
    struct sluice_bytes none = {0};
    MUST(sluice_worker_settle(world.worker, d->id, none) == sluice_result_stale,
         "slot %u: the first server is told twice", d->id.slot);
    race_forget(d);
    return;
  }
  failed(d, e->error, d->dialled_ns, d->connect_ms);
  if (e->error) coverage.race_first_failed++;
  else coverage.race_second_won++;
  settle_second(d);
  d->dialled_ns = d->rival_ns;
  d->connect_ms = d->rival_connect_ms;
  d->races = false;
}

void race_forget(struct deal *d) {
  if (d->rival) d->rival->deal = NULL;
  d->rival = NULL;
  d->rival_socket = NULL;
  d->races = false;
}
