// The caller's side: every event gets a random legal answer.
#include "simulation.h"
#include "tls.h"

enum { LITERAL_MAX = 70000 };

static uint8_t prefix_bytes[LITERAL_MAX];
static uint8_t client_bytes[LITERAL_MAX];
static uint8_t upstream_bytes[LITERAL_MAX];

struct connection *connection_of(const struct deal *d) {
  return d->live ? worker_find(world.worker, d->id.slot, d->id.generation) : NULL;
}

static bool answerable(const struct connection *c) {
  return c && !c->redial &&
         (c->state == STATE_ASKING || c->state == STATE_HOLDING || c->state == STATE_OPEN);
}

struct sluice_bytes literal(uint8_t *bytes, uint64_t length, uint32_t *stream) {
  if (length > LITERAL_MAX) length = LITERAL_MAX;
  *stream = world.streams++;
  for (size_t done = 0; done < length;) {
    size_t n = (size_t)length - done;
    const uint8_t *piece = pattern_at(*stream, done, &n);
    memcpy(bytes + done, piece, n);
    done += n;
  }
  return (struct sluice_bytes){bytes, (uint32_t)length};
}

uint64_t literal_length(void) {
  if (chance(15)) return between(60000, LITERAL_MAX);
  return chance(200) ? 0 : amount(3000);
}

// ---- giving an answer --------------------------------------------------------------------------

static void give_reject(struct deal *d, uint64_t reply_length) {
  struct connection *c = connection_of(d);
  if (!transport_speaks(&c->sides[0])) reply_length = 0;
  struct before b = before_of(d, c);
  uint32_t stream;
  struct sluice_bytes reply = literal(client_bytes, reply_length, &stream);
  enum sluice_result result = sluice_worker_reject(world.worker, d->id, reply, 7);
  note("reject of slot %llu with %llu bytes: %llu", d->id.slot, reply.length, result, 0);
  MUST(result == sluice_result_done, "a reject of slot %u came to %d", d->id.slot, result);
  coverage.rejected++;
  d->exempt = true;
  d->rejected_ns = world.worker->now_ns;
  if (c->state != STATE_FAREWELL) return;
  coverage.farewell++;
  d->replied = true;
  model_insert(d, 1, &b, 0, stream, reply.length);
  if (d->pending[1]) return;
  script_cut(&d->client->expects, b.cut[1]);
}

void give_kill(struct deal *d) {
  note("kill of slot %llu", d->id.slot, 0, 0, 0);
  MUST(sluice_worker_kill(world.worker, d->id, sluice_end_killed) == sluice_result_done,
       "a kill of slot %u was refused", d->id.slot);
  d->exempt = true;
  d->replied = false;  // among four ends before it the summary may have no room for this one
  coverage.killed++;
}

static void note_answer(const struct deal *d, const struct sluice_answer *a, int result) {
  note("answer slot %llu side %llu consumed %llu result %llu", d->id.slot, a->side, a->consumed,
       (uint64_t)result);
  note("  up mode %llu limit %llu down mode %llu limit %llu", a->up.mode, a->up.limit,
       a->down.mode, a->down.limit);
  note("  to client %llu to upstream %llu park %llu hold %llu ms", a->send_client.length,
       a->send_upstream.length, a->park, a->hold_ms);
  if (a->route)
    note("  route: prefix %llu connect %llu idle %llu half-closed %llu ms",
         a->route->prefix.length, a->route->connect_ms, a->route->idle_ms,
         a->route->half_closed_ms);
}

static void note_route(struct deal *d, const struct sluice_route *r) {
  d->connect_ms = r->connect_ms;
  d->idle_ms = r->idle_ms;
  d->half_closed_ms = r->half_closed_ms;
  d->max_age_ms = r->max_age_ms;
  d->dialled_ns = world.worker->now_ns;
  d->one_failed = false;
  d->race_ms = r->race_ms < UINT16_MAX ? r->race_ms : UINT16_MAX;
  d->opened = false;
  d->opened_ns = 0;
  d->allowed[1] = d->granted[1] = UINT64_MAX;
  coverage.routed++;
}

