// How a half moves bytes. The only file that knows lanes.
//
// copy    recv into the worker's scratch, send at once; only what the destination would not take
//         is kept (the rest). A short read proves the queue empty, so one message costs two calls.
// splice  socket to pipe to socket, never through user space. A half owns a pipe only while bytes
//         are in it. Two engines: inline (splice(2) on readiness) and ring (IORING_OP_SPLICE,
//         one operation in the kernel at a time, its readiness taken before it is submitted).
//
// TLS has the copy lane; a side that the kernel seals for is written to as a plain one is.
//
// A half starts copying. A read of PROMOTE_FLOW bytes promotes it, or of PROMOTE_REPLY where the
// other direction spoke last; DEMOTE_AFTER wake-ups that moved less than DEMOTE_BELOW, or in an
// exchange less than PROMOTE_REPLY, demote it. A half that gets no pipe copies.
//
// What is true between calls: bytes leave in the order held, rest, pipe are filled: the pipe is
// only filled when rest is empty, rest only gets held bytes when the pipe is empty. So with bytes
// in both (the caller's `send` joins the rest at any time) those in the pipe are the older ones.
// The FIN goes out when all three are empty.
#include "tls.h"

enum step { STEP_BLOCKED, STEP_MOVED, STEP_BROKEN };

bool relay_half_empty(const struct connection *c, int i) {
  const struct half *half = &c->halves[i];
  bool released = half->mode != sluice_mode_hold;
  return buffer_length(half->rest) == 0 && half->piped == 0 &&
         (!released || buffer_length(half->held) == 0) && transport_flushed(&c->sides[1 - i]);
}

static enum in_kernel splice_bit(int i) { return i == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN; }

// Notes that bytes moved: for the idle deadline, and for the rule that only one-way bulk may be
// waited for in batches (a reply is interactive however large it is).
static void relay_note(struct sluice_worker *w, struct connection *c, int i, bool bulk) {
  c->active_ms = w->now_ms;
  if (bulk && c->last_half == i) {
    w->bulk_ns = w->now_ns;
  } else {
    w->interactive_ns = w->now_ns;
  }
  c->last_half = (uint8_t)i;
}

static void relay_count(struct sluice_worker *w, struct connection *c, int i, uint64_t n) {
  struct half *half = &c->halves[i];
  half->bytes += n;
  w->moved += n;
  if (half->limit != NO_LIMIT) half->limit -= n;
  if (c->paced) pace_charge(w, c, i, n);
  if (i == 1 && c->summary.first_byte_us == 0)
    c->summary.first_byte_us = (w->now_ns - c->summary.accepted_ns) / 1000 + 1;
}

// A reset is told once, to whoever asks first: perhaps to a splice that still stands in the kernel
// and writes to the side that has come to its end. Until that is back nobody knows which end it is.
bool relay_end_unsure(const struct connection *c, int i) {
  return (c->in_kernel & splice_bit(1 - i)) != 0 && !c->halves[1 - i].filling;
}

// The source said its last byte: a FIN, or the end of what came before its reset. False: ask again
// when the splice that may know better is back, which queues the connection.
static bool relay_eof(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct side *from = half_from(c, i);
  if (!from->reset && relay_end_unsure(c, i)) {
    from->readable = true;
    return false;
  }
  half->eof = true;
  if (from->reset) return true;
  c->active_ms = w->now_ms;
  connection_end(c, transport_end(c, i));
  if (c->first_fin_ns == 0) c->first_fin_ns = w->now_ns;
  return true;
}

// A read failed: all that came before it has been read.
static enum step relay_read_failed(struct sluice_worker *w, struct connection *c, int i,
                                   int number) {
  if (half_from(c, i)->reset) {
    c->halves[i].eof = true;
    return STEP_MOVED;
  }
  connection_broken(w, c, (enum sluice_side)i, number);
  if (c->state != STATE_ASKING) c->halves[i].eof = true;  // else its place is another server's
  return STEP_BROKEN;
}

