// What must hold: after every step, when nothing is left to do, when a connection has ended, and
// at the end of a seed.
#include "simulation.h"
#include "tls.h"

#define MS(ns) ((ns) / NS_PER_MS)

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

// ---- after every step --------------------------------------------------------------------------

static void check_in_kernel(const struct connection *c, uint32_t slot) {
  static const struct {
    enum in_kernel bit;
    int of;
  } watches[] = {{KERNEL_WATCH_CLIENT, 0}, {KERNEL_WATCH_UPSTREAM, 1}, {KERNEL_WATCH_RIVAL, 2}};
  bool decided = c->race > 0 && world.worker->races[c->race - 1].stage != RACE_BOTH;
  for (int i = 0; i < 3; i++) {
    bool told = (c->in_kernel & watches[i].bit) != 0;
    bool held = source_holds_watch(slot, c->generation, (enum sluice_side)i);
    // Like epoll: forgetting is at once and the descriptor is closed a little later.
    bool going = c->state == STATE_CLOSING || c->state == STATE_FAREWELL || c->redial || decided;
    bool agree = told == held || (!world.profile.ring && held && going);
    MUST(agree, "slot %u side %d: in the kernel is %d, told %d", slot, i, held, told);
    if (i == 2) break;
    enum in_kernel splice = i == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN;
    told = (c->in_kernel & splice) != 0;
    held = source_holds_splice(slot, c->generation, i);
    MUST(told == held, "slot %u half %d: a splice in the kernel is %d, told %d", slot, i, held,
         told);
  }
}

static void check_lane(const struct connection *c, uint32_t slot, int i) {
  const struct half *half = &c->halves[i];
  MUST(half->lane != LANE_SPLICE || half->small_runs < DEMOTE_AFTER,
       "slot %u half %d: splices small pieces for ever", slot, i);
}

static void check_pipe(const struct connection *c, uint32_t slot, int i) {
  const struct half *half = &c->halves[i];
  if (!half->pipe) {
    MUST(half->piped == 0, "slot %u half %d: bytes in no pipe", slot, i);
    return;
  }
  bool busy = (c->in_kernel & (i == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN)) != 0;
  const struct fake_pipe *pipe = kernel.descriptors[half->pipe->read_end].pipe;
  MUST(busy || pipe->bytes.length == half->piped,
       "slot %u half %d: %zu bytes in the pipe, %u told, state %d", slot, i, pipe->bytes.length,
       half->piped, c->state);
  MUST(busy || half->piped > 0 || c->queued || c->state >= STATE_DELIVERING,
       "slot %u half %d: keeps an empty pipe", slot, i);
}

static uint32_t check_buffers(const struct connection *c, uint32_t slot) {
  uint32_t count = 0;
  for (int i = 0; i < 2; i++) {
    const struct half *half = &c->halves[i];
    count += (half->held != NULL) + (half->rest != NULL);
    const struct tls *t = c->sides[i].tls;
    if (t) count += (t->in && t->in != &t->own[0]) + (t->out && t->out != &t->own[1]);
    if (c->queued) continue;
    MUST(!half->held || buffer_length(half->held) > 0, "slot %u half %d: held is empty", slot, i);
    MUST(!half->rest || buffer_length(half->rest) > 0, "slot %u half %d: rest is empty", slot, i);
  }
  return count;
}

// Until when a half reads nothing, for its bandwidth; 0: it reads.
static uint64_t rest_ms(const struct connection *c, uint32_t slot, int i) {
  return c->paced ? world.worker->paces[slot].halves[i].rest_ms : 0;
}

// What has been passed on and what must arrive.
static void check_progress(struct deal *d, const struct connection *c) {
  for (int i = 0; i < 2; i++) {
    if (c->sides[i].descriptor < 0 || d->discards[i]) continue;
    if (c->state != STATE_OPEN && c->state != STATE_HOLDING) continue;
    const struct half *half = &c->halves[i];
    const struct fake_socket *from = kernel_socket(c->sides[i].descriptor);
    uint64_t passed = from->read - buffer_length(half->held);
    MUST(passed <= d->allowed[i], "slot %u half %d: %llu bytes passed on, %llu allowed",
         d->id.slot, i, (unsigned long long)passed, (unsigned long long)d->allowed[i]);
    bool unlimited = half->mode == sluice_mode_relay && half->limit == NO_LIMIT;
    d->bound[i] = unlimited ? from->arrived : passed;
  }
}

