// Pipes for the splice lane: a capped pool per worker. A half has a pipe only while bytes are in
// it, so a worker needs about as many as it has slow receivers.
//
// An unprivileged user has fs.pipe-user-pages-soft pages of pipe in all (16384 by default: 256
// pipes of 256 KiB); beyond that a new pipe has two slots and cannot grow (pipe(7)).
#include "internal.h"

#include <stdio.h>
#include <sys/resource.h>

enum {
  PIPES_PRIVILEGED = 1024,
  PIPES_UNKNOWN = 32,      // the quota cannot be read
  PAGES_RESERVED = 1024,   // left to the user's other processes
  PAGE_BYTES = 4096,
  DENIED_MS = 1000,        // after a refusal nobody tries again for so long
};

static bool pipes_unlimited(void) {
  FILE *status = fopen("/proc/self/status", "re");
  unsigned long long effective = 0;
  char line[256];
  while (status && fgets(line, sizeof line, status))
    if (sscanf(line, "CapEff: %llx", &effective) == 1) break;
  if (status) fclose(status);
  enum { SYS_ADMIN = 21, SYS_RESOURCE = 24 };  // capabilities(7)
  return (effective & (1ull << SYS_RESOURCE | 1ull << SYS_ADMIN)) != 0;
}

static uint32_t pipes_by_quota(uint32_t workers) {
  if (pipes_unlimited()) return PIPES_PRIVILEGED;
  FILE *quota = fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
  unsigned long pages = 0;
  bool known = quota && fscanf(quota, "%lu", &pages) == 1;
  if (quota) fclose(quota);
  if (!known) return PIPES_UNKNOWN;
  if (pages == 0) return PIPES_PRIVILEGED;  // 0 is no limit
  if (pages <= PAGES_RESERVED) return 0;
  unsigned long count = (pages - PAGES_RESERVED) / (PIPE_WANTED / PAGE_BYTES) / workers;
  return count < PIPES_PRIVILEGED ? (uint32_t)count : PIPES_PRIVILEGED;
}

bool pipes_open(struct sluice_worker *w, uint32_t wanted) {
  w->pipes_max = wanted > 0 ? wanted : pipes_by_quota(w->workers > 0 ? w->workers : 1);
  w->pipes = calloc(w->pipes_max > 0 ? w->pipes_max : 1, sizeof *w->pipes);
  w->free_pipe = NO_SLOT;
  for (uint32_t i = 0; w->pipes && i < w->pipes_max; i++) {
    w->pipes[i].read_end = -1;
    w->pipes[i].next = w->free_pipe;
    w->free_pipe = i;
  }
  return w->pipes != NULL;
}

static void pipe_end(struct sluice_worker *w, struct pipe *pipe) {
  sys_close(pipe->read_end);
  sys_close(pipe->write_end);
  pipe->read_end = pipe->write_end = -1;
  w->pipes_made--;
  atomic_fetch_sub_explicit(&w->shared->descriptors, 2, memory_order_relaxed);
}

void pipes_close(struct sluice_worker *w) {
  for (uint32_t i = 0; w->pipes && i < w->pipes_max; i++)
    if (w->pipes[i].read_end >= 0) pipe_end(w, &w->pipes[i]);
  free(w->pipes);
}

static bool pipe_make(struct sluice_worker *w, struct pipe *pipe) {
  if (w->now_ms < w->pipes_denied_until_ms || listen_scarce(w)) return false;
  int ends[2];
  if (sys_pipe(ends) != 0) {
    w->pipes_denied_until_ms = w->now_ms + DENIED_MS;
    return false;
  }
  atomic_fetch_add_explicit(&w->shared->descriptors, 2, memory_order_relaxed);
  w->pipes_made++;
  pipe->read_end = ends[0];
  pipe->write_end = ends[1];
  int capacity = sys_pipe_size(ends[1], PIPE_WANTED);
  if (capacity < PIPE_SMALLEST) {
    pipe_end(w, pipe);
    w->pipes_denied_until_ms = w->now_ms + DENIED_MS;
    return false;
  }
  pipe->capacity = (uint32_t)capacity;
  return true;
}

// Made pipes are taken first: they stand at the head of the free list.
struct pipe *pipe_take(struct sluice_worker *w) {
  if (w->free_pipe != NO_SLOT) {
    struct pipe *pipe = &w->pipes[w->free_pipe];
    uint32_t next = pipe->next;
    if (pipe->read_end >= 0 || pipe_make(w, pipe)) {
      w->free_pipe = next;
      return pipe;
    }
  }
  w->stats.pipe_misses++;
  return NULL;
}

// A pipe with bytes in it is never pooled: they are another connection's.
void pipe_give(struct sluice_worker *w, struct pipe *pipe, bool empty) {
  uint32_t index = (uint32_t)(pipe - w->pipes);
  if (!empty) {
    // An unmade pipe goes behind the made ones; one refused pipe_make costs little either way.
    pipe_end(w, pipe);
    if (w->free_pipe != NO_SLOT && w->pipes[w->free_pipe].read_end >= 0) {
      pipe->next = w->pipes[w->free_pipe].next;
      w->pipes[w->free_pipe].next = index;
      return;
    }
  }
  pipe->next = w->free_pipe;
  w->free_pipe = index;
}

// A half that is over gives up its pipe, unless an operation in the kernel still has it.
void pipe_let_go(struct sluice_worker *w, struct connection *c, int i) {
  struct half *half = &c->halves[i];
  if (!half->pipe || (c->in_kernel & (KERNEL_SPLICE_UP << i))) return;
  pipe_give(w, half->pipe, half->piped == 0);
  half->pipe = NULL;
  half->piped = 0;
}
