// The life of a connection. Read this file first.
//
//              accept                    answer: hold, park
//   FREE ────────────────▶ ASKING ───────────────────────────▶ HOLDING
//    ▲                      │  ▲ ▲                              │   │
//    │              route   │  │ └──── dial failed (redial) ─┐  │   │ route
//    │                      ▼  │                             │  │   ▼
//    │                    DIALLING ◀─────────────────────────┼──┘
//    │                      │                                │
//    │            connected │                                │
//    │                      ▼            a side was reset    │
//    │                     OPEN ───────────────────────▶ DELIVERING
//    │                      │                                │
//    │     both FINs passed │      reject, from ASKING,      │ delivered, or stalled
//    │     on, or a         │      HOLDING and OPEN:         │
//    │     deadline         │      FAREWELL                  │
//    │                      ▼          │                     ▼
//    └── CLOSED ◀──────── CLOSING ◀────┴─────────────────────┘
//         event read       every operation has left the kernel
//
// state       what holds                                     who moves it on
// ASKING      an event is due or in the caller's hands;      sluice_worker_answer, _reject
//             no upstream (a failed dial is being joined)
// HOLDING     no upstream; the client's bytes are read up    preface_read asks, answer moves
//             to a cap and kept
// DIALLING    a connect is under way, or two of them         dial_check, dial_failed
//             (race.c); the client is watched but not read.
//             Once more where a server behind another one is
//             shaken hands with (dial_opened)
// OPEN        both sides stand; each half holds, relays or   open_run; dial_undone, back to ASKING,
//             discards by itself                             when the upstream never said a word;
//                                                            sluice_worker_redial
// DELIVERING  one side was reset; what it sent before still  delivering_run
//             goes to the survivor, then the survivor is reset
// FAREWELL    a reply is on its way to a rejected client;    farewell_run
//             its bytes are read and dropped so that no
//             reset destroys the reply
// CLOSING     decided; watches and splices are leaving the   connection_gave, connection_retire
//             kernel (terminate, join); the closed event
//             is due
// CLOSED      descriptors are closed; the closed event is    sluice_worker_turn, the next one
//             being read
//
// Only connection_move writes `state`. `in_kernel` has a bit for every operation that the kernel
// may still act on, set by connection_took and cleared by connection_gave; descriptors are closed
// and the slot is freed only at zero. Nothing runs inside a reaper: events set flags and queue the
// connection, and connection_run does what the state asks for.
#include "internal.h"

#include <netinet/in.h>

static const uint16_t moves[] = {
    [STATE_FREE] = 1u << STATE_ASKING,
    [STATE_ASKING] = 1u << STATE_HOLDING | 1u << STATE_DIALLING | 1u << STATE_FAREWELL |
                     1u << STATE_CLOSING,
    [STATE_HOLDING] = 1u << STATE_DIALLING | 1u << STATE_FAREWELL | 1u << STATE_CLOSING,
    [STATE_DIALLING] = 1u << STATE_OPEN | 1u << STATE_ASKING | 1u << STATE_CLOSING,
    [STATE_OPEN] = 1u << STATE_DELIVERING | 1u << STATE_FAREWELL | 1u << STATE_CLOSING |
                   1u << STATE_ASKING | 1u << STATE_DIALLING,
    [STATE_DELIVERING] = 1u << STATE_CLOSING,
    [STATE_FAREWELL] = 1u << STATE_CLOSING,
    [STATE_CLOSING] = 1u << STATE_CLOSED,
    [STATE_CLOSED] = 1u << STATE_FREE,
};

static void open_run(struct sluice_worker *w, struct connection *c);
static void delivering_run(struct sluice_worker *w, struct connection *c);
static void farewell_run(struct sluice_worker *w, struct connection *c);
static void connection_retire(struct sluice_worker *w, struct connection *c);