static uint32_t check_connection(struct connection *c, uint32_t slot, bool thorough) {
  struct deal *d = deal_find(slot, c->generation);
  if (thorough) check_in_kernel(c, slot);
  for (int i = 0; i < 2; i++) {
    check_pipe(c, slot, i);
    check_lane(c, slot, i);
  }
  if (c->state == STATE_OPEN || c->state == STATE_DELIVERING) {
    const struct fake_socket *upstream = kernel_socket(c->sides[1].descriptor);
    MUST(upstream->state != FAKE_CONNECTING || upstream->dead,
         "slot %u is open but its upstream is still connecting", slot);
  }
  if (d && d->live) check_progress(d, c);
  coverage.starved += c->starved;
  for (int i = 0; i < 2; i++) coverage.rested += rest_ms(c, slot, i) > world.worker->now_ms;
  coverage.delivering += c->state == STATE_DELIVERING;
  if (d && c->state == STATE_DELIVERING) d->delivering = true;
  return check_buffers(c, slot);
}

static void check_pools(const struct sluice_worker *w, uint32_t buffers) {
  MUST(buffers == w->buffers_used, "%u buffers are held, %u counted", buffers, w->buffers_used);
  uint32_t made = 0;
  for (uint32_t i = 0; i < w->pipes_max; i++) made += w->pipes[i].read_end >= 0;
  MUST(made == w->pipes_made, "%u pipes are made, %u counted", made, w->pipes_made);
  for (uint32_t i = w->free_pipe; i != NO_SLOT; i = w->pipes[i].next) {
    if (w->pipes[i].read_end < 0) continue;
    MUST(w->pipes[i].capacity >= PIPE_SMALLEST, "a pipe of %u bytes is kept",
         w->pipes[i].capacity);
    const struct fake_pipe *pipe = kernel.descriptors[w->pipes[i].read_end].pipe;
    MUST(pipe->bytes.length == 0, "a pipe with %zu bytes is in the pool", pipe->bytes.length);
  }
  uint32_t descriptors = atomic_load(&w->shared->descriptors);
  uint32_t connections = atomic_load(&w->shared->connections);
  uint32_t live = w->live + other_unborn();
  MUST(descriptors == 2 * live + 2 * w->pipes_made + w->races_live,
       "shared: %u descriptors, %u live, %u race", descriptors, live, w->races_live);
  MUST(connections == live, "shared: %u connections, %u live", connections, live);
}

void check_step(void) {
  const struct sluice_worker *w = world.worker;
  uint32_t buffers = 0;
  uint32_t sockets = 0;
  uint32_t live = 0;
  uint32_t races = 0;
  bool thorough = !world.profile.crowd || chance(20);
  for (uint32_t slot = 0; slot < w->slots_touched; slot++) {
    struct connection *c = &w->slots[slot];
    if (c->state == STATE_FREE) continue;
    live++;
    buffers += check_connection(c, slot, thorough);
    sockets += (c->sides[0].descriptor >= 0) + (c->sides[1].descriptor >= 0);
    races += c->race > 0;
    if (c->race > 0) sockets += w->races[c->race - 1].side.descriptor >= 0;
  }
  MUST(races == w->races_live, "%u connections race, %u counted", races, w->races_live);
  MUST(live == w->live, "%u slots are in use, %u counted", live, w->live);
  check_pools(w, buffers);
  uint32_t open = sockets + 2 * w->pipes_made + source_accepted_unseen() + other_unborn();
  for (uint32_t i = 0; i < LISTENERS; i++) open += world.listeners[i] >= 0;
  MUST(open == kernel.open, "%u descriptors are open, %u accounted for", kernel.open, open);
}

// ---- deadlines ---------------------------------------------------------------------------------