static enum step relay_write_failed(struct sluice_worker *w, struct connection *c, int i,
                                    int number) {
  connection_broken(w, c, (enum sluice_side)(1 - i), number);
  return STEP_BROKEN;
}

// Held bytes become part of the rest, as far as the limit allows and the buffer has room.
static void relay_release(struct sluice_worker *w, struct connection *c, struct half *half) {
  uint32_t held = buffer_length(half->held);
  if (half->mode != sluice_mode_relay || held == 0 || half->piped > 0) return;
  uint32_t allowed = half->limit < held ? (uint32_t)half->limit : held;
  if (buffer_length(half->rest) == 0 && allowed == held) {
    buffer_give(w, &half->rest);
    half->rest = half->held;
    half->held = NULL;
  } else {
    uint32_t waiting = buffer_length(half->rest);
    if (allowed > BUFFER_BYTES - waiting) allowed = BUFFER_BYTES - waiting;
    enum sluice_result kept = buffer_append(w, &half->rest,
                                            half->held->data + half->held->start, allowed);
    if (kept != sluice_result_done) {
      preface_starve(w, c);
      return;
    }
    half->held->start += allowed;
    if (buffer_length(half->held) == 0) buffer_give(w, &half->held);
  }
  if (half->limit != NO_LIMIT) half->limit -= allowed;
}

static bool relay_waits(const struct half *half) {
  return half->held || buffer_length(half->rest) > 0;
}

static bool relay_may_read(const struct sluice_worker *w, const struct half *half,
                           const struct side *from) {
  return half->mode == sluice_mode_relay && !half->held && !half->eof && half->limit > 0 &&
         w->room > 0 && from->readable;
}

// Reads one piece into the scratch. Returns its length, 0 for nothing, -1 when the side broke.
static ssize_t copy_read(struct sluice_worker *w, struct connection *c, int i, size_t most) {
  struct half *half = &c->halves[i];
  if (half->limit < most) most = (size_t)half->limit;
  if (w->room < most) most = (size_t)w->room;
  ssize_t n = side_recv(w, c, i, w->scratch, most);
  if (n > 0) {
    relay_count(w, c, i, (uint64_t)n);
    // A FIN that was there before needs no read of its own.
    const struct side *from = half_from(c, i);
    if (from->plain && from->ended && side_emptied(from, n, most)) (void)relay_eof(w, c, i);
    return n;
  }
  if (n == 0) {
    (void)relay_eof(w, c, i);
  } else if (errno != EAGAIN && relay_read_failed(w, c, i, errno) == STEP_BROKEN) {
    return -1;
  }
  return 0;
}

// Sends the rest and `length` fresh bytes of the scratch in one call; keeps what is not taken.
static enum step copy_send(struct sluice_worker *w, struct connection *c, int i, size_t length) {
  struct half *half = &c->halves[i];
  struct side *to = half_to(c, i);
  struct iovec parts[2];
  size_t count = 0;
  size_t waiting = buffer_length(half->rest);
  if (waiting > 0)
    parts[count++] = (struct iovec){half->rest->data + half->rest->start, waiting};
  if (length > 0) parts[count++] = (struct iovec){w->scratch, length};
  ssize_t sent;
  do sent = sys_send(to->descriptor, parts, count);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    if (errno != EAGAIN) return relay_write_failed(w, c, i, errno);
    sent = 0;
  }
  size_t done = (size_t)sent;
  if (done < waiting + length) to->writable = false;
  size_t from_rest = done < waiting ? done : waiting;
  if (half->rest) {
    half->rest->start += (uint32_t)from_rest;
    if (buffer_length(half->rest) == 0) buffer_give(w, &half->rest);
  }
  size_t from_scratch = done - from_rest;
  if (from_scratch < length) {
    enum sluice_result kept =
        buffer_append(w, &half->rest, w->scratch + from_scratch, length - from_scratch);
    INVARIANT(kept == sluice_result_done);  // copy_step saw that there is room
  }
  if (done > 0 || length > 0) relay_note(w, c, i, false);
  return done > 0 ? STEP_MOVED : STEP_BLOCKED;
}