void connection_move(struct sluice_worker *w, struct connection *c, enum state to) {
  INVARIANT(moves[c->state] & 1u << to);
  c->state = to;
  connection_file(w, c);
}

void connection_took(struct connection *c, enum in_kernel bit) {
  INVARIANT(!(c->in_kernel & bit));
  c->in_kernel |= (uint8_t)bit;
}

void connection_gave(struct sluice_worker *w, struct connection *c, enum in_kernel bit) {
  INVARIANT(c->in_kernel & bit);
  c->in_kernel &= (uint8_t)~bit;
  worker_queue(w, c);
}

// Keeps the first four ends.
void connection_end(struct connection *c, enum sluice_end end) {
  if (c->ends_count == 4) return;
  c->summary.ends |= (uint32_t)end << (8 * c->ends_count++);
}

// ---- born --------------------------------------------------------------------------------------

static void side_reset(struct side *side, int descriptor) {
  *side = (struct side){.descriptor = descriptor, .plain = true};
}

static void half_reset(struct half *half) {
  *half = (struct half){.mode = sluice_mode_keep, .limit = NO_LIMIT};
}

void connection_accepted(struct sluice_worker *w, uint32_t tag, int descriptor) {
  struct connection *c = worker_take_slot(w);
  INVARIANT(c);
  *c = (struct connection){.generation = c->generation + 1,
                           .queued = c->queued,
                           .listener = tag,
                           .wheel_slot = 0xffff,
                           .next = NO_SLOT};
  side_reset(&c->sides[0], descriptor);
  side_reset(&c->sides[1], -1);
  half_reset(&c->halves[0]);
  half_reset(&c->halves[1]);
  memset(w->records[worker_slot(w, c)], 0, RECORD_BYTES);
  c->summary.accepted_ns = w->now_ns;
  c->active_ms = w->now_ms;
  c->halves[0].ask = true;
  w->interactive_ns = w->now_ns;
  connection_move(w, c, STATE_ASKING);
  worker_queue(w, c);
}

// ---- asked (answer.c has the answers) ----------------------------------------------------------

static void asking_run(struct sluice_worker *w, struct connection *c) {
  if (c->redial) {
    struct side *upstream = &c->sides[sluice_side_upstream];
    if (c->in_kernel & KERNEL_WATCH_UPSTREAM) return;  // connection_gave queues it again
    if (upstream->descriptor >= 0) {
      sys_close(upstream->descriptor);
      *upstream = (struct side){.descriptor = -1, .plain = true, .tls = upstream->tls};
      struct half *down = &c->halves[1];
      preface_drop(w, down);
      down->ask = down->eof = false;
      down->final = sluice_final_no;
    }
    struct sluice_event *event = worker_event(w, c, sluice_event_kind_redial);
    if (!event) {
      worker_queue(w, c);
      return;
    }
    c->redial = false;
    event->error = c->summary.error;
  } else if (c->halves[0].ask && !preface_ask(w, c, 0)) {
    worker_queue(w, c);
  }
}

// Whatever still waits on the way to a side goes nowhere.
void connection_drop_half(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  preface_drop(w, half);
  buffer_give(w, &half->rest);
  pipe_let_go(w, c, i);
  half->ask = false;
  half->eof = half->shut = true;
}

// ---- run ---------------------------------------------------------------------------------------

void connection_run(struct sluice_worker *w, struct connection *c) {
  switch (c->state) {
    case STATE_FREE:
    case STATE_CLOSED:
      return;
    case STATE_ASKING:
      asking_run(w, c);
      return;
    case STATE_HOLDING:
    case STATE_OPEN:
      open_run(w, c);
      return;
    case STATE_DIALLING:
      dial_check(w, c);
      if (c->state == STATE_OPEN) open_run(w, c);
      return;
    case STATE_DELIVERING:
      delivering_run(w, c);
      return;
    case STATE_FAREWELL:
      farewell_run(w, c);
      return;
    case STATE_CLOSING:
      if (c->in_kernel == 0) connection_retire(w, c);
      return;
  }
}