static uint64_t activity(const struct deal *d) {
  uint64_t at = d->opened_ns;
  for (int i = 0; i < 2; i++) {
    if (!d->socket[i]) continue;
    at = later(at, later(d->socket[i]->moved_ns, d->socket[i]->fin_read_ns));
  }
  return at;
}

static void late(const struct deal *d, const char *what, uint64_t since_ns, uint32_t limit_ms) {
  if (limit_ms == 0 || since_ns == 0) return;
  uint64_t now = world.worker->now_ms;
  uint64_t due = later(MS(since_ns) + limit_ms, MS(d->opened_ns));
  MUST(due + TICK_SLACK_MS >= now, "slot %u: the %s deadline is %llu ms late", d->id.slot, what,
       (unsigned long long)(now - due));
}

// Either dial's time-out, and when it is to be called slow.
static void late_dial(struct deal *d, const struct connection *c) {
  const struct race *race = c->race > 0 ? &world.worker->races[c->race - 1] : NULL;
  bool lets_go = race && race->stage != RACE_BOTH;
  if (c->queued || lets_go || d->lets_go) d->let_go_ns = world.now_ns;
  d->lets_go = lets_go;
  if (c->queued || lets_go) return;
  late(d, "connect", later(d->dialled_ns, d->let_go_ns), d->connect_ms);
  late(d, "slow dial's", later(d->dialled_ns, d->let_go_ns), c->race_ms > 0 ? d->race_ms : 0);
  if (race) late(d, "rival's", later(d->rival_ns, d->let_go_ns), d->rival_connect_ms);
}

// After a turn: nothing that was due by its clock may still stand. A turn that had questions to
// put before it got to its deadlines is excused, but not many in a row.
void check_deadlines(void) {
  const struct sluice_worker *w = world.worker;
  if (w->wheel.tick < w->now_ms / WHEEL_TICK_MS) {
    MUST(++world.excused < 200, "deadlines are not looked at");
    return;
  }
  world.excused = 0;
  MUST(!w->accept_paused || w->accept_retry_ms + TICK_SLACK_MS >= w->now_ms,
       "accepting is not tried again");
  for (struct deal *d = world.deals; d; d = d->next) {
    const struct connection *c = connection_of(d);
    if (!c) continue;
    if (c->state == STATE_OPEN && !d->opened) {
      d->opened = true;
      d->opened_ns = world.now_ns;
    }
    if (c->state == STATE_OPEN || c->state == STATE_HOLDING)
      late(d, "age", d->accepted_ns, c->state == STATE_OPEN ? d->max_age_ms : 0);
    if (c->state == STATE_DIALLING) late_dial(d, c);
    if (c->state == STATE_FAREWELL) late(d, "farewell", d->rejected_ns, FAREWELL_MS);
    bool due = c->halves[0].ask || c->halves[1].ask;  // the batch was full: in the next one
    if (c->state == STATE_HOLDING && !due)
      late(d, "hold", later(d->hold_until_ns, d->answered_ns), 1);  // it may have been over then
    if (c->state != STATE_OPEN) continue;
    bool tuned = d->socket[1]->keepalive || d->socket[1]->local;
    late(d, "keepalive", later(activity(d), d->answered_ns), tuned ? 0 : TUNE_AFTER_MS);
    bool half_closed = c->halves[0].eof || c->halves[1].eof;
    bool shorter = half_closed && d->half_closed_ms > 0;
    late(d, shorter ? "half-closed" : "idle", activity(d),
         shorter ? d->half_closed_ms : d->idle_ms);
  }
}

static bool has_end(const struct sluice_summary *summary, enum sluice_end end) {
  for (int i = 0; i < 4; i++)
    if ((summary->ends >> (8 * i) & 0xff) == (uint32_t)end) return true;
  return false;
}

static void early(const struct deal *d, const char *what, uint64_t since_ns, uint32_t limit_ms) {
  MUST(world.now_ns - since_ns + 2 * NS_PER_MS >= limit_ms * NS_PER_MS,
       "slot %u: the %s deadline of %u ms came after %llu ms", d->id.slot, what, limit_ms,
       (unsigned long long)MS(world.now_ns - since_ns));
}