// The same for a destination that speaks TLS, all of whose sealed bytes went out: what the kernel
// does not take now is the transport's.
static enum step copy_seal(struct sluice_worker *w, struct connection *c, int i, size_t length) {
  struct half *half = &c->halves[i];
  struct side *to = half_to(c, i);
  size_t waiting = buffer_length(half->rest);
  if (waiting > SEAL_BYTES) waiting = SEAL_BYTES;
  if (waiting > 0) {
    if (!transport_seal(to, half->rest->data + half->rest->start, waiting))
      return relay_write_failed(w, c, i, errno);
    half->rest->start += (uint32_t)waiting;
    if (buffer_length(half->rest) == 0) buffer_give(w, &half->rest);
  }
  if (!transport_seal(to, w->scratch, length)) return relay_write_failed(w, c, i, errno);
  relay_note(w, c, i, false);
  enum flush flushed = transport_flush(w, c, to);
  if (flushed == FLUSH_BROKEN) return relay_write_failed(w, c, i, to->tls->error);
  return flushed == FLUSHED ? STEP_MOVED : STEP_BLOCKED;
}

// How much may be read at once for a destination that speaks TLS, 0 when it must wait.
static size_t copy_sealable(struct sluice_worker *w, struct connection *c, int i) {
  struct side *to = half_to(c, i);
  enum flush flushed = transport_flush(w, c, to);
  if (flushed == FLUSH_BROKEN) (void)relay_write_failed(w, c, i, to->tls->error);
  if (flushed != FLUSHED) return 0;
  if (buffers_left(w)) return SEAL_BYTES - REST_SMALL;
  uint32_t waiting = buffer_length(c->halves[i].rest);
  if (waiting > 0 && waiting <= SEAL_BYTES) return waiting;  // it gives its own
  // Who has nothing to seal needs no buffer.
  if (relay_waits(&c->halves[i]) || relay_may_read(w, &c->halves[i], half_from(c, i)))
    preface_starve(w, c);
  return 0;
}

// No buffer is left but that of the rest, which what is sealed of it then takes.
static enum step copy_seal_last(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  size_t length = buffer_length(half->rest);
  memcpy(w->scratch, half->rest->data + half->rest->start, length);
  buffer_give(w, &half->rest);
  return copy_seal(w, c, i, length);
}

// A read of so many bytes deserves the splice lane: half of it if it goes on a flow of one
// direction, for that will fill a pipe several times.
static bool copy_is_bulk(const struct connection *c, int i, ssize_t got) {
  bool flow = c->last_half == i && c->halves[i].bytes > (uint64_t)got;
  return got >= (flow ? PROMOTE_FLOW : PROMOTE_REPLY) && c->splice != sluice_splice_off &&
         c->sides[i].plain;
}

// All that was sealed went out: the kernel may seal the rest of a flow, so that it is spliced.
static bool copy_offload(struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (!half->bulk || half->bytes < OFFLOAD_AFTER) return false;
  transport_offload(half_to(c, i));
  return half_to(c, i)->sealed;
}