static bool half_closed(const struct connection *c) {
  return c->halves[0].eof || c->halves[1].eof;
}

static void open_run(struct sluice_worker *w, struct connection *c) {
  enum state was = c->state;
  if (c->parked && was == STATE_HOLDING && preface_left(w, c)) return;
  bool again = false;
  for (int i = 0; i < 2; i++) {
    if (c->sides[i].descriptor >= 0 && c->halves[i].mode == sluice_mode_hold && !c->parked)
      preface_read(w, c, i);
    if (c->state == was && relay_half_pump(w, c, i) == PUMP_AGAIN) again = true;
    if (c->state != was) {
      worker_queue(w, c);
      return;
    }
  }
  for (int i = 0; i < 2; i++)
    if (c->halves[i].ask && !c->parked && !preface_ask(w, c, i)) again = true;
  if (c->halves[0].shut && c->halves[1].shut) {
    connection_close(w, c, false);
    return;
  }
  // A splice of the ring engine may have read the FIN before this run.
  if (c->rests || (half_closed(c) && !c->half_closed_filed)) {
    c->half_closed_filed = half_closed(c);
    c->rests = false;
    connection_file(w, c);
  }
  c->bulk = again || c->halves[0].lane == LANE_SPLICE || c->halves[1].lane == LANE_SPLICE;
  if (again) worker_queue(w, c);
}

// A side was reset, timed out in the kernel, or refused bytes. What it sent before that is still
// delivered; what was meant for it is dropped.
void connection_broken(struct sluice_worker *w, struct connection *c, enum sluice_side side,
                       int number) {
  if (side == sluice_side_upstream && (dial_undone(w, c, number) || dial_outlived(w, c, number)))
    return;
  bool reset = number == ECONNRESET || number == EPIPE;
  if (side == sluice_side_client) {
    connection_end(c, reset ? sluice_end_client_reset : sluice_end_client_error);
  } else {
    connection_end(c, reset ? sluice_end_upstream_reset : sluice_end_upstream_error);
  }
  if (!reset) c->summary.error = (int16_t)number;
  c->sides[side].reset = true;
  c->sides[side].readable = true;
  enum sluice_side survivor = (enum sluice_side)(1 - side);
  struct half *last = &c->halves[side];
  bool nobody = c->sides[survivor].descriptor < 0 || c->sides[survivor].reset;
  if (c->state != STATE_OPEN || nobody) {
    connection_close(w, c, c->state == STATE_OPEN || c->state == STATE_DELIVERING);
    return;
  }
  connection_drop_half(w, c, survivor);
  if (last->mode != sluice_mode_relay) {  // what was not decided on goes nowhere any more
    preface_drop(w, last);
    last->eof = true;
  }
  last->shut = false;
  c->survivor = survivor;
  c->stalled_bytes = -1;
  c->active_ms = w->now_ms;
  connection_move(w, c, STATE_DELIVERING);
  worker_queue(w, c);
}

// First our own buffers and pipe, then the kernel's send queue; only then the reset. When the
// queue does not move for STALL_MS the connection is closed with a FIN instead, which the kernel
// sends after the bytes: a reset must never destroy data that was accepted.
static void delivering_run(struct sluice_worker *w, struct connection *c) {
  int last = 1 - (int)c->survivor;
  struct half *half = &c->halves[last];
  if (relay_half_pump(w, c, last) == PUMP_AGAIN) worker_queue(w, c);
  if (c->state != STATE_DELIVERING) return;
  if (!half->eof || !relay_half_empty(c, last) || (c->in_kernel & (KERNEL_SPLICE_UP << last)))
    return;
  struct side *survivor = &c->sides[c->survivor];
  int unsent = survivor->local ? 0 : sys_unsent(survivor->descriptor);
  // What the kernel seals may only be on its way into the queue: it is looked at twice.
  if (unsent < 0 || (unsent == 0 && (!survivor->sealed || c->stalled_bytes == 0))) {
    connection_close(w, c, true);
    return;
  }
  if (unsent != c->stalled_bytes) {
    c->stalled_bytes = unsent;
    c->until_ms = w->now_ms + STALL_MS;
  } else if (w->now_ms >= c->until_ms) {
    connection_close(w, c, false);
    return;
  }
  deadline_set(w, c, w->now_ms + 1);
}