void check_closed(struct deal *d) {
  const struct sluice_summary *s = &d->summary;
  const struct connection *c = connection_of(d);
  d->stalled = d->delivering && c->stalled_bytes > 0 && !c->linger;
  MUST((s->client_path.rtt_us > 0) == (s->duration_us >= MEASURED_US),
       "slot %u: the client's path was measured or not, after %llu us", d->id.slot,
       (unsigned long long)s->duration_us);
  coverage.stalled += d->stalled;
  uint64_t moved = 0;
  for (int i = 0; i < 2; i++)
    if (d->socket[i])
      moved = later(moved, later(d->socket[i]->moved_ns, d->socket[i]->fin_read_ns));
  if (d->socket[1]) moved = later(moved, d->socket[1]->opened_ns);
  if (has_end(s, sluice_end_deadline_idle)) {
    coverage.end_idle++;
    early(d, "idle", moved, d->idle_ms);
  }
  if (has_end(s, sluice_end_deadline_half_closed)) {
    coverage.end_half_closed++;
    early(d, "half-closed", moved, d->half_closed_ms);
  }
  if (has_end(s, sluice_end_deadline_max_age)) {
    coverage.end_max_age++;
    early(d, "age", d->accepted_ns, d->max_age_ms);
  }
  static const enum sluice_end harsh[] = {
      sluice_end_deadline_preface, sluice_end_deadline_idle, sluice_end_deadline_half_closed,
      sluice_end_deadline_max_age, sluice_end_deadline_drain, sluice_end_killed,
      sluice_end_server_down};
  for (size_t i = 0; i < sizeof harsh / sizeof harsh[0]; i++) {
    if (!has_end(s, harsh[i])) continue;
    d->exempt = true;
    d->replied = false;
  }
  coverage.left_parked += d->parked && !d->opened && has_end(s, sluice_end_client_fin);
  coverage.end_preface += has_end(s, sluice_end_deadline_preface);
  coverage.end_client_fin += has_end(s, sluice_end_client_fin);
  coverage.end_client_reset += has_end(s, sluice_end_client_reset);
  coverage.end_upstream_fin += has_end(s, sluice_end_upstream_fin);
  coverage.end_upstream_reset += has_end(s, sluice_end_upstream_reset);
  coverage.end_upstream_error += has_end(s, sluice_end_upstream_error);
  MUST(s->ends != 0, "slot %u closed without a reason", d->id.slot);
}

// ---- when nothing is left to do ----------------------------------------------------------------

static bool takes(const struct fake_socket *s) {
  return socket_writable(s) || s->dead || s->error || s->fin_out;
}

// Of what TLS has read or sealed.
static bool lies(const struct buffer *buffer) { return buffer_length(buffer) > 0; }

static bool gives(const struct fake_socket *s) {
  return s->receive.length > 0 || s->fin_in || s->dead || s->error;
}

static void quiet_half(const struct connection *c, uint32_t slot, int i) {
  const struct half *half = &c->halves[i];
  const struct fake_socket *from = kernel_socket(c->sides[i].descriptor);
  const struct fake_socket *to = kernel_socket(c->sides[1 - i].descriptor);
  bool starved = c->starved && !buffers_left(world.worker);
  bool waits = buffer_length(half->rest) > 0 || half->piped > 0 ||
               (half->mode == sluice_mode_relay && buffer_length(half->held) > 0);
  const struct side *side = &c->sides[i];
  const struct side *other = &c->sides[1 - i];
  waits = waits || (!other->plain && lies(other->tls->out));
  bool shut = half->shut || c->sides[1 - i].reset;
  MUST(!waits || shut || starved || !takes(to),
       "slot %u half %d: bytes wait (rest %u, pipe %u, held %u) though they could be sent", slot,
       i, buffer_length(half->rest), half->piped, buffer_length(half->held));
  uint64_t until_ms = rest_ms(c, slot, i);
  bool rests = until_ms > 0 && until_ms + TICK_SLACK_MS > world.worker->now_ms;
  bool ahead = !side->plain && lies(side->tls->in);
  bool reads = !half->eof && (gives(from) || ahead) && !starved && !rests;
  if (half->mode == sluice_mode_relay && half->limit > 0)
    MUST(!reads || shut || waits || !takes(to), "slot %u half %d: bytes wait to be read", slot, i);
  if (half->mode == sluice_mode_relay && half->limit == 0)
    MUST(half->eof, "slot %u half %d: the limit is reached and nobody was asked", slot, i);
  if (half->mode == sluice_mode_hold && !c->parked && c->state != STATE_DELIVERING)
    MUST(!reads || half->ask || buffer_length(half->held) >= half->limit,
         "slot %u half %d: bytes wait to be held", slot, i);
  bool finishes = c->finishing && other->sealed && c->wheel_slot != 0xffff;
  if (half->mode != sluice_mode_hold)
    MUST(!half->eof || shut || waits || half->mode == sluice_mode_keep || finishes ||
             c->state == STATE_DELIVERING,
         "slot %u half %d: the FIN was not passed on", slot, i);
}