static enum step copy_step(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  size_t most = BUFFER_BYTES;
  relay_release(w, c, half);
  if (!side_takes_plain(half_to(c, i))) {
    enum state was = c->state;
    most = copy_sealable(w, c, i);
    if (c->state != was) return STEP_BROKEN;
    if (most == 0 || !half_to(c, i)->writable) return STEP_BLOCKED;
    if (!buffers_left(w)) return copy_seal_last(w, c, i);
    if (copy_offload(c, i)) most = BUFFER_BYTES;
  }
  if (!half_to(c, i)->writable) return STEP_BLOCKED;
  ssize_t got = 0;
  if (relay_may_read(w, half, half_from(c, i)) && buffer_length(half->rest) <= REST_SMALL) {
    if (!half->rest && !buffers_left(w)) {
      preface_starve(w, c);
      return STEP_BLOCKED;
    }
    if (half->rest && most > BUFFER_BYTES - REST_SMALL) most = BUFFER_BYTES - REST_SMALL;
    got = copy_read(w, c, i, most);
    if (got < 0) return STEP_BROKEN;
    half->bulk = copy_is_bulk(c, i, got);
    if (half->lane == LANE_COPY && half->bulk && side_takes_plain(half_to(c, i))) {
      half->lane = LANE_SPLICE;
      half->small_runs = 0;
      w->stats.promotions++;
    }
  }
  if (got == 0 && buffer_length(half->rest) == 0) return STEP_BLOCKED;
  return side_takes_plain(half_to(c, i)) ? copy_send(w, c, i, (size_t)got)
                                         : copy_seal(w, c, i, (size_t)got);
}

// ---- the splice lane ---------------------------------------------------------------------------

static void splice_release_pipe(struct sluice_worker *w, struct half *half) {
  if (half->pipe && half->piped == 0) {
    pipe_give(w, half->pipe, true);
    half->pipe = NULL;
  }
}

// What a splice from the socket into the pipe came to.
static enum step splice_filled(struct sluice_worker *w, struct connection *c, int i,
                               ssize_t result, int number) {
  struct half *half = &c->halves[i];
  if (result > 0) {
    relay_count(w, c, i, (uint64_t)result);
    half->spliced += (uint64_t)result;
    half->piped += (uint32_t)result;
    relay_note(w, c, i, true);
    return STEP_MOVED;
  }
  if (result == 0) {
    return relay_eof(w, c, i) ? STEP_MOVED : STEP_BLOCKED;
  }
  if (number == EINVAL && half->piped == 0) {
    c->splice = sluice_splice_off;  // this socket cannot be spliced
    half->lane = LANE_COPY;
    half_from(c, i)->readable = true;
    return STEP_MOVED;
  }
  if (number == EINTR) return STEP_MOVED;  // still ready: once more
  if (number == EAGAIN) return STEP_BLOCKED;
  return relay_read_failed(w, c, i, number);
}

static enum step splice_drained(struct sluice_worker *w, struct connection *c, int i,
                                ssize_t result, int number) {
  struct half *half = &c->halves[i];
  if (result > 0) {
    half->piped -= (uint32_t)result;
    relay_note(w, c, i, true);
    return STEP_MOVED;
  }
  if (number == EINTR) return STEP_MOVED;
  if (result == 0 || number == EAGAIN) return STEP_BLOCKED;
  return relay_write_failed(w, c, i, number);
}

static size_t splice_length(const struct sluice_worker *w, const struct half *half) {
  uint64_t most = w->room < w->pump_bytes ? w->room : w->pump_bytes;
  return (size_t)(half->limit < most ? half->limit : most);
}

// One splice in and one out. EAGAIN on the way in means an empty socket only while the pipe is
// empty too; with bytes in the pipe it may mean a full pipe, and is asked again after draining.
static enum step splice_inline(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct side *from = half_from(c, i);
  struct side *to = half_to(c, i);
  enum step filled = STEP_BLOCKED;
  enum step drained = STEP_BLOCKED;
  if (from->plain && relay_may_read(w, half, from) && !relay_waits(half)) {
    ssize_t n = sys_splice(from->descriptor, half->pipe->write_end, splice_length(w, half));
    int number = n < 0 ? errno : 0;
    if (number == EAGAIN && half->piped == 0) from->readable = false;
    filled = splice_filled(w, c, i, n, number);
    if (filled == STEP_BROKEN) return STEP_BROKEN;
  }
  if (half->piped > 0 && to->writable) {
    ssize_t n = sys_splice(half->pipe->read_end, to->descriptor, half->piped);
    int number = n < 0 ? errno : 0;
    if (number == EAGAIN) to->writable = false;
    drained = splice_drained(w, c, i, n, number);
    if (drained == STEP_BROKEN) return STEP_BROKEN;
  }
  return filled == STEP_MOVED || drained == STEP_MOVED ? STEP_MOVED : STEP_BLOCKED;
}