static void farewell_run(struct sluice_worker *w, struct connection *c) {
  enum pump reply = relay_half_pump(w, c, 1);
  if (reply == PUMP_CLOSED) return;
  enum pump dropped = relay_discard(w, c, 0);
  if (dropped == PUMP_CLOSED) return;
  if (c->halves[0].eof && c->halves[1].shut) {
    connection_close(w, c, false);
  } else if (reply == PUMP_AGAIN || dropped == PUMP_AGAIN) {
    worker_queue(w, c);
  }
}

// ---- deadlines ---------------------------------------------------------------------------------

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

// When an open or holding connection must be looked at, and which deadline that is.
static uint64_t open_deadline(const struct connection *c, enum sluice_end *why) {
  uint64_t at = UINT64_MAX;
  *why = sluice_end_none;
  uint32_t quiet_ms = half_closed(c) && c->half_closed_ms ? c->half_closed_ms : c->idle_ms;
  if (quiet_ms && c->state == STATE_OPEN) {
    at = c->active_ms + quiet_ms;
    *why = half_closed(c) ? sluice_end_deadline_half_closed : sluice_end_deadline_idle;
  }
  uint64_t oldest = c->summary.accepted_ns / 1000000 + c->max_age_ms;
  if (c->max_age_ms && oldest < at) {
    at = oldest;
    *why = sluice_end_deadline_max_age;
  }
  if (c->hold_until_ms && c->hold_until_ms < at) {
    at = c->hold_until_ms;
    *why = sluice_end_deadline_preface;
  }
  return at;
}

void connection_file(struct sluice_worker *w, struct connection *c) {
  enum sluice_end why;
  uint64_t at = UINT64_MAX;
  switch (c->state) {
    case STATE_FREE:
    case STATE_CLOSING:
    case STATE_CLOSED:
      deadline_clear(w, c);
      return;
    case STATE_ASKING:
    case STATE_HOLDING:
      at = open_deadline(c, &why);
      break;
    case STATE_OPEN:
      at = open_deadline(c, &why);
      if (!c->tuned) at = earlier(at, w->now_ms + TUNE_AFTER_MS);
      if (c->paced) at = earlier(at, pace_next_ms(w, c));
      if (c->finishing) at = earlier(at, w->now_ms + 1);
      break;
    case STATE_DIALLING:
      at = race_next_ms(w, c);
      break;
    case STATE_FAREWELL:
      at = c->until_ms;
      if (c->finishing) at = earlier(at, w->now_ms + 1);
      break;
    case STATE_DELIVERING:
      at = c->active_ms + (c->half_closed_ms ? c->half_closed_ms : STALL_MS);
      break;
  }
  if (at == UINT64_MAX) {
    deadline_clear(w, c);
  } else {
    deadline_set(w, c, at);
  }
}

// The hold's time is over: one last ask, and without a decision the end.
static void hold_due(struct sluice_worker *w, struct connection *c) {
  c->hold_until_ms = 0;
  c->parked = false;
  bool asked = false;
  for (int i = 0; i < 2; i++) {
    if (c->halves[i].mode != sluice_mode_hold || c->sides[i].descriptor < 0) continue;
    c->halves[i].final = sluice_final_timed_out;
    c->halves[i].ask = asked = true;
  }
  if (!asked) {
    c->halves[0].final = sluice_final_timed_out;
    c->halves[0].ask = true;
  }
  connection_file(w, c);
  worker_queue(w, c);
}

