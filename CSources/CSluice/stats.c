// What can be asked about a worker and its connections, and ending them from outside.
#include "internal.h"

#include <sys/mman.h>

struct sluice_shared *sluice_shared_create(uint32_t descriptors, uint32_t connections) {
  struct sluice_shared *shared = aligned_alloc(64, sizeof *shared);
  if (!shared) return NULL;
  shared->buckets = sys_reserve(SLUICE_BUCKETS * sizeof *shared->buckets);
  shared->seats = sys_reserve(SEATS * sizeof *shared->seats);
  if (!shared->buckets || !shared->seats) {
    sluice_shared_destroy(shared);
    return NULL;
  }
  atomic_init(&shared->pause, false);
  atomic_init(&shared->spin, false);
  atomic_init(&shared->paused, 0);
  for (int i = 0; i < WANTS; i++) atomic_init(&shared->pauses[i], 0);
  atomic_init(&shared->descriptors, 0);
  atomic_init(&shared->connections, 0);
  shared->descriptors_max = descriptors;
  shared->connections_max = connections;
  return shared;
}

void sluice_shared_destroy(struct sluice_shared *shared) {
  if (shared->buckets) munmap(shared->buckets, SLUICE_BUCKETS * sizeof *shared->buckets);
  if (shared->seats) munmap(shared->seats, SEATS * sizeof *shared->seats);
  free(shared);
}

void sluice_shared_pauses(const struct sluice_shared *shared, struct sluice_pauses *pauses) {
  *pauses = (struct sluice_pauses){
      .connections = atomic_load_explicit(&shared->pauses[WANT_CONNECTIONS], memory_order_relaxed),
      .descriptors = atomic_load_explicit(&shared->pauses[WANT_DESCRIPTORS], memory_order_relaxed),
      .memory = atomic_load_explicit(&shared->pauses[WANT_MEMORY], memory_order_relaxed),
      .buffers = atomic_load_explicit(&shared->pauses[WANT_BUFFERS], memory_order_relaxed),
      .workers = atomic_load_explicit(&shared->paused, memory_order_relaxed),
  };
}

void sluice_shared_pause(struct sluice_shared *shared, bool wanted) {
  atomic_store_explicit(&shared->pause, wanted, memory_order_relaxed);
}

void sluice_shared_spin(struct sluice_shared *shared, bool wanted) {
  atomic_store_explicit(&shared->spin, wanted, memory_order_relaxed);
}

uint32_t sluice_shared_connections(struct sluice_shared *shared) {
  return atomic_load_explicit(&shared->connections, memory_order_relaxed);
}

enum sluice_result sluice_worker_endpoints(const struct sluice_worker *w, struct sluice_id id,
                                           struct sluice_endpoint *client,
                                           struct sluice_endpoint *local) {
  const struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || c->sides[0].descriptor < 0) return sluice_result_stale;
  struct sockaddr_storage name = {0};
  socklen_t length = sizeof name;
  // ENOTCONN: the client has gone already; its address is not known any more.
  if (sys_peer_name(c->sides[0].descriptor, (struct sockaddr *)&name, &length) != 0)
    return sluice_result_stale;
  endpoint_decode(&name, client);
  if (!local) return sluice_result_done;
  memset(&name, 0, sizeof name);
  length = sizeof name;
  if (sys_own_name(c->sides[0].descriptor, (struct sockaddr *)&name, &length) != 0)
    return sluice_result_stale;
  endpoint_decode(&name, local);
  return sluice_result_done;
}

void *sluice_worker_record(struct sluice_worker *w, struct sluice_id id) {
  return worker_find(w, id.slot, id.generation) ? w->records[id.slot] : NULL;
}

static bool session_live(const struct connection *c) {
  return c->state != STATE_FREE && c->state != STATE_CLOSING && c->state != STATE_CLOSED;
}

