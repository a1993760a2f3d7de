// `latency: low`: a worker that has nothing to do looks for events itself for a bounded time before
// it sleeps in the kernel, because being woken takes longer than most of what comes soon. How long
// is learnt: waits that ended within SPIN_MAX_US are remembered as a moving average, and nobody
// looks for longer than twice that. Looking in vain SPIN_VAIN times stops it, until waits are
// short again: what is idle sleeps.
#include "internal.h"

#define SPIN_MAX_NS ((uint64_t)SPIN_MAX_US * 1000u)

bool spin_wanted(const struct sluice_worker *w) {
  return atomic_load_explicit(&w->shared->spin, memory_order_relaxed);
}

static void spin_learn(struct spin *spin, uint64_t gap_ns) {
  if (gap_ns > SPIN_MAX_NS) return;
  spin->vain /= 2;
  spin->gap_ns = spin->gap_ns - spin->gap_ns / SPIN_WEIGHT + gap_ns / SPIN_WEIGHT;
}

// Until an event came, or `bound_ns` after `began_ns`.
static bool spin_look(struct sluice_worker *w, uint64_t began_ns, uint64_t bound_ns) {
  while (w->now_ns - began_ns < bound_ns) {
    sys_relax();
    if (w->source->wait(w, 0, false) > 0) return true;
  }
  return false;
}

void spin_wait(struct sluice_worker *w, uint64_t wait_ns) {
  struct spin *spin = &w->spin;
  uint64_t left_ns = wait_ns;
  // What is there already says nothing about how long waits are.
  if (w->source->wait(w, 0, false) > 0) return;
  uint64_t began_ns = w->now_ns;
  if (spin->vain < SPIN_VAIN) {
    uint64_t bound_ns = 2 * spin->gap_ns < SPIN_MAX_NS ? 2 * spin->gap_ns : SPIN_MAX_NS;
    if (wait_ns < bound_ns) bound_ns = wait_ns;
    w->stats.spins++;
    if (spin_look(w, began_ns, bound_ns)) {
      w->stats.spin_hits++;
      spin_learn(spin, w->now_ns - began_ns);
      return;
    }
    spin->vain++;
    if (wait_ns != UINT64_MAX) left_ns -= bound_ns;
    if (left_ns == 0) return;
  }
  if (w->source->wait(w, left_ns, false) > 0) spin_learn(spin, w->now_ns - began_ns);
}