static void open_due(struct sluice_worker *w, struct connection *c) {
  enum sluice_end why;
  uint64_t at = open_deadline(c, &why);
  bool lives = at > w->now_ms || why == sluice_end_deadline_preface;
  if (lives && c->state == STATE_OPEN && !c->tuned) dial_tune(c);
  if (at > w->now_ms) {
    if (c->paced || c->finishing) worker_queue(w, c);  // a half may have rested
    connection_file(w, c);
  } else if (why == sluice_end_deadline_preface) {
    hold_due(w, c);
  } else {
    connection_end(c, why);
    connection_close(w, c, false);
  }
}

// Called by the wheel. Nothing here may assume that the deadline has really passed.
void connection_due(struct sluice_worker *w, struct connection *c) {
  switch (c->state) {
    case STATE_FREE:
    case STATE_CLOSING:
    case STATE_CLOSED:
      return;
    case STATE_ASKING:
    case STATE_HOLDING:
    case STATE_OPEN:
      open_due(w, c);
      return;
    case STATE_DIALLING:
      if (c->race == 0 && c->until_ms > 0 && c->until_ms <= w->now_ms) {
        dial_failed(w, c, ETIMEDOUT);
      } else {
        worker_queue(w, c);  // for dial_check
        connection_file(w, c);
      }
      return;
    case STATE_DELIVERING:
      if (c->halves[1 - (int)c->survivor].eof &&
          relay_half_empty(c, 1 - (int)c->survivor)) {
        worker_queue(w, c);
        return;
      }
      if (c->active_ms + (c->half_closed_ms ? c->half_closed_ms : STALL_MS) > w->now_ms) {
        connection_file(w, c);
      } else {
        connection_end(c, sluice_end_deadline_half_closed);
        connection_close(w, c, true);
      }
      return;
    case STATE_FAREWELL:
      if (c->until_ms > w->now_ms) {
        if (c->finishing) worker_queue(w, c);
        connection_file(w, c);
      } else {
        connection_close(w, c, false);
      }
      return;
  }
}

// ---- over --------------------------------------------------------------------------------------

// Terminate: the kernel is asked to let go of both sockets. What it still holds then joins by
// connection_gave. `reset`: the survivor shall see a reset, not a FIN.
void connection_close(struct sluice_worker *w, struct connection *c, bool reset) {
  c->linger = reset;
  if (c->state == STATE_DIALLING) c->summary.connect_us = 0;  // it held when the dial began
  connection_move(w, c, STATE_CLOSING);
  if (c->in_kernel & KERNEL_WATCH_CLIENT) w->source->forget(w, c, sluice_side_client);
  if (c->in_kernel & KERNEL_WATCH_UPSTREAM) w->source->forget(w, c, sluice_side_upstream);
  race_close(w, c);
  worker_queue(w, c);
}

static void side_close(struct side *side, bool reset) {
  if (side->descriptor < 0) return;
  if (reset && !side->local && !side->reset) {
    const struct {
      int on;
      int seconds;
    } linger = {1, 0};  // struct linger, socket(7)
    (void)sys_set_option(side->descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  sys_close(side->descriptor);
  side->descriptor = -1;
}

// Joined: the closed event is put, descriptors are closed, buffers and pipes go back.
static void connection_retire(struct sluice_worker *w, struct connection *c) {
  struct sluice_event *event = worker_event(w, c, sluice_event_kind_closed);
  if (!event) {
    worker_queue(w, c);
    return;
  }
  struct sluice_summary *summary = &w->summaries[event - w->events];
  stats_sum_up(w, c, summary);
  event->summary = summary;
  connection_tidy_buffers(w, c);
  side_close(&c->sides[0], c->linger);
  side_close(&c->sides[1], c->linger);
  race_retire(w, c);
  connection_move(w, c, STATE_CLOSED);
}
