// What answers mean for the bytes that both ends must see, and for what may be passed on.
#include "simulation.h"

struct before before_of(const struct deal *d, struct connection *c) {
  struct before b = {0};
  for (int i = 0; i < 2; i++) {
    if (c->sides[i].descriptor < 0) continue;
    b.from[i] = kernel_socket(c->sides[i].descriptor);
    b.held[i] = buffer_length(c->halves[i].held);
    b.cut[i] = b.from[i]->read - b.held[i];
    b.fills[i] = source_will_fill(d->id.slot, d->id.generation, i);
  }
  return b;
}

// Bytes of our own go into a half at the point that the source has reached.
void model_insert(struct deal *d, int half, const struct before *b, uint64_t skip,
                         uint32_t stream, uint32_t length) {
  struct actor *to = half == 0 ? d->server : d->client;
  if (!to) return;
  struct script *script = &to->expects;
  struct segment *last = script->count ? &script->segments[script->count - 1] : NULL;
  bool open = last && last->open;
  uint32_t source = last ? last->stream : 0;
  if (!open) {
    if (length > 0) script_add(script, stream, 0, length, false);
    return;
  }
  if (length == 0 && skip == 0) return;
  if (d->pending[half] || b->fills[half]) {
    MUST(skip == 0, "held bytes while a splice reads the same half");
    if (d->pending[half]) {
      script_cut(script, last->from);  // nothing between two literals
    } else {
      d->pending[half] = true;
      d->pending_at[half] = script->count - 1;
    }
    script_add(script, stream, 0, length, false);
    script_add(script, source, b->from[half]->read, 0, true);
    return;
  }
  script_cut(script, b->cut[half]);
  if (length > 0) script_add(script, stream, 0, length, false);
  script_add(script, source, b->cut[half] + skip, 0, true);
}

// A splice has run: now we know where literals that were given meanwhile stand.
void world_splice_ran(uint32_t slot, uint32_t generation, int half) {
  struct deal *d = deal_find(slot, generation);
  if (!d) return;
  struct connection *c = connection_of(d);
  if (!c || c->sides[half].descriptor < 0) return;
  uint64_t read = kernel_socket(c->sides[half].descriptor)->read;
  if (d->granted[half] != UINT64_MAX) {
    d->allowed[half] = read + d->granted[half];
    d->granted[half] = UINT64_MAX;
  }
  if (!d->pending[half]) return;
  d->pending[half] = false;
  struct actor *to = half == 0 ? d->server : d->client;
  struct script *script = &to->expects;
  struct segment *early = &script->segments[d->pending_at[half]];
  if (early->open) early->length = read - early->from;
  early->open = false;
  struct segment *last = &script->segments[script->count - 1];
  if (last->open) last->from = read;
  if (d->discards[half]) script_cut(script, read);
}

// Activity counts from when the data plane hears of it.
void world_splice_reaped(uint32_t slot, uint32_t generation, int half, int32_t result) {
  const struct deal *d = deal_find(slot, generation);
  const struct connection *c = d ? connection_of(d) : NULL;
  if (!c || c->state == STATE_CLOSING || result < 0 || !d->socket[half]) return;
  d->socket[half]->moved_ns = world.now_ns;
}

static void model_allow(struct deal *d, int half, const struct before *b, uint64_t skip,
                        const struct sluice_half_answer *answer) {
  if (answer->mode == sluice_mode_keep) return;
  uint64_t more = answer->mode == sluice_mode_hold                         ? 0
                  : answer->mode == sluice_mode_relay && answer->limit > 0 ? answer->limit
                                                                           : UINT64_MAX;
  d->discards[half] = answer->mode == sluice_mode_discard;
  d->limited[half] = more != 0 && more != UINT64_MAX;
  d->granted[half] = UINT64_MAX;
  d->allowed[half] = UINT64_MAX;
  if (b->fills[half] && more != UINT64_MAX) {
    d->granted[half] = more;
  } else if (more != UINT64_MAX) {
    d->allowed[half] = b->cut[half] + skip + more;
  }
  if (answer->mode != sluice_mode_discard) return;
  coverage.discarded++;
  struct actor *to = half == 0 ? d->server : d->client;
  if (!to || to->expects.count == 0) return;
  if (!b->fills[half]) {
    script_cut(&to->expects, b->cut[half] + skip);
  } else if (!d->pending[half]) {
    d->pending[half] = true;
    d->pending_at[half] = to->expects.count - 1;
  }
}

void model_answer(struct deal *d, const struct draft *draft, const struct before *b) {
  const struct sluice_answer *a = &draft->answer;
  uint64_t skip[2] = {0, 0};
  skip[a->side] = a->consumed < b->held[a->side] ? a->consumed : b->held[a->side];
  model_insert(d, 1, b, skip[1], draft->to_client, a->send_client.length);
  if (a->route) {
    d->said[0] = (struct said){draft->prefix, a->route->prefix.length};
    d->said[1] = (struct said){draft->to_upstream, a->send_upstream.length};
    d->client_from = b->cut[0] + skip[0];
    struct script *up = d->server ? &d->server->expects : NULL;
    if (up && a->route->prefix.length > 0)
      script_add(up, draft->prefix, 0, a->route->prefix.length, false);
    if (up && a->send_upstream.length > 0)
      script_add(up, draft->to_upstream, 0, a->send_upstream.length, false);
    if (up) script_add(up, d->client->stream, d->client_from, 0, true);
    if (d->server) script_add(&d->client->expects, d->server->stream, 0, 0, true);
  } else {
    model_insert(d, 0, b, skip[0], draft->to_upstream, a->send_upstream.length);
  }
  model_allow(d, 0, b, skip[0], &a->up);
  model_allow(d, 1, b, skip[1], &a->down);
}

// The second of two dials goes on: its server is told `first`, or what the first would have been.
void model_second(struct deal *d, const struct said *first) {
  if (d->server) {
    script_cut(&d->client->expects, 0);
    d->server->deal = NULL;
  }
  d->server = d->rival;
  d->socket[1] = d->rival_socket;
  d->rival = NULL;
  if (!d->server) return;
  struct script *up = &d->server->expects;
  for (int i = 0; i < 2; i++) {
    const struct said *said = first ? first : &d->said[i];
    if (said->length > 0 && (!first || i == 0))
      script_add(up, said->stream, 0, said->length, false);
  }
  script_add(up, d->client->stream, d->client_from, 0, true);
  script_add(&d->client->expects, d->server->stream, 0, 0, true);
  if (d->discards[0]) script_cut(up, d->client_from);
  if (d->discards[1]) script_cut(&d->client->expects, 0);
}