// Submits the one operation that makes sense now. Its readiness flag is taken before: an event
// that comes while it runs sets the flag again, so EAGAIN can never hide one.
static enum step splice_ring(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct side *from = half_from(c, i);
  struct side *to = half_to(c, i);
  if (half->piped > 0) {
    if (!to->writable) return STEP_BLOCKED;
    to->writable = false;
    half->filling = false;
    w->source->splice(w, c, i, half->pipe->read_end, to->descriptor, half->piped);
  } else {
    if (!relay_may_read(w, half, from)) return STEP_BLOCKED;
    from->readable = false;
    half->filling = true;
    w->source->splice(w, c, i, from->descriptor, half->pipe->write_end,
                      (uint32_t)splice_length(w, half));
  }
  return STEP_BLOCKED;
}

// One wake-up, or one operation of the ring engine, moved so much. Less than enough counts unless
// its bandwidth allowed no more.
static void relay_review_lane(struct sluice_worker *w, struct connection *c, int i,
                              uint64_t moved, uint64_t enough) {
  struct half *half = &c->halves[i];
  if (half->lane != LANE_SPLICE) return;
  if (moved >= enough || half->piped > 0) {
    half->small_runs = 0;
  } else if (c->paced && pace_begin(w, c, i) < DEMOTE_BELOW) {
    return;
  } else if (moved > 0 && ++half->small_runs >= DEMOTE_AFTER) {
    half->lane = LANE_COPY;
    w->stats.demotions++;
  }
}

// An operation of the ring engine came back. The run queue goes on with the half.
void relay_spliced(struct sluice_worker *w, struct connection *c, int i, int32_t result) {
  struct half *half = &c->halves[i];
  if (c->state != STATE_OPEN && c->state != STATE_DELIVERING) {
    // Decided meanwhile. What moved still counts: a pipe with bytes in it must never be pooled as
    // an empty one, and a farewell goes out behind them.
    uint32_t moved = result > 0 ? (uint32_t)result : 0;
    half->piped = half->filling ? half->piped + moved : half->piped - moved;
    splice_release_pipe(w, half);
    bool still = result >= 0 || result == -EINTR || result == -512;
    if (still && half->filling) half_from(c, i)->readable = true;
    if (still && !half->filling) half_to(c, i)->writable = true;
    // Nobody is there to take the reply: trying again would go on until the farewell's deadline.
    bool gone = c->state == STATE_FAREWELL && i == 1 && !half->filling;
    if (gone && !still && result != -EAGAIN)
      connection_broken(w, c, sluice_side_client, -result);
    return;
  }
  int number = result < 0 ? -result : 0;
  if (number == 512) number = EINTR;  // ERESTARTSYS leaks out of io-wq
  if (half->filling) {
    if (result >= 0 || number == EINTR) half_from(c, i)->readable = true;
    if (result > 0) relay_review_lane(w, c, i, (uint64_t)result, DEMOTE_BELOW);
    uint64_t limit = half->limit;
    bool fresh_limit = half->fresh_limit;
    half->fresh_limit = false;
    (void)splice_filled(w, c, i, result, number);
    if (fresh_limit) half->limit = limit;
  } else {
    if (half->shut) {  // the destination broke meanwhile
      half->piped -= result > 0 ? (uint32_t)result : 0;
      return;
    }
    if (result > 0 || number == EINTR) half_to(c, i)->writable = true;
    (void)splice_drained(w, c, i, result, number);
  }
}

