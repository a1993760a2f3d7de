// What the caller says to an ask, taken as a whole or not at all. Who may be answered, and what
// follows, is in the diagram of connection.c.
#include "tls.h"

static void half_answer(struct connection *c, int i, const struct sluice_half_answer *answer) {
  struct half *half = &c->halves[i];
  if (answer->mode == sluice_mode_keep) return;
  half->mode = answer->mode;
  half->limit = answer->limit;
  half->fresh_limit = half->filling && (c->in_kernel & (KERNEL_SPLICE_UP << i)) != 0;
  // An ask that is still due belongs to what was held so far: it stays due while the half holds.
  half->ask = half->ask && answer->mode == sluice_mode_hold;
  if (!half->ask) half->final = sluice_final_no;
  if (answer->limit == 0)
    half->limit = answer->mode == sluice_mode_relay ? NO_LIMIT : BUFFER_BYTES;
}

// Asks that are still due no longer say that the former time is over.
static void hold_renew(struct connection *c, uint64_t until_ms) {
  c->hold_until_ms = until_ms;
  for (int i = 0; i < 2; i++)
    if (c->halves[i].final == sluice_final_timed_out) c->halves[i].final = sluice_final_no;
}

static bool connection_answerable(const struct connection *c) {
  return c && (c->state == STATE_ASKING || c->state == STATE_HOLDING || c->state == STATE_OPEN);
}

// An answer is taken as a whole or not at all: is there room for all that it sends? (A route's
// prefix takes the place of what was to be said to the upstream before.)
static enum sluice_result answer_fits(const struct sluice_worker *w, const struct connection *c,
                                      const struct sluice_answer *answer) {
  const struct buffer *up = c->halves[0].rest;
  const struct buffer *down = c->halves[1].rest;
  size_t say_up = answer->send_upstream.length;
  size_t say_down = answer->send_client.length;
  size_t before = answer->route ? answer->route->prefix.length : buffer_length(up);
  if (say_up + before > BUFFER_BYTES || say_down + buffer_length(down) > BUFFER_BYTES)
    return sluice_result_too_long;
  uint32_t wanted = (!up && say_up + before > 0) + (!down && say_down > 0);
  if (answer->route && answer->route->tls) wanted += before > 0 && say_up > 0;
  return wanted <= w->buffers_max - w->buffers_used ? sluice_result_done
                                                    : sluice_result_no_buffer;
}

enum sluice_result sluice_worker_answer(struct sluice_worker *w, struct sluice_id id,
                                        const struct sluice_answer *answer) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!connection_answerable(c) || c->redial) return sluice_result_stale;
  if (answer->route && c->sides[1].descriptor >= 0) return sluice_result_stale;
  if (answer->tls && (answer->route || answer->side != sluice_side_client ||
                      c->state == STATE_OPEN || !c->sides[0].plain))
    return sluice_result_stale;
  if (answer->opened && (answer->side != sluice_side_upstream || c->state != STATE_OPEN))
    return sluice_result_stale;
  uint64_t until_ms = c->hold_until_ms;
  struct half *asked = &c->halves[answer->side];
  enum sluice_result result = answer_fits(w, c, answer);
  if (result != sluice_result_done) return result;
  if (answer->route && !transport_prepare(w, c, answer->route)) return sluice_result_no_buffer;
  struct tls *tls = answer->tls ? tls_make(w, answer->tls) : NULL;
  if (answer->tls && !tls) return sluice_result_no_buffer;
  result = buffer_append(w, &c->halves[1].rest, answer->send_client.start,
                         answer->send_client.length);
  INVARIANT(result == sluice_result_done);
  if (answer->route) {
    result = dial_start(w, c, answer->route, answer->send_upstream);
  } else {
    result = buffer_append(w, &c->halves[0].rest, answer->send_upstream.start,
                           answer->send_upstream.length);
  }
  INVARIANT(result == sluice_result_done || result == sluice_result_not_dialled);
  if (asked->held) {
    uint32_t held = buffer_length(asked->held);
    uint32_t consumed = answer->consumed < held ? answer->consumed : held;
    asked->held->start += consumed;
    asked->bytes -= consumed;  // they go nowhere
    if (buffer_length(asked->held) == 0) buffer_give(w, &asked->held);
  }
  if (tls) transport_begin(c, tls);
  half_answer(c, 0, &answer->up);
  half_answer(c, 1, &answer->down);
  c->parked = answer->park;
  bool holds = c->halves[0].mode == sluice_mode_hold || c->halves[1].mode == sluice_mode_hold;
  if (answer->hold_ms > 0) hold_renew(c, w->now_ms + answer->hold_ms);
  if (answer->route && answer->route->hold_ms > 0) hold_renew(c, 0);  // dial_done sets it
  if (!holds && !c->parked) c->hold_until_ms = 0;
  if (answer->opened) dial_opened(w, c, until_ms, answer->hold_ms);
  if (c->state == STATE_ASKING && !c->redial) connection_move(w, c, STATE_HOLDING);
  if (c->state == STATE_HOLDING && c->hold_until_ms == 0) {
    // Without an upstream and without a deadline it would wait for ever.
    connection_end(c, sluice_end_deadline_preface);
    connection_close(w, c, false);
    return result;
  }
  if (!(c->in_kernel & KERNEL_WATCH_CLIENT)) w->source->watch(w, c, sluice_side_client);
  connection_file(w, c);
  worker_queue(w, c);
  return result;
}

enum sluice_result sluice_worker_fact(struct sluice_worker *w, struct sluice_id id) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!connection_answerable(c) || !c->parked) return sluice_result_stale;
  c->parked = false;
  c->halves[0].ask = true;
  worker_queue(w, c);
  return sluice_result_done;
}

enum sluice_result sluice_worker_reject(struct sluice_worker *w, struct sluice_id id,
                                        struct sluice_bytes reply, uint32_t reason) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!connection_answerable(c)) return sluice_result_stale;
  connection_end(c, sluice_end_rejected);
  c->summary.reason = reason;
  c->redial = false;
  struct half *down = &c->halves[1];
  const struct side *client = &c->sides[sluice_side_client];
  enum sluice_result kept = sluice_result_done;
  if (transport_speaks(client)) kept = buffer_append(w, &down->rest, reply.start, reply.length);
  bool speaks = buffer_length(down->rest) > 0 || transport_alerts(client);
  if (kept != sluice_result_done || !speaks || down->shut) {
    connection_close(w, c, false);
    return sluice_result_done;
  }
  connection_drop_half(w, c, 0);
  c->halves[0].mode = sluice_mode_discard;
  c->halves[0].eof = c->halves[0].shut = false;
  preface_drop(w, down);
  down->mode = sluice_mode_relay;
  down->eof = true;
  down->ask = false;
  c->until_ms = w->now_ms + FAREWELL_MS;
  connection_move(w, c, STATE_FAREWELL);
  if (!(c->in_kernel & KERNEL_WATCH_CLIENT)) w->source->watch(w, c, sluice_side_client);
  worker_queue(w, c);
  return sluice_result_done;
}