static void give_answer(struct deal *d, struct draft *draft) {
  struct connection *c = connection_of(d);
  struct before b = before_of(d, c);
  struct sluice_answer *a = &draft->answer;
  struct actor *former = d->server;
  if (a->route) d->server = NULL;
  world.dealing = d;
  enum sluice_result result = sluice_worker_answer(world.worker, d->id, a);
  world.dealing = NULL;
  note_answer(d, a, result);
  switch (result) {
    case sluice_result_done:
      break;
    case sluice_result_not_dialled:
      MUST(a->route, "not dialled without a route");
      coverage.not_dialled++;
      break;
    case sluice_result_no_buffer:
    case sluice_result_too_long:
      if (result == sluice_result_no_buffer) coverage.no_buffer++;
      if (result == sluice_result_too_long) coverage.too_long++;
      d->server = former;
      give_reject(d, literal_length());
      return;
    case sluice_result_stale:
      fail("an answer for slot %u, which was asked about, is stale", d->id.slot);
  }
  if (a->route) note_route(d, a->route);
  coverage.sent_client += a->send_client.length > 0;
  coverage.sent_upstream += a->send_upstream.length > 0;
  coverage.parked += a->park;
  model_answer(d, draft, &b);
  d->answered_at = world.batch;
  d->answered_ns = world.worker->now_ns;
  d->parked = a->park;
  if (a->park) d->fact_ns = world.now_ns + between(0, 2000) * NS_PER_MS;
  if (a->hold_ms > 0) d->hold_until_ns = world.worker->now_ns + a->hold_ms * NS_PER_MS;
  // Not before, since it begins only when the upstream is reached.
  if (a->route && a->route->hold_ms > 0)
    d->hold_until_ns = world.worker->now_ns + a->route->hold_ms * NS_PER_MS;
  if (c->state == STATE_CLOSING) d->exempt = true;
}

// ---- what to answer ----------------------------------------------------------------------------

static uint32_t milliseconds(uint64_t least, uint64_t most) {
  return (uint32_t)between(least, most);
}

static void draft_hold(struct draft *draft, struct sluice_half_answer *half, uint64_t held) {
  half->mode = sluice_mode_hold;
  half->limit = held + 1 + amount(20000);
  if (half->limit > BUFFER_BYTES) half->limit = BUFFER_BYTES;
  draft->answer.hold_ms = milliseconds(5, 1500);
  coverage.held++;
}

static void draft_limit(struct sluice_half_answer *half) {
  half->mode = sluice_mode_relay;
  half->limit = world.settling ? between(20000, 90000) : 1 + amount(60000);
}

// The half that a route starts with.
static void draft_half(struct draft *draft, struct sluice_half_answer *half, uint64_t held) {
  uint64_t roll = below(100);
  *half = (struct sluice_half_answer){.mode = sluice_mode_relay};
  if (roll < 60) return;
  if (roll < 80) draft_limit(half);
  else if (roll < 94 && held < BUFFER_BYTES) draft_hold(draft, half, held);
  else if (roll < 97) half->mode = sluice_mode_discard;
}

void draft_address(struct sluice_route *r) {
  uint32_t server = (uint32_t)below(SERVERS);
  static const char names[] = "0123456789";
  if (server == SERVERS - 1) {
    r->address = (struct sluice_endpoint){
        .family = sluice_family_unix, .path = names + server, .path_length = 1};
  } else {
    r->address = (struct sluice_endpoint){
        .family = sluice_family_ipv4, .low = 0x7f000001, .port = (uint16_t)server};
  }
  if (chance(100)) r->source = (struct sluice_endpoint){.family = sluice_family_ipv4};
}

static void draft_route(struct draft *draft, uint64_t held) {
  struct sluice_route *r = &draft->route;
  draft_address(r);
  r->splice = (enum sluice_splice)below(3);
  if (chance(800)) r->prefix = literal(prefix_bytes, literal_length(), &draft->prefix);
  if (chance(700)) r->connect_ms = milliseconds(5, 1000);
  if (chance(600)) r->race_ms = chance(100) ? 100000 : milliseconds(1, chance(500) ? 30 : 400);
  r->idle_ms = chance(300) ? milliseconds(20, 3000) : 60000;
  if (chance(700)) r->half_closed_ms = chance(300) ? milliseconds(20, 2000) : 30000;
  if (chance(200)) r->max_age_ms = chance(500) ? milliseconds(100, 10000) : 100000;
  r->redial_reset = chance(700);
  r->outlived = chance(400);
  r->ask_open = chance(300);
  if (chance(150)) r->bandwidth = between(100000, 20000000);
  if (chance(100)) r->shared_bandwidth = between(300000, 50000000);
  r->bucket = (uint32_t)below(2);
  if (chance(250)) r->tls = toy_setup(false);
  coverage.tls_second += r->tls != NULL;
  draft->answer.route = r;
  draft_half(draft, &draft->answer.up, held);
  draft_half(draft, &draft->answer.down, 0);
  bool holds = draft->answer.up.mode == sluice_mode_hold ||
               draft->answer.down.mode == sluice_mode_hold;
  if (holds && chance(500)) r->hold_ms = milliseconds(20, 1500);
  bool plain = draft->answer.up.mode == sluice_mode_relay && draft->answer.up.limit == 0 &&
               draft->answer.down.mode == sluice_mode_relay && draft->answer.down.limit == 0;
  if (plain && chance(300)) r->idle_ms = 0;
  if (chance(100))
    draft->answer.send_upstream = literal(upstream_bytes, literal_length(), &draft->to_upstream);
}