static void quiet_connection(struct connection *c, uint32_t slot) {
  MUST(!c->starved || !buffers_left(world.worker), "slot %u starves though buffers are free",
       slot);
  switch (c->state) {
    case STATE_FREE:
      return;
    case STATE_ASKING:
    case STATE_CLOSING:
    case STATE_CLOSED:
      fail("slot %u rests in state %d", slot, c->state);
    case STATE_HOLDING: {
      const struct fake_socket *from = kernel_socket(c->sides[0].descriptor);
      bool room = buffer_length(c->halves[0].held) < c->halves[0].limit;
      MUST(c->parked || c->halves[0].mode != sluice_mode_hold || !gives(from) || !room ||
               c->halves[0].eof || c->starved,
           "slot %u: bytes wait to be held", slot);
      return;
    }
    case STATE_DIALLING: {
      const struct fake_socket *upstream = kernel_socket(c->sides[1].descriptor);
      MUST(upstream->state == FAKE_CONNECTING && !upstream->dead,
           "slot %u does not see that its dial is over", slot);
      if (c->race == 0) return;
      const struct race *race = &world.worker->races[c->race - 1];
      MUST(race->stage == RACE_BOTH && race->error == 0, "slot %u: a race is not over", slot);
      const struct fake_socket *rival = kernel_socket(race->side.descriptor);
      MUST(rival->state == FAKE_CONNECTING && !rival->dead,
           "slot %u does not see that its second dial is over", slot);
      return;
    }
    case STATE_OPEN:
      quiet_half(c, slot, 0);
      quiet_half(c, slot, 1);
      MUST(!c->halves[0].shut || !c->halves[1].shut, "slot %u is over but open", slot);
      return;
    case STATE_DELIVERING:
      quiet_half(c, slot, 1 - (int)c->survivor);
      return;
    case STATE_FAREWELL: {
      const struct half *down = &c->halves[1];
      const struct fake_socket *client = kernel_socket(c->sides[0].descriptor);
      MUST(buffer_length(down->rest) + down->piped == 0 || !takes(client),
           "slot %u: the reply waits", slot);
      MUST(c->halves[0].eof || !gives(client), "slot %u: the rejected client's bytes wait", slot);
      return;
    }
  }
}

void check_quiet(void) {
  coverage.quiet_checks++;
  const struct sluice_worker *w = world.worker;
  for (uint32_t i = 0; i < w->listeners_count; i++) {
    const struct listener *listener = &w->listeners[i];
    MUST(!listener->used || !listener->wanted || listener->armed || w->accept_paused,
         "a listener is not accepted from");
  }
  for (uint32_t slot = 0; slot < w->slots_touched; slot++)
    quiet_connection(&w->slots[slot], slot);
}

// ---- when a connection has ended ---------------------------------------------------------------

// The length of a script when its open end is at this offset of its stream.
static uint64_t script_length(const struct script *script, uint64_t end) {
  uint64_t length = 0;
  for (uint32_t i = 0; i < script->count; i++) {
    const struct segment *segment = &script->segments[i];
    length += !segment->open ? segment->length : end > segment->from ? end - segment->from : 0;
  }
  return length;
}

