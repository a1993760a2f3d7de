// Bytes that wait in user space: the pool of buffers, and holding the first bytes of a side until
// the caller has decided. An idle connection has no buffer.
#include "internal.h"

#include <sys/mman.h>

enum {
  WARM_BUFFERS = 64,    // free buffers that keep their pages
  WARM_BYTES = 4096,    // a buffer touched no further than this keeps its page anyway
};

bool buffers_open(struct sluice_worker *w) {
  w->buffers = calloc(w->buffers_max, sizeof *w->buffers);
  w->buffer_bytes = sys_reserve((size_t)w->buffers_max * BUFFER_BYTES);
  w->free_buffer = NO_SLOT;
  w->starved_first = w->starved_last = NO_SLOT;
  return w->buffers && w->buffer_bytes;
}

void buffers_close(struct sluice_worker *w) {
  if (w->buffer_bytes) munmap(w->buffer_bytes, (size_t)w->buffers_max * BUFFER_BYTES);
  free(w->buffers);
}

bool buffers_left(const struct sluice_worker *w) { return w->buffers_used < w->buffers_max; }

struct buffer *buffer_take(struct sluice_worker *w) {
  struct buffer *buffer;
  if (w->free_buffer != NO_SLOT) {
    buffer = &w->buffers[w->free_buffer];
    w->free_buffer = buffer->next;
    if (w->warm_buffers > 0) w->warm_buffers--;
  } else if (w->buffers_touched < w->buffers_max) {
    uint32_t index = w->buffers_touched++;
    buffer = &w->buffers[index];
    buffer->data = w->buffer_bytes + (size_t)index * BUFFER_BYTES;
  } else {
    return NULL;
  }
  w->buffers_used++;
  buffer->start = buffer->end = 0;
  return buffer;
}

// Pages beyond the first go back to the system unless few buffers are free: a crowd of slow
// readers must not leave its memory behind.
void buffer_give(struct sluice_worker *w, struct buffer **slot) {
  struct buffer *buffer = *slot;
  if (!buffer) return;
  *slot = NULL;
  if (buffer->end > buffer->touched) buffer->touched = buffer->end;
  if (w->warm_buffers >= WARM_BUFFERS && buffer->touched > WARM_BYTES) {
    madvise(buffer->data + WARM_BYTES, BUFFER_BYTES - WARM_BYTES, MADV_DONTNEED);
    buffer->touched = WARM_BYTES;
  }
  w->warm_buffers++;
  buffer->next = w->free_buffer;
  w->free_buffer = (uint32_t)(buffer - w->buffers);
  w->buffers_used--;
}

// Queues as many of those that wait for a buffer as there are buffers, the longest waiting first.
// One that needs none after all takes none, so this is asked after every round of runs.
void buffers_feed(struct sluice_worker *w) {
  uint32_t free_buffers = w->buffers_max - w->buffers_used;
  for (; free_buffers > 0 && w->starved_first != NO_SLOT; free_buffers--) {
    struct connection *c = &w->slots[w->starved_first];
    w->starved_first = c->next;
    if (w->starved_first == NO_SLOT) w->starved_last = NO_SLOT;
    c->starved = false;
    c->next = NO_SLOT;
    worker_queue(w, c);
  }
}

// Waits for a buffer; buffers_feed queues it again.
void preface_starve(struct sluice_worker *w, struct connection *c) {
  if (c->starved) return;
  c->starved = true;
  c->next = NO_SLOT;
  uint32_t slot = worker_slot(w, c);
  if (w->starved_last == NO_SLOT) {
    w->starved_first = slot;
  } else {
    w->slots[w->starved_last].next = slot;
  }
  w->starved_last = slot;
}

static void preface_unstarve(struct sluice_worker *w, struct connection *c) {
  if (!c->starved) return;
  uint32_t slot = worker_slot(w, c);
  uint32_t previous = NO_SLOT;
  for (uint32_t at = w->starved_first; at != slot; at = w->slots[at].next) previous = at;
  if (previous == NO_SLOT) {
    w->starved_first = c->next;
  } else {
    w->slots[previous].next = c->next;
  }
  if (w->starved_last == slot) w->starved_last = previous;
  c->starved = false;
  c->next = NO_SLOT;
}

// Gives back everything a dying connection still holds.
void connection_tidy_buffers(struct sluice_worker *w, struct connection *c) {
  preface_unstarve(w, c);
  for (int i = 0; i < 2; i++) {
    struct half *half = &c->halves[i];
    buffer_give(w, &half->held);
    buffer_give(w, &half->rest);
    pipe_let_go(w, c, i);
  }
  transport_drop(c);
}