static void draft_consume(struct draft *draft, uint64_t held) {
  if (held > 0 && chance(300)) draft->answer.consumed = (uint32_t)between(1, held);
}

// No upstream yet.
static void decide_early(struct deal *d, const struct sluice_event *e) {
  struct connection *c = connection_of(d);
  struct draft draft = {.answer.side = sluice_side_client};
  uint64_t held = buffer_length(c->halves[0].held);
  uint64_t roll = below(100);
  bool last = e && e->final != sluice_final_no;
  if (world.profile.crowd && !last && chance(900)) roll = 70;  // all wait for the same moment
  if (last && roll >= 60 && roll < 98) roll = 0;
  // Nothing but an end can come of a handshake that came to nothing, or to no end.
  if (!transport_speaks(&c->sides[0])) roll = 97;
  bool begins = c->sides[0].plain && !last && held > 0 && !world.profile.crowd && chance(300);
  if (begins && roll < 86) {
    draft_consume(&draft, held - 1);
    draft_hold(&draft, &draft.answer.up, 0);
    draft.answer.tls = toy_setup(true);
    coverage.tls_first++;
    give_answer(d, &draft);
    return;
  }
  if (roll < 60 || held == BUFFER_BYTES) {
    draft_consume(&draft, held);
    draft_route(&draft, held - draft.answer.consumed);
  } else if (roll < 86) {
    draft_consume(&draft, held);
    draft_hold(&draft, &draft.answer.up, held - draft.answer.consumed);
    if (chance(20)) draft.answer.hold_ms = 0;
    if (world.profile.crowd) draft.answer.hold_ms = CROWD_MS;
  } else if (roll < 94) {
    draft.answer.park = true;
    draft.answer.hold_ms = milliseconds(10, 2000);
  } else if (roll < 98) {
    give_reject(d, literal_length());
    return;
  } else {
    give_kill(d);
    return;
  }
  if (chance(100) && !c->halves[1].shut)
    draft.answer.send_client = literal(client_bytes, literal_length(), &draft.to_client);
  give_answer(d, &draft);
}

static void decide_asked_half(struct draft *draft, struct sluice_half_answer *half,
                              uint64_t held) {
  uint64_t roll = below(100);
  *half = (struct sluice_half_answer){.mode = sluice_mode_relay};
  if (roll < 45) return;
  if (roll < 75) draft_limit(half);
  else if (roll < 94 && held < BUFFER_BYTES) draft_hold(draft, half, held);
  else if (roll < 96) half->mode = sluice_mode_discard;
}

// Gives up the upstream, where nothing that matters has got to it.
static bool give_redial(struct deal *d) {
  enum sluice_result result = sluice_worker_redial(world.worker, d->id, EPROTO);
  note("redial of slot %llu: %llu", d->id.slot, result, 0, 0);
  MUST(result == sluice_result_done || result == sluice_result_stale,
       "a redial of slot %u came to %d", d->id.slot, result);
  if (result == sluice_result_done) coverage.given_up++;
  return result == sluice_result_done;
}

// Lets go of the upstream, where both halves hold and nothing is on its way to it.
static bool give_release(struct deal *d) {
  struct connection *c = connection_of(d);
  struct before b = before_of(d, c);
  enum sluice_result result = sluice_worker_release(world.worker, d->id);
  note("release of slot %llu: %llu", d->id.slot, result, 0, 0);
  MUST(result == sluice_result_done || result == sluice_result_stale,
       "a release of slot %u came to %d", d->id.slot, result);
  if (result == sluice_result_stale) return false;
  coverage.released++;
  d->released = true;
  if (d->server) script_cut(&d->server->expects, b.cut[0]);
  script_cut(&d->client->expects, b.cut[1]);
  return true;
}

