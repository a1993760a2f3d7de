// The event source over the fake kernel, with the manners of ring.c or of epoll.c as the seed
// decides.
//
// Like the ring: what happens is *posted* first (with the mask of that moment) and *reaped* later,
// in any order but that of one operation with itself; a watch is cancelled by asking, and over
// when its last completion is reaped; it may end by itself; splices run in the kernel between two
// turns. Like epoll: events are made while they are reaped, forgetting is immediate, listeners are
// watched by level, nothing splices.
#include "simulation.h"

#include <poll.h>

enum post_kind : uint8_t { POST_WATCH, POST_SPLICE, POST_ACCEPT, POST_LISTENER };

struct post {
  enum post_kind kind;
  bool more;
  uint8_t which;  // side or half
  int32_t result;
  uint32_t slot;  // or the listener's index
  uint32_t generation;
};

struct splice_op {
  uint32_t slot, generation;
  int half, from, to;
  uint32_t length;
};

struct acceptor {
  bool armed, careful, cancelled;
  int descriptor;
  uint32_t generation;
};

enum { POSTS_MAX = 65536, SPLICES_MAX = 4096 };

static struct post posts[POSTS_MAX];
static uint32_t posts_count;
static struct splice_op splices[SPLICES_MAX];
static uint32_t splices_count;
static struct acceptor acceptors[LISTENERS * 16];
static uint32_t acceptors_count;
static bool flushing;

static bool eager(uint32_t per_mille) { return flushing || chance(per_mille); }

void source_flush(bool on) { flushing = on; }

static void post(struct post p) {
  MUST(posts_count < POSTS_MAX, "the completion queue is full: something spins");
  posts[posts_count++] = p;
}

// ---- what checks ask ---------------------------------------------------------------------------

bool source_holds_watch(uint32_t slot, uint32_t generation, enum sluice_side side) {
  for (struct fake_socket *s = kernel.sockets; s; s = s->next)
    if (s->watched && s->slot == slot && s->generation == generation && s->side == side)
      return true;
  for (uint32_t i = 0; i < posts_count; i++)
    if (posts[i].kind == POST_WATCH && posts[i].slot == slot &&
        posts[i].generation == generation && posts[i].which == side)
      return true;
  return false;
}

bool source_will_fill(uint32_t slot, uint32_t generation, int half) {
  for (uint32_t i = 0; i < splices_count; i++) {
    const struct splice_op *op = &splices[i];
    if (op->slot == slot && op->generation == generation && op->half == half)
      return kernel.descriptors[op->from].kind == SOCKET;
  }
  return false;
}

bool source_holds_splice(uint32_t slot, uint32_t generation, int half) {
  for (uint32_t i = 0; i < splices_count; i++)
    if (splices[i].slot == slot && splices[i].generation == generation && splices[i].half == half)
      return true;
  for (uint32_t i = 0; i < posts_count; i++)
    if (posts[i].kind == POST_SPLICE && posts[i].slot == slot &&
        posts[i].generation == generation && posts[i].which == half)
      return true;
  return false;
}

// Sockets that a multishot accept took and nobody has heard of.
uint32_t source_accepted_unseen(void) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < posts_count; i++)
    if (posts[i].kind == POST_ACCEPT && posts[i].result >= 0) count++;
  return count;
}

void source_descriptor_closed(const struct fake_socket *s) {
  MUST(!world.profile.ring || !s->watched, "socket %d is closed while it is watched",
       s->descriptor);
  for (uint32_t i = 0; i < splices_count; i++)
    MUST(splices[i].from != s->descriptor && splices[i].to != s->descriptor,
         "socket %d is closed while a splice is in the kernel", s->descriptor);
}

// ---- the operations ----------------------------------------------------------------------------

static void simulated_watch(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  connection_took(c, watch_bit(side));
  c->forgotten &= (uint8_t)~watch_bit(side);
  struct fake_socket *s = kernel_socket(race_side(w, c, side)->descriptor);
  MUST(!s->watched, "socket %d is watched twice", s->descriptor);
  s->watched = true;
  s->cancelled = false;
  s->slot = worker_slot(w, c);
  s->generation = c->generation;
  s->side = side;
  s->edge = true;  // what is true now is reported at once
}

