// New connections go to a worker that has fewer: the kernel spreads them by their addresses and
// ports, and those that live long add up unevenly, or all come from one socket. Who has just
// accepted one looks at two other workers; when it is well ahead of the emptier one it puts the
// descriptor into that one's inbox and wakes it. There it is born like any other, and stays.
//
// The inbox is the only thing here with a lock, and taken only when something is handed over: a
// message through the kernel (IORING_OP_MSG_RING) could arrive when its receiver has another table,
// or none any more. Workers give to those of the same version only, which is looked at under the
// lock; whoever changes its version empties its inbox first. So a descriptor is always in one
// place, and its listener is known there.
#include "internal.h"

#include <unistd.h>

// Of connections: what an even spread looks at.
static uint32_t seat_load(const struct seat *seat) {
  return atomic_load_explicit(&seat->live, memory_order_relaxed) +
         atomic_load_explicit(&seat->waiting, memory_order_relaxed);
}

// Two others, drawn anew each time, are nearly as good as asking all of them (M. Mitzenmacher,
// "The power of two choices in randomized load balancing"), at two lines of memory.
static struct seat *handover_choose(struct sluice_worker *w) {
  struct seat *best = NULL;
  for (int draw = 0; draw < 2; draw++) {
    w->draws = w->draws * 1664525u + 1013904223u;
    uint32_t other = (w->draws >> 16) % (w->workers - 1);
    if (other >= w->place) other++;
    struct seat *seat = &w->shared->seats[other];
    if (!best || seat_load(seat) < seat_load(best)) best = seat;
  }
  return best;
}

static bool seat_put(struct seat *seat, uint64_t version, struct handed handed) {
  if (atomic_load_explicit(&seat->version, memory_order_acquire) != version) return false;
  pthread_mutex_lock(&seat->lock);
  uint32_t waiting = atomic_load_explicit(&seat->waiting, memory_order_relaxed);
  bool fits = waiting < HANDED_MAX &&
              atomic_load_explicit(&seat->version, memory_order_relaxed) == version;
  if (fits) {
    seat->inbox[waiting] = handed;
    atomic_store_explicit(&seat->waiting, waiting + 1, memory_order_release);
    // Under the lock, so that the receiver still lives. EAGAIN: it is woken already.
    uint64_t one = 1;
    ssize_t written = waiting > 0 ? 0 : write(seat->wake_descriptor, &one, sizeof one);
    CHECKED(written >= 0 || errno == EAGAIN);
    (void)written;
  }
  pthread_mutex_unlock(&seat->lock);
  return fits;
}

// Whether another worker has it now, and the credit that was taken for it.
bool handover_give(struct sluice_worker *w, const struct listener *listener, int descriptor) {
  // What comes in by a socket that was given up is known to this worker alone.
  if (!w->seat || w->workers < 2 || w->live <= LEAD_LEAST || !listener->wanted) return false;
  uint64_t version = atomic_load_explicit(&w->seat->version, memory_order_relaxed);
  if (version == 0) return false;
  struct seat *to = handover_choose(w);
  uint32_t load = seat_load(to);
  if (w->live <= load + load / LEAD_PART + LEAD_LEAST ||
      atomic_load_explicit(&to->paused, memory_order_relaxed))
    return false;
  if (!seat_put(to, version, (struct handed){descriptor, listener->tag})) return false;
  w->stats.handed_over++;
  return true;
}

void handover_take(struct sluice_worker *w) {
  struct seat *seat = w->seat;
  if (!seat || atomic_load_explicit(&seat->waiting, memory_order_acquire) == 0) return;
  struct handed taken[HANDED_MAX];
  pthread_mutex_lock(&seat->lock);
  uint32_t count = atomic_load_explicit(&seat->waiting, memory_order_relaxed);
  memcpy(taken, seat->inbox, count * sizeof taken[0]);
  atomic_store_explicit(&seat->waiting, 0, memory_order_relaxed);
  pthread_mutex_unlock(&seat->lock);
  for (uint32_t i = 0; i < count; i++) {
    w->stats.received++;
    listen_born(w, taken[i].tag, taken[i].descriptor);
  }
}

void handover_tell(const struct sluice_worker *w) {
  if (w->seat) atomic_store_explicit(&w->seat->live, w->live, memory_order_relaxed);
}

void handover_pause(const struct sluice_worker *w) {
  if (w->seat) atomic_store_explicit(&w->seat->paused, w->accept_paused, memory_order_relaxed);
}

void sluice_worker_share(struct sluice_worker *w, uint32_t place, uint64_t version) {
  INVARIANT(place < SEATS);
  struct seat *seat = &w->shared->seats[place];
  if (!w->seat) {
    // Nobody locks it before it has a version. It outlives the worker, for those who come late.
    INVARIANT(pthread_mutex_init(&seat->lock, NULL) == 0);
    seat->wake_descriptor = w->wake_descriptor;
    w->seat = seat;
    w->place = place;
    w->draws = place;
    handover_tell(w);
    handover_pause(w);
  }
  pthread_mutex_lock(&seat->lock);
  atomic_store_explicit(&seat->version, version, memory_order_release);
  pthread_mutex_unlock(&seat->lock);
  handover_take(w);
}