// The upstream stands; one side asks.
static void decide_open(struct deal *d, enum sluice_side side) {
  struct connection *c = connection_of(d);
  struct draft draft = {.answer.side = side};
  int asked = (int)side;
  uint64_t held = buffer_length(c->halves[asked].held);
  uint64_t roll = below(1000);
  if (roll < 20) {
    give_reject(d, literal_length());
    return;
  }
  if (roll < 30) {
    give_kill(d);
    return;
  }
  if (roll < 130 && give_redial(d)) return;
  if (roll < 330 && give_release(d)) return;
  struct sluice_half_answer *halves[2] = {&draft.answer.up, &draft.answer.down};
  draft_consume(&draft, held);
  if (!d->discards[asked])
    decide_asked_half(&draft, halves[asked], held - draft.answer.consumed);
  if (chance(200) && !d->discards[1 - asked])
    decide_asked_half(&draft, halves[1 - asked], buffer_length(c->halves[1 - asked].held));
  if (chance(250) && !c->halves[1].shut)
    draft.answer.send_client = literal(client_bytes, literal_length(), &draft.to_client);
  if (chance(250) && !c->halves[0].shut)
    draft.answer.send_upstream = literal(upstream_bytes, literal_length(), &draft.to_upstream);
  if (chance(60)) {
    draft.answer.park = true;
    draft.answer.hold_ms = milliseconds(10, 1500);
  }
  give_answer(d, &draft);
}

// ---- events ------------------------------------------------------------------------------------

static void ask_bytes(struct deal *d, struct connection *c, const struct sluice_event *e) {
  const struct fake_socket *from =
      c->sides[e->side].descriptor < 0 ? NULL : kernel_socket(c->sides[e->side].descriptor);
  const struct actor *source = e->side == sluice_side_client ? d->client : d->server;
  MUST(from && (source || e->length == 0), "an ask about bytes of nobody");
  for (size_t done = 0; done < e->length;) {
    size_t n = e->length - done;
    const uint8_t *due = pattern_at(source->stream, from->read - e->length + done, &n);
    MUST(memcmp(e->bytes + done, due, n) == 0, "slot %u side %d is asked with wrong bytes",
         d->id.slot, e->side);
    done += n;
  }
  const struct half *half = &c->halves[e->side];
  MUST(half->mode != sluice_mode_hold || e->length <= half->limit ||
           d->answered_at == world.batch,
       "slot %u side %d holds %u bytes, %llu allowed", d->id.slot, e->side, e->length,
       (unsigned long long)half->limit);
  bool facts = d->facts;
  d->facts = false;
  switch (e->final) {
    case sluice_final_failed:
    case sluice_final_no:
      if (!d->asked) coverage.asked_first++;
      else if (e->length > 0) coverage.asked_bytes++;
      else if (from->read == 0 && e->side == sluice_side_upstream) coverage.asked_open++;
      else if (!facts) coverage.asked_limit++;
      break;
    case sluice_final_full: coverage.asked_full++; break;
    case sluice_final_half_closed:
      coverage.asked_half_closed++;
      MUST(from->fin_in && from->receive.length == 0, "half-closed without a FIN");
      break;
    case sluice_final_timed_out:
      coverage.asked_timed_out++;
      MUST(world.now_ns + NS_PER_MS >= d->hold_until_ns || d->answered_at == world.batch,
           "a hold expired too early");
      break;
  }
  if (d->limited[e->side] && !facts && d->answered_at != world.batch && e->final == sluice_final_no)
    MUST(from->read - e->length >= d->allowed[e->side], "asked before the limit was reached");
  d->asked = true;
}

static struct deal *deal_new(struct sluice_id id, struct connection *c) {
  struct deal *d = calloc(1, sizeof *d);
  MUST(d, "out of memory");
  d->id = id;
  d->live = true;
  d->granted[0] = d->granted[1] = UINT64_MAX;
  d->accepted_ns = c->summary.accepted_ns;
  d->socket[0] = kernel_socket(c->sides[0].descriptor);
  d->client = d->socket[0]->peer->actor;
  MUST(d->client && !d->client->deal, "a client has two connections");
  d->client->deal = d;
  d->next = world.deals;
  world.deals = d;
  coverage.connections++;
  struct sluice_endpoint client, local;
  if (sluice_worker_endpoints(world.worker, id, &client, &local) == sluice_result_done)
    MUST(client.port == (uint16_t)d->client->stream && local.port == 25, "wrong end points");
  return d;
}