static void ring_forget(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  if (c->forgotten & watch_bit(side)) return;
  c->forgotten |= (uint8_t)watch_bit(side);
  struct fake_socket *s = kernel_socket(race_side(w, c, side)->descriptor);
  if (!s->watched) return;  // it has just ended by itself; its last completion is on its way
  s->cancelled = true;
  if (!eager(world.profile.run)) {
    coverage.cancelled_late++;
    return;
  }
  s->watched = false;
  post((struct post){POST_WATCH, false, (uint8_t)side, -ECANCELED, s->slot, s->generation});
}

static void epoll_forget(struct sluice_worker *w, struct connection *c, enum sluice_side side) {
  if (side == SIDE_RIVAL) kernel_socket(race_side(w, c, side)->descriptor)->watched = false;
  connection_gave(w, c, watch_bit(side));
}

static struct acceptor *acceptor_of(struct sluice_worker *w, struct listener *listener) {
  uint32_t index = listen_index(w, listener);
  MUST(index < sizeof acceptors / sizeof acceptors[0], "too many listeners");
  if (index >= acceptors_count) acceptors_count = index + 1;
  return &acceptors[index];
}

static void simulated_accept(struct sluice_worker *w, struct listener *listener) {
  struct acceptor *a = acceptor_of(w, listener);
  MUST(!a->armed, "a listener is armed twice");
  *a = (struct acceptor){.armed = true,
                         .careful = listener->careful || !world.profile.ring,
                         .descriptor = listener->descriptor,
                         .generation = listener->generation};
}

static void ring_refuse(struct sluice_worker *w, struct listener *listener) {
  acceptor_of(w, listener)->cancelled = true;
}

static void epoll_refuse(struct sluice_worker *w, struct listener *listener) {
  acceptor_of(w, listener)->armed = false;
  listen_ended(w, listener);
}

static void ring_splice(struct sluice_worker *w, struct connection *c, int half, int from, int to,
                        uint32_t length) {
  connection_took(c, half == 0 ? KERNEL_SPLICE_UP : KERNEL_SPLICE_DOWN);
  MUST(splices_count < SPLICES_MAX, "too many splices");
  MUST(length > 0, "a splice of nothing");
  splices[splices_count++] = (struct splice_op){
      .slot = worker_slot(w, c), .generation = c->generation,
      .half = half, .from = from, .to = to, .length = length};
}

// ---- what the kernel does meanwhile ------------------------------------------------------------

static void run_splice(uint32_t index) {
  struct splice_op op = splices[index];
  splices[index] = splices[--splices_count];
  struct fake_descriptor *from = &kernel.descriptors[op.from];
  struct fake_socket *s = from->kind == SOCKET ? from->socket : kernel_socket(op.to);
  uint64_t moved_ns = s->moved_ns;
  uint64_t fin_read_ns = s->fin_read_ns;
  ssize_t n = kernel_splice(op.from, op.to, op.length);
  int32_t result = n < 0 ? -errno : (int32_t)n;
  s->moved_ns = moved_ns;  // the data plane knows when it reaps
  s->fin_read_ns = fin_read_ns;
  if (result == -EINTR && chance(500)) result = -512;  // ERESTARTSYS, as io-wq leaks it
  if (result == -EAGAIN) coverage.ring_splice_again++;
  coverage.ring_splices++;
  note("  kernel: splice %llu -> %llu of %llu: %lld", (uint64_t)op.from, (uint64_t)op.to,
       op.length, (uint64_t)result);
  post((struct post){POST_SPLICE, false, (uint8_t)op.half, result, op.slot, op.generation});
  world_splice_ran(op.slot, op.generation, op.half);
}