// Adds bytes behind those of a buffer, taking one if there is none.
enum sluice_result buffer_append(struct sluice_worker *w, struct buffer **slot,
                                 const uint8_t *bytes, size_t length) {
  if (length == 0) return sluice_result_done;
  if (length > BUFFER_BYTES) return sluice_result_too_long;
  bool fresh = *slot == NULL;
  if (fresh) *slot = buffer_take(w);
  struct buffer *buffer = *slot;
  if (!buffer) return sluice_result_no_buffer;
  if (buffer->end + length > BUFFER_BYTES) {
    uint32_t kept = buffer->end - buffer->start;
    if (kept + length > BUFFER_BYTES) return sluice_result_too_long;
    if (buffer->end > buffer->touched) buffer->touched = buffer->end;
    memmove(buffer->data, buffer->data + buffer->start, kept);
    buffer->start = 0;
    buffer->end = kept;
  }
  memcpy(buffer->data + buffer->end, bytes, length);
  buffer->end += (uint32_t)length;
  return sluice_result_done;
}

// A parked client may have left. What it has sent waits in the kernel as long as it stays; once it
// has sent its FIN it is read, since with something to say it may still wait for the reply.
bool preface_left(struct sluice_worker *w, struct connection *c) {
  struct side *client = &c->sides[sluice_side_client];
  struct half *up = &c->halves[0];
  if (!client->hung_up || up->eof) return false;
  int number = sys_socket_error(client->descriptor);
  if (number != 0) {
    connection_broken(w, c, sluice_side_client, number);
    return true;
  }
  if (up->mode == sluice_mode_hold && !up->ask) preface_read(w, c, 0);
  if (c->state != STATE_HOLDING) return true;
  if (!up->eof || buffer_length(up->held) > 0) return false;
  connection_close(w, c, false);
  return true;
}

static void preface_final(struct half *half, enum sluice_final why) {
  half->final = why;
  half->ask = true;
}

// What is held goes nowhere, and so does not count.
void preface_drop(struct sluice_worker *w, struct half *half) {
  half->bytes -= buffer_length(half->held);
  buffer_give(w, &half->held);
}

// Reads what a held half may still hold. Every arrival, the FIN and the full cap are reasons to
// ask; a socket error ends the side.
void preface_read(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct side *from = half_from(c, i);
  if (c->in_kernel & (KERNEL_SPLICE_UP << i)) return;  // it may read the same bytes
  if (transport_shaking(from)) {
    transport_shake(w, c);
    return;
  }
  while (half->mode == sluice_mode_hold && from->readable && !half->eof && !half->ask) {
    uint32_t held = buffer_length(half->held);
    uint64_t cap = half->limit < BUFFER_BYTES ? half->limit : BUFFER_BYTES;
    if (held >= cap) {
      preface_final(half, sluice_final_full);
      return;
    }
    if (!half->held && !buffers_left(w)) {
      preface_starve(w, c);
      return;
    }
    size_t room = (size_t)(cap - held);
    ssize_t n = side_recv(w, c, i, w->scratch, room);
    if (n > 0) {
      c->active_ms = w->now_ms;
      w->interactive_ns = w->now_ns;
      if (i == 1 && c->summary.first_byte_us == 0)
        c->summary.first_byte_us = (w->now_ns - c->summary.accepted_ns) / 1000 + 1;
      half->bytes += (uint64_t)n;
      enum sluice_result kept = buffer_append(w, &half->held, w->scratch, (size_t)n);
      INVARIANT(kept == sluice_result_done);
      half->ask = true;
      if (held + (uint64_t)n >= cap) half->final = sluice_final_full;
    } else if (n == 0) {
      if (from->reset) {
        connection_broken(w, c, (enum sluice_side)i, ECONNRESET);
        return;
      }
      if (relay_end_unsure(c, i)) return;  // queued again when the splice is back
      half->eof = true;
      c->active_ms = w->now_ms;
      connection_end(c, transport_end(c, i));
      if (c->first_fin_ns == 0) c->first_fin_ns = w->now_ns;
      preface_final(half, sluice_final_half_closed);
    } else if (errno == EAGAIN) {
      return;
    } else {
      connection_broken(w, c, (enum sluice_side)i, errno);
      return;
    }
  }
}

// Puts the question; false when the batch is full and it must wait for the next turn.
bool preface_ask(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  struct sluice_event *event = worker_event(w, c, sluice_event_kind_ask);
  if (!event) return false;
  half->ask = false;
  c->asked_turn = (uint32_t)w->stats.turns;
  event->side = (enum sluice_side)i;
  event->final = half->final;
  half->final = sluice_final_no;
  if (half->held) {
    event->bytes = half->held->data + half->held->start;
    event->length = buffer_length(half->held);
  }
  return true;
}