static void refuses_answers(const struct sluice_event *e, const struct connection *c) {
  struct sluice_answer empty = {.side = e->side};
  MUST(sluice_worker_answer(world.worker, e->id, &empty) == sluice_result_stale,
       "slot %u takes answers in state %d", e->id.slot, c->state);
}

static void answer_ask(const struct sluice_event *e) {
  struct deal **record = sluice_worker_record(world.worker, e->id);
  MUST(record, "an ask about nobody");
  struct connection *c = worker_find(world.worker, e->id.slot, e->id.generation);
  if (!*record) {
    MUST(e->length == 0 && e->side == sluice_side_client && c->state == STATE_ASKING,
         "the first ask of slot %u is not empty", e->id.slot);
    *record = deal_new(e->id, c);
  }
  struct deal *d = *record;
  MUST(d->live && d->id.generation == e->id.generation, "an ask about a closed connection");
  note("ask slot %llu side %llu length %llu final %llu", e->id.slot, e->side, e->length,
       e->final);
  if (!answerable(c)) {  // rejected or killed with the other half's ask
    refuses_answers(e, c);
    return;
  }
  ask_bytes(d, c, e);
  if (c->sides[1].descriptor >= 0) {
    decide_open(d, e->side);
  } else {
    decide_early(d, e);
  }
}

static void answer_redial(const struct sluice_event *e) {
  struct deal *d = deal_find(e->id.slot, e->id.generation);
  MUST(d && d->live, "a redial of nobody");
  note("redial slot %llu error %llu", e->id.slot, (uint64_t)e->error, 0, 0);
  MUST((e->error == 0) == d->released, "a redial with error %d", e->error);
  MUST(!d->races, "slot %u is redialled while it races", d->id.slot);
  const struct connection *c = connection_of(d);
  // While it holds, what may be passed on has been.
  uint64_t passed = c->halves[1].mode == sluice_mode_hold ? d->allowed[1] : 0;
  bool outlived = d->opened && c->outlived && e->error != 0 && e->error != EPROTO;
  coverage.outlived += outlived && (!c->redial_reset || passed > 0);
  coverage.race_both_failed += d->one_failed;
  coverage.redialled++;
  coverage.undone += d->opened && c->redial_reset && !d->released;
  MUST(!d->opened || outlived || d->released || e->error == ECONNRESET || e->error == EPIPE ||
           e->error == EPROTO,
       "slot %u is redialled after it was open, with error %d", d->id.slot, e->error);
  bool failed = !d->opened;
  if (outlived || d->released) d->limited[0] = false;  // that half holds now
  d->opened = d->released = false;
  d->opened_ns = 0;
  if (e->error == ETIMEDOUT && failed) {
    coverage.end_connect++;
    uint64_t waited = world.now_ns - d->dialled_ns;
    MUST(d->connect_ms == 0 || waited + NS_PER_MS >= d->connect_ms * NS_PER_MS,
         "a dial timed out too early");
  }
  if (d->server) {
    script_cut(&d->client->expects, passed);
    d->server->deal = NULL;
    d->server = NULL;
  }
  if (answerable(c)) {
    decide_early(d, NULL);
  } else {  // it got too old after the event was made
    refuses_answers(e, c);
  }
}

void answer_events(uint32_t count) {
  const struct sluice_event *events = sluice_worker_events(world.worker);
  world.batch++;
  if (count == EVENTS_PER_TURN) coverage.batch_full++;
  for (uint32_t i = 0; i < count; i++) {
    const struct sluice_event *e = &events[i];
    switch (e->kind) {
      case sluice_event_kind_ask:
        answer_ask(e);
        break;
      case sluice_event_kind_redial:
        answer_redial(e);
        break;
      case sluice_event_kind_slow:
        race_answer_slow(e);
        break;
      case sluice_event_kind_raced:
        race_answer_raced(e);
        break;
      case sluice_event_kind_closed: {
        struct deal *d = deal_find(e->id.slot, e->id.generation);
        note("closed slot %llu ends %llx", e->id.slot, e->summary->ends, 0, 0);
        if (!d) break;  // killed before the first ask
        MUST(d->live, "slot %u is closed twice", e->id.slot);
        d->summary = *e->summary;
        d->closed_ns = world.now_ns;
        coverage.race_broken_off += d->races;
        race_forget(d);
        check_closed(d);
        d->live = false;
        check_judge(d);
        break;
      }
    }
  }
}