static void post_accepts(uint32_t index) {
  struct acceptor *a = &acceptors[index];
  if (!a->armed) return;
  if (a->cancelled && eager(world.profile.run)) {
    a->armed = false;
    enum post_kind kind = a->careful ? POST_LISTENER : POST_ACCEPT;
    post((struct post){kind, false, 0, -ECANCELED, index, a->generation});
    return;
  }
  if (!kernel_socket(a->descriptor)->next_waiting || !eager(world.profile.post)) return;
  if (a->careful) {
    a->armed = false;
    coverage.accept_careful++;
    post((struct post){POST_LISTENER, false, 0, POLLIN, index, a->generation});
    return;
  }
  do {
    int fd = sys_accept(a->descriptor);
    int32_t result = fd < 0 ? -errno : fd;
    if (result == -EAGAIN) return;
    a->armed = result >= 0;
    coverage.accept_multishot++;
    post((struct post){POST_ACCEPT, a->armed, 0, result, index, a->generation});
  } while (a->armed && chance(800));
}

static void post_watch(struct fake_socket *s) {
  if (s->cancelled && eager(world.profile.run)) {
    s->watched = false;
    post((struct post){POST_WATCH, false, (uint8_t)s->side, -ECANCELED, s->slot, s->generation});
    return;
  }
  bool happened = s->edge && eager(world.profile.post);
  if (!happened && !chance(5)) return;  // spurious now and then
  if (happened) s->edge = false;
  uint32_t mask = socket_poll(s) & (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
  if (mask == 0) return;
  bool more = !chance(world.profile.self_ends);
  if (!more) {
    coverage.watch_ended_itself++;
    s->watched = false;
  }
  post((struct post){POST_WATCH, more, (uint8_t)s->side, (int32_t)mask, s->slot, s->generation});
}

static void ring_step(void) {
  for (uint32_t i = splices_count; i > 0; i--)
    if (i <= splices_count && eager(world.profile.run)) run_splice(i - 1);
  for (uint32_t i = 0; i < acceptors_count; i++) post_accepts(i);
  for (struct fake_socket *s = kernel.sockets; s; s = s->next)
    if (s->watched) post_watch(s);
}

void source_step(void) {
  for (struct fake_socket *s = kernel.sockets; s; s = s->next)
    if (s->state == FAKE_CONNECTING && eager(200)) connect_complete(s);
  if (world.profile.ring) ring_step();
}

bool source_quiet(void) {
  if (posts_count > 0 || splices_count > 0) return false;
  for (uint32_t i = 0; i < acceptors_count; i++) {
    const struct acceptor *a = &acceptors[i];
    if (a->armed && (a->cancelled || kernel_socket(a->descriptor)->next_waiting)) return false;
  }
  for (struct fake_socket *s = kernel.sockets; s; s = s->next) {
    if (s->watched && (s->edge || s->cancelled)) return false;
    if (s->state == FAKE_CONNECTING && !s->dead && !s->closed && s->outcome >= 0)
      return false;
  }
  return true;
}

// ---- reaping -----------------------------------------------------------------------------------

static void reap_watch(struct sluice_worker *w, const struct post *p) {
  enum sluice_side side = (enum sluice_side)p->which;
  if (p->result >= 0) worker_ready(w, p->slot, p->generation, side, (uint32_t)p->result);
  if (!p->more) worker_unwatched(w, p->slot, p->generation, side);
}

static void reap_accept(struct sluice_worker *w, const struct post *p) {
  struct listener *listener = listen_find(w, p->slot, p->generation);
  if (!listener) {
    if (p->kind == POST_ACCEPT && p->result >= 0) sys_close(p->result);
    return;
  }
  if (p->kind == POST_LISTENER) {
    if (p->result > 0) listen_some(w, listener);
    listen_ended(w, listener);
    return;
  }
  if (p->result >= 0) {
    listen_took(w, listener, p->result);
  } else if (p->result != -ECANCELED) {
    listen_failed(w, listener, -p->result);
  }
  if (!p->more) listen_ended(w, listener);
}

static void reap(struct sluice_worker *w, struct post p) {
  switch (p.kind) {
    case POST_WATCH:
      note(" reap watch of slot %llu side %llu: mask %llx more %llu", p.slot, p.which,
           (uint64_t)p.result, p.more);
      reap_watch(w, &p);
      return;
    case POST_SPLICE:
      note(" reap splice of slot %llu half %llu: %lld", p.slot, p.which, (uint64_t)p.result, 0);
      world_splice_reaped(p.slot, p.generation, p.which, p.result);
      worker_spliced(w, p.slot, p.generation, p.which, p.result);
      return;
    case POST_ACCEPT:
    case POST_LISTENER:
      note(" reap listener %llu: %lld more %llu", p.slot, (uint64_t)p.result, p.more, 0);
      reap_accept(w, &p);
      return;
  }
}

// Any operation's, but its own completions in their order.
static uint32_t reap_some(struct sluice_worker *w) {
  uint32_t count = 0;
  while (posts_count > 0 && eager(world.profile.reap)) {
    uint32_t index = (uint32_t)below(posts_count < 16 ? posts_count : 16);
    for (uint32_t i = 0; i < index; i++) {
      const struct post *a = &posts[i];
      const struct post *b = &posts[index];
      if (a->kind == b->kind && a->slot == b->slot && a->which == b->which) index = i;
    }
    struct post p = posts[index];
    memmove(&posts[index], &posts[index + 1], (--posts_count - index) * sizeof p);
    reap(w, p);
    count++;
  }
  return count;
}

static uint32_t epoll_reap(struct sluice_worker *w) {
  uint32_t count = 0;
  for (struct fake_socket *s = kernel.sockets; s; s = s->next) {
    if (!s->watched || !((s->edge && eager(world.profile.reap)) || chance(5))) continue;
    s->edge = false;
    uint32_t mask = socket_poll(s);
    if (mask == 0) continue;
    note(" event of slot %llu side %llu: mask %llx", s->slot, s->side, mask, 0);
    worker_ready(w, s->slot, s->generation, s->side, mask);
    count++;
  }
  for (uint32_t i = 0; i < acceptors_count; i++) {
    if (!acceptors[i].armed || !kernel_socket(acceptors[i].descriptor)->next_waiting) continue;
    if (!eager(world.profile.reap)) continue;
    struct listener *listener = listen_find(w, i, acceptors[i].generation);
    if (listener) listen_some(w, listener);
    count++;
  }
  return count;
}

static uint32_t simulated_wait(struct sluice_worker *w, uint64_t wait_ns, bool batch) {
  (void)batch;
  source_step();
  uint32_t count = world.profile.ring ? reap_some(w) : epoll_reap(w);
  if (count == 0 && wait_ns == UINT64_MAX) worker_woken(w);
  if (count == 0 && wait_ns != UINT64_MAX && wait_ns > 0) {
    world.now_ns += wait_ns < NS_PER_MS ? wait_ns : between(NS_PER_MS, wait_ns);
    kernel_clock();
  }
  w->now_ns = sys_now_ns();
  w->now_ms = w->now_ns / NS_PER_MS;
  return count;
}

static const struct source source_like_ring;
static const struct source source_like_epoll;

static bool simulated_open(struct sluice_worker *w, struct sluice_error *error) {
  *error = (struct sluice_error){0};
  w->source = world.profile.ring ? &source_like_ring : &source_like_epoll;
  posts_count = splices_count = acceptors_count = 0;
  memset(acceptors, 0, sizeof acceptors);
  flushing = false;
  return true;
}

static void simulated_close(struct sluice_worker *w) { (void)w; }

static const struct source source_like_ring = {
    .kind = sluice_events_ring, .open = simulated_open, .close = simulated_close,
    .watch = simulated_watch, .forget = ring_forget, .accept = simulated_accept,
    .refuse = ring_refuse, .splice = ring_splice, .wait = simulated_wait,
};
static const struct source source_like_epoll = {
    .kind = sluice_events_epoll, .open = simulated_open, .close = simulated_close,
    .watch = simulated_watch, .forget = epoll_forget, .accept = simulated_accept,
    .refuse = epoll_refuse, .splice = NULL, .wait = simulated_wait,
};
const struct source source_simulated = {.kind = sluice_events_ring, .open = simulated_open};