uint32_t sluice_worker_list(struct sluice_worker *w, uint32_t *cursor,
                            struct sluice_session *sessions, uint32_t most) {
  uint32_t count = 0;
  for (; *cursor < w->slots_touched && count < most; (*cursor)++) {
    const struct connection *c = &w->slots[*cursor];
    if (!session_live(c)) continue;
    sessions[count++] = (struct sluice_session){
        .id = {*cursor, c->generation},
        .age_us = (w->now_ns - c->summary.accepted_ns) / 1000,
        .idle_us = (w->now_ms - c->active_ms) * 1000,
        // Held bytes are not let go of yet, as in the summary.
        .bytes_up = c->halves[0].bytes - buffer_length(c->halves[0].held),
        .bytes_down = c->halves[1].bytes - buffer_length(c->halves[1].held),
        .listener = c->listener,
        .dialled = c->state == STATE_OPEN || c->state == STATE_DELIVERING,
    };
  }
  return count;
}

enum sluice_result sluice_worker_kill(struct sluice_worker *w, struct sluice_id id,
                                      enum sluice_end end) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || c->state == STATE_CLOSING || c->state == STATE_CLOSED) return sluice_result_stale;
  connection_end(c, end);
  c->redial = false;
  connection_close(w, c, false);
  return sluice_result_done;
}

uint32_t sluice_worker_kill_all(struct sluice_worker *w, uint32_t listener, enum sluice_end end,
                                uint32_t *cursor, uint32_t most) {
  uint32_t count = 0;
  for (; *cursor < w->slots_touched && count < most; (*cursor)++) {
    struct connection *c = &w->slots[*cursor];
    if (!session_live(c) || (listener != UINT32_MAX && c->listener != listener)) continue;
    struct sluice_id id = {*cursor, c->generation};
    if (sluice_worker_kill(w, id, end) == sluice_result_done) count++;
  }
  return count;
}

void sluice_worker_measure(struct sluice_worker *w, bool wanted) { w->measures = wanted; }

// While both sockets are still open; what the kernel knows outlives a reset. A connection shorter
// than MEASURED_US is hardly more than its handshake, and asking would be 2 % of its cost.
static void stats_measure(const struct sluice_worker *w, const struct connection *c,
                          struct sluice_summary *summary) {
  if (!w->measures || summary->duration_us < MEASURED_US) return;
  struct sluice_path *paths[2] = {&summary->client_path, &summary->upstream_path};
  for (int i = 0; i < 2; i++) {
    const struct side *side = &c->sides[i];
    if (side->descriptor >= 0 && !side->local)
      sys_path(side->descriptor, &paths[i]->rtt_us, &paths[i]->retransmits);
  }
}

void stats_sum_up(struct sluice_worker *w, const struct connection *c,
                  struct sluice_summary *summary) {
  const struct notes *noted = &c->summary;
  *summary = (struct sluice_summary){
      .accepted_ns = noted->accepted_ns,
      // What is still held was never let go.
      .bytes_up = c->halves[0].bytes - buffer_length(c->halves[0].held),
      .bytes_down = c->halves[1].bytes - buffer_length(c->halves[1].held),
      .spliced_up = c->halves[0].spliced,
      .spliced_down = c->halves[1].spliced,
      .duration_us = (w->now_ns - noted->accepted_ns) / 1000,
      .connect_us = noted->connect_us,
      .first_byte_us = noted->first_byte_us,
      .half_closed_us = c->first_fin_ns ? (w->now_ns - c->first_fin_ns) / 1000 : 0,
      .ends = noted->ends,
      .tries = noted->tries,
      .reason = noted->reason,
      .error = noted->error,
  };
  stats_measure(w, c, summary);
  w->stats.closed++;
  w->stats.bytes_up += summary->bytes_up;
  w->stats.bytes_down += summary->bytes_down;
  w->stats.bytes_spliced += summary->spliced_up + summary->spliced_down;
}

void sluice_worker_stats(const struct sluice_worker *w, struct sluice_stats *stats) {
  *stats = w->stats;
  stats->connections = w->live;
  stats->buffers = w->buffers_used;
  stats->pipes = w->pipes_made;
  stats->accept_paused = w->accept_paused;
}