// ---- the mailbox -------------------------------------------------------------------------------

void answer_facts(void) {
  for (struct deal *d = world.deals; d; d = d->next) {
    if (!d->live || !d->parked || world.now_ns < d->fact_ns) continue;
    struct connection *c = connection_of(d);
    bool waits = c->parked && (c->state == STATE_ASKING || c->state == STATE_HOLDING ||
                               c->state == STATE_OPEN);
    enum sluice_result result = sluice_worker_fact(world.worker, d->id);
    note("fact for slot %llu: %llu", d->id.slot, result, 0, 0);
    MUST((result == sluice_result_done) == waits, "a fact for slot %u came to %d", d->id.slot,
         result);
    if (waits) coverage.facts++;
    d->facts = waits;
    if (waits || c->state != STATE_DIALLING) d->parked = false;
  }
}

static void unasked_stale(const struct deal *d) {
  struct sluice_answer answer = {.side = sluice_side_client, .up.mode = sluice_mode_relay};
  struct sluice_bytes none = {0};
  struct sluice_id id = d->id;
  if (d->live) id.generation += chance(500) ? 1 : UINT32_MAX;
  coverage.stale++;
  MUST(sluice_worker_answer(world.worker, id, &answer) == sluice_result_stale &&
           sluice_worker_reject(world.worker, id, none, 0) == sluice_result_stale &&
           sluice_worker_fact(world.worker, id) == sluice_result_stale &&
           sluice_worker_kill(world.worker, id, sluice_end_killed) == sluice_result_stale,
       "a stale id is followed");
}

void answer_kill_all(uint32_t tag) {
  uint32_t cursor = 0;
  for (struct deal *d = world.deals; d; d = d->next) {
    const struct connection *c = d->live ? connection_of(d) : NULL;
    if (!c || (tag != UINT32_MAX && c->listener != tag)) continue;
    d->exempt = true;
    d->replied = false;
  }
  note("kill all of listener %lld", tag, 0, 0, 0);
  while (sluice_worker_kill_all(world.worker, tag, sluice_end_deadline_drain, &cursor, 3) == 3) {
  }
  coverage.killed_all++;
}

static void unasked_look(void) {
  struct sluice_session sessions[4];
  struct sluice_stats stats;
  uint32_t cursor = 0;
  uint32_t seen = 0;
  uint32_t count;
  while ((count = sluice_worker_list(world.worker, &cursor, sessions, 4)) > 0) seen += count;
  sluice_worker_stats(world.worker, &stats);
  MUST(seen <= stats.connections, "the list has more connections than there are");
}

// What comes between two turns without being asked for.
void answer_unasked(void) {
  uint32_t live = 0;
  for (struct deal *d = world.deals; d; d = d->next) live++;
  if (live == 0) return;
  struct deal *d = world.deals;
  for (uint64_t i = below(live); i > 0; i--) d = d->next;
  uint64_t roll = below(100);
  struct connection *c = connection_of(d);
  if (roll < 30) {
    unasked_stale(d);
  } else if (roll < 33 && c && c->state != STATE_CLOSING && c->state != STATE_CLOSED) {
    give_kill(d);
  } else if (roll < 42 && answerable(c) && c->state != STATE_ASKING) {
    give_reject(d, literal_length());
  } else if (roll < 37 && chance(200)) {
    answer_kill_all(chance(300) ? UINT32_MAX : (uint32_t)below(LISTENERS));
  } else if (roll < 60) {
    unasked_look();
  } else if (roll < 75 && answerable(c) && c->state == STATE_OPEN && !c->parked) {
    struct draft draft = {.answer.side = sluice_side_client};
    struct sluice_half_answer *halves[2] = {&draft.answer.up, &draft.answer.down};
    for (int i = 0; i < 2; i++)
      if (!d->discards[i] && chance(300))
        decide_asked_half(&draft, halves[i], buffer_length(c->halves[i].held));
    if (!c->halves[1].shut)
      draft.answer.send_client = literal(client_bytes, literal_length(), &draft.to_client);
    if (!c->halves[0].shut)
      draft.answer.send_upstream = literal(upstream_bytes, literal_length(), &draft.to_upstream);
    give_answer(d, &draft);
  }
}
