// Another worker, for some seeds: it takes what it is handed, and some steps later hands it back,
// so that connections are on their way while all else happens. Now and then ours takes no part.
#include "simulation.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum { PLACE_OURS, PLACE_OTHER, VERSION = 1 };

static struct seat *seat(uint32_t place) { return &world.shared->seats[place]; }

void other_choose(struct profile *p) {
  // With few slots a connection that comes back would find none, which their credit rules out where
  // it is for as many as there are slots.
  p->others = !p->crowd && p->slots >= 64 && world.seed % 3 == 0;
  if (!p->others) return;
  if (p->shared_descriptors > BURST) p->shared_descriptors += 2 * BURST;
  if (p->shared_connections > BURST) p->shared_connections += BURST;
}

void other_begin(void) {
  if (!world.profile.others) return;
  sluice_worker_share(world.worker, PLACE_OURS, VERSION);
  struct seat *other = seat(PLACE_OTHER);
  MUST(pthread_mutex_init(&other->lock, NULL) == 0, "no lock");
  other->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  atomic_store(&other->version, VERSION);
}

// Connections that have left one worker and are not born in the other one.
uint32_t other_unborn(void) {
  if (!world.profile.others) return 0;
  return atomic_load(&seat(PLACE_OURS)->waiting) + atomic_load(&seat(PLACE_OTHER)->waiting);
}

static void hand_back(void) {
  struct seat *ours = seat(PLACE_OURS), *other = seat(PLACE_OTHER);
  uint32_t waiting = atomic_load(&ours->waiting), count = atomic_load(&other->waiting);
  while (count > 0 && waiting < HANDED_MAX) ours->inbox[waiting++] = other->inbox[--count];
  atomic_store(&ours->waiting, waiting);
  atomic_store(&other->waiting, count);
}

void other_step(void) {
  if (!world.profile.others) return;
  atomic_store(&seat(PLACE_OTHER)->live, (uint32_t)below(6));
  if (world.settling || chance(20))
    sluice_worker_share(world.worker, PLACE_OURS, world.settling || chance(500) ? VERSION : 0);
  if (atomic_load(&seat(PLACE_OURS)->version) == VERSION && (world.settling || chance(300)))
    hand_back();
}

void other_end(void) {
  if (world.profile.others) close(seat(PLACE_OTHER)->wake_descriptor);
}