static enum step splice_step(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (half->piped == 0 && relay_waits(half)) return copy_step(w, c, i);
  if (!half->pipe) {
    if (!relay_may_read(w, half, half_from(c, i)) || !half_to(c, i)->writable) return STEP_BLOCKED;
    half->pipe = pipe_take(w);
    if (!half->pipe) return copy_step(w, c, i);
  }
  bool ring = c->splice == sluice_splice_ring && w->source->splice;
  return ring ? splice_ring(w, c, i) : splice_inline(w, c, i);
}

// ---- a half ------------------------------------------------------------------------------------

// The FIN goes out only when nothing is left before it.
static void relay_half_finish(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (half->shut || !half->eof || !relay_half_empty(c, i) || half->mode == sluice_mode_hold)
    return;
  if (half_from(c, i)->reset) return;  // connection.c passes the reset on instead
  if (!half_to(c, i)->plain && !transport_finish(w, c, i)) return;
  half->shut = true;
  // When the other direction is over too, the close that follows at once sends the FIN.
  struct side *to = half_to(c, i);
  if (to->descriptor >= 0 && !to->reset && !c->halves[1 - i].shut)
    (void)sys_shutdown_write(to->descriptor);
}

// Reads and drops, within a budget. What was released before still goes out, then the FIN.
enum pump relay_discard(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct side *from = half_from(c, i);
  buffer_give(w, &half->held);
  for (int round = 0; round < PUMP_ROUNDS && from->readable && !half->eof; round++) {
    ssize_t n = side_recv(w, c, i, w->scratch, BUFFER_BYTES);
    if (n > 0) {
      c->active_ms = w->now_ms;
    } else if (n == 0) {
      if (!relay_eof(w, c, i)) return PUMP_BLOCKED;
    } else if (errno == EAGAIN) {
      return PUMP_BLOCKED;
    } else if (relay_read_failed(w, c, i, errno) == STEP_BROKEN) {
      return PUMP_CLOSED;
    }
  }
  return from->readable && !half->eof ? PUMP_AGAIN : PUMP_BLOCKED;
}

// Moves what can be moved now, within a budget. PUMP_AGAIN: there is more, after others had
// their turn. PUMP_CLOSED: a side broke and the connection is in another state.
enum pump relay_half_pump(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (half->shut || (c->in_kernel & splice_bit(i)) || half_to(c, i)->descriptor < 0)
    return PUMP_BLOCKED;
  enum pump dropped = PUMP_BLOCKED;
  if (half->mode == sluice_mode_discard) dropped = relay_discard(w, c, i);
  if (dropped == PUMP_CLOSED) return PUMP_CLOSED;
  w->room = c->paced ? pace_begin(w, c, i) : NO_LIMIT;
  uint64_t before = half->bytes;
  uint64_t enough = c->last_half == i ? DEMOTE_BELOW : PROMOTE_REPLY;
  enum step step = STEP_MOVED;
  int round = 0;
  for (; step == STEP_MOVED && round < PUMP_ROUNDS && half->bytes - before < w->pump_bytes;
       round++) {
    step = half->lane == LANE_SPLICE || half->piped > 0 ? splice_step(w, c, i)
                                                        : copy_step(w, c, i);
    if (step == STEP_BROKEN) return PUMP_CLOSED;
  }
  if (c->paced && half_from(c, i)->readable && !half->eof) pace_end(w, c, i);
  if (c->in_kernel & splice_bit(i)) return PUMP_BLOCKED;
  splice_release_pipe(w, half);
  bool inline_engine = c->splice != sluice_splice_ring || !w->source->splice;
  if (inline_engine) relay_review_lane(w, c, i, half->bytes - before, enough);
  if (half->mode == sluice_mode_relay && half->limit == 0 && (!half->eof || half->held)) {
    half->mode = sluice_mode_hold;
    half->limit = BUFFER_BYTES;
    half->ask = true;
    if (half->eof) half->final = sluice_final_half_closed;
    if (c->state == STATE_DELIVERING) half->eof = true;
  }
  relay_half_finish(w, c, i);
  return step == STEP_MOVED ? PUMP_AGAIN : dropped;
}