static void judge_reply(struct deal *d) {
  bool timely = MS(d->closed_ns) - MS(d->rejected_ns) < FAREWELL_MS;
  bool gone = has_end(&d->summary, sluice_end_client_reset) ||
              has_end(&d->summary, sluice_end_client_error);
  if (!d->replied || !timely || gone) return;
  const struct actor *client = d->client;
  uint64_t due = script_length(&client->expects, 0);
  MUST(client->end == ACTOR_SAW_FIN && client->expects.total == due,
       "slot %u: the rejected client got %llu bytes of %llu, end %d", d->id.slot,
       (unsigned long long)client->expects.total, (unsigned long long)due, client->end);
  coverage.judged_reply++;
}

static void judge_half(struct deal *d, int i) {
  const struct actor *from = i == 0 ? d->client : d->server;
  const struct actor *to = i == 0 ? d->server : d->client;
  if (d->exempt) {
    if (i == 1) judge_reply(d);
    return;
  }
  if (!from || !d->opened) return;
  static const enum sluice_end resets[2] = {sluice_end_client_reset, sluice_end_upstream_reset};
  static const enum sluice_end errors[2] = {sluice_end_client_error, sluice_end_upstream_error};
  const struct sluice_summary *s = &d->summary;
  bool from_reset = has_end(s, resets[i]) || has_end(s, errors[i]);
  bool to_reset = has_end(s, resets[1 - i]) || has_end(s, errors[1 - i]);
  MUST(!to_reset, "slot %u: side %d is said to have been reset, but was not", d->id.slot, 1 - i);
  uint64_t all = script_length(&to->expects, from->sent);
  uint64_t got = to->expects.total;
  if (!from_reset) {
    MUST(from->socket->fin_out && to->end == ACTOR_SAW_FIN && got == all,
         "slot %u half %d: %llu bytes of %llu arrived, end %d", d->id.slot, i,
         (unsigned long long)got, (unsigned long long)all, to->end);
    coverage.judged_complete++;
    return;
  }
  if (to->end == ACTOR_SAW_FIN && from->socket->fin_out && got == all) return;
  uint64_t due = script_length(&to->expects, d->bound[i]);
  MUST(got >= due || d->stalled, "slot %u half %d: %llu bytes of %llu before the reset arrived",
       d->id.slot, i, (unsigned long long)got, (unsigned long long)due);
  MUST(to->end == ACTOR_SAW_RESET || d->stalled || d->socket[1 - i]->local,
       "slot %u half %d: the reset was passed on as a FIN", d->id.slot, i);
  coverage.judged_reset++;
}

// Judges each half once, when the connection is closed and its receiver has seen the end.
void check_judge(struct deal *d) {
  if (d->live) return;
  for (int i = 0; i < 2; i++) {
    const struct actor *to = i == 0 ? d->server : d->client;
    if (d->judged[i] || !to || to->end == ACTOR_GOES_ON) continue;
    d->judged[i] = true;
    if (to->end != ACTOR_QUIT) judge_half(d, i);
  }
}

// ---- at the end of a seed ----------------------------------------------------------------------

void check_end(void) {
  struct sluice_stats stats;
  sluice_worker_stats(world.worker, &stats);
  MUST(stats.connections == 0 && stats.buffers == 0, "%u connections and %u buffers are left",
       stats.connections, stats.buffers);
  MUST(stats.accepted == stats.closed, "%llu accepted, %llu closed",
       (unsigned long long)stats.accepted, (unsigned long long)stats.closed);
  MUST(sluice_shared_connections(world.shared) == 0, "shared connections are left");
  for (struct deal *d = world.deals; d; d = d->next) {
    MUST(!d->live, "slot %u never closed", d->id.slot);
    for (int i = 0; i < 2; i++) {
      const struct actor *to = i == 0 ? d->server : d->client;
      MUST(d->judged[i] || !to || to->end == ACTOR_QUIT || to->read_most != UINT64_MAX ||
               !to->socket,
           "stream %u never saw the end of its connection", to->stream);
    }
  }
}
