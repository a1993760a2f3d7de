// A seed's world: its profile, who comes when, and the order in which things happen.
#include "simulation.h"

struct world world;

// ---- chance ------------------------------------------------------------------------------------

// splitmix64
uint64_t draw(void) {
  uint64_t z = (world.random += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

uint64_t below(uint64_t limit) { return limit == 0 ? 0 : draw() % limit; }

uint64_t between(uint64_t least, uint64_t most) {
  return most <= least ? least : least + below(most - least + 1);
}

bool chance(uint64_t per_mille) { return draw() % 1000 < per_mille; }

// Mostly small, sometimes all of it.
uint64_t amount(uint64_t most) {
  if (most == 0) return 0;
  uint64_t roll = draw() % 10;
  if (roll < 3) return between(1, most < 20 ? most : 20);
  if (roll < 6) return between(1, most < 2000 ? most : 2000);
  return roll < 9 ? between(1, most) : most;
}

// ---- a seed ------------------------------------------------------------------------------------

static void profile_choose(struct profile *p) {
  p->ring = chance(600);
  p->crowd = chance(12);
  p->clients = (uint32_t)(p->crowd ? 330 : between(3, 24));
  p->steps = p->crowd ? 900 : (uint32_t)between(300, 2400);
  // Multishot accept is used only with many slots and descriptors free.
  static const uint32_t slots[] = {2, 5, 16, 64, BURST + 3, BURST + 8, 9000};
  p->slots = p->crowd ? 512 : slots[below(sizeof slots / sizeof slots[0])];
  static const uint32_t buffers[] = {1, 2, 4, 16, 64, 64};
  p->buffers = p->crowd ? 300 : buffers[below(sizeof buffers / sizeof buffers[0])];
  p->pipes = (uint32_t)(chance(500) ? between(1, 3) : 16);
  p->descriptor_limit = (uint32_t)(chance(200) && !p->crowd ? between(6, 40) : 2500);
  p->shared_descriptors = (uint32_t)(chance(150) ? between(4, 40) : 2 * BURST + 1000);
  p->shared_connections = (uint32_t)(chance(150) ? between(1, 10) : BURST + between(2, 1000));
  p->pipe_size = chance(100) ? 8192 : chance(300) ? PIPE_SMALLEST : PIPE_WANTED;
  p->pipe_slots = (uint32_t)(chance(500) ? between(1, 16) : PIPE_SLOTS_MAX);
  p->slot_bytes = (uint32_t)(chance(300) ? between(20, 200) : 4096);
  static const uint32_t rooms[] = {200, 6000, 100000, 200000, 400000};
  p->queue_bytes = rooms[below(sizeof rooms / sizeof rooms[0])];
  static const uint32_t amounts[] = {300, 50000, 200000, 500000};
  p->amount = p->crowd ? 300 : amounts[below(sizeof amounts / sizeof amounts[0])];
  if (p->queue_bytes == 200 && p->amount > 20000) p->amount = 20000;
  p->post = (uint32_t)between(100, 1000);
  p->reap = (uint32_t)between(200, 1000);
  p->run = (uint32_t)between(100, 1000);
  p->short_drains = (uint32_t)(chance(700) ? 50 : 985);
  p->interrupts = chance(500) ? 0 : 5;
  p->self_ends = chance(500) ? 0 : 10;
  p->rough = (uint32_t)(p->crowd || chance(200) ? 0 : between(5, 90));
}

static void world_listen(uint32_t i) {
  struct sluice_endpoint address = {
      .family = sluice_family_ipv4, .low = 0x7f000001, .port = (uint16_t)(2500 + i)};
  struct sluice_listen_options options = {.backlog = 128};
  struct sluice_error error;
  world.listeners[i] = sluice_listener_open(&address, &options, &error);
  if (world.listeners[i] < 0) return;
  MUST(sluice_worker_listen(world.worker, world.listeners[i], i, chance(500)),
       "a listener is refused");
  world.listening[i] = true;
}

void world_begin(void) {
  uint64_t seed = world.seed;
  memset(&world, 0, sizeof world);
  world.seed = seed;
  world.random = seed * 0x2545f4914f6cdd1dull + 1;
  for (int i = 0; i < 4; i++) (void)draw();
  world.now_ns = between(1, 1000000000ull) * 1000;
  profile_choose(&world.profile);
  other_choose(&world.profile);
  const struct profile *p = &world.profile;
  note("ring %llu clients %llu slots %llu buffers %llu", p->ring, p->clients, p->slots,
       p->buffers);
  note("pipes %llu pipe slots %llu queue %llu amount %llu", p->pipes, p->pipe_slots,
       p->queue_bytes, p->amount);
  note("descriptors %llu shared %llu connections %llu", p->descriptor_limit,
       p->shared_descriptors, p->shared_connections, 0);
  world.shared = sluice_shared_create(p->shared_descriptors, p->shared_connections);
  if (world.shared) sluice_shared_spin(world.shared, seed % 4 == 0);
  struct sluice_options options = {.shared = world.shared, .slots = p->slots,
                                   .buffers = p->buffers, .pipes = p->pipes,
                                   .workers = p->others ? 2 : 1};
  struct sluice_error error;
  world.worker = sluice_worker_create(&options, &error);
  MUST(world.shared && world.worker, "no worker: %s", error.call);
  sluice_worker_measure(world.worker, true);
  other_begin();
  for (uint32_t i = 0; i < LISTENERS; i++) world_listen(i);
}

struct deal *deal_find(uint32_t slot, uint32_t generation) {
  struct deal **record = sluice_worker_record(world.worker, (struct sluice_id){slot, generation});
  return record ? *record : NULL;
}

// What a dial will come to; called by the fake kernel while the answer with the route is given.
void world_dial(struct fake_socket *s, uint32_t server) {
  (void)server;
  MUST(world.dealing, "a dial that nobody asked for");
  if (world.racing) world.dealing->rival_socket = s;
  uint64_t roll = below(100);
  if (s->local) {
    s->outcome = roll < 85 ? 0 : roll < 93 ? ECONNREFUSED : EAGAIN;
  } else {
    s->outcome = roll < 80 ? 0 : roll < 90 ? ECONNREFUSED : roll < 93 ? EHOSTUNREACH : -1;
  }
  if (s->outcome > 0) coverage.dial_refused++;
  if (s->outcome < 0) coverage.dial_never++;
  if (s->outcome != 0) return;
  struct actor *a = actor_make(true);
  a->deal = world.dealing;
  s->actor = a;
  if (world.racing) {
    world.dealing->rival = a;
    return;
  }
  world.dealing->server = a;
  world.dealing->socket[1] = s;
}

void world_connected(struct fake_socket *s) {
  coverage.dial_later++;
  s->peer->actor = s->actor;
  s->actor->socket = s->peer;
  s->actor = NULL;
}

// ---- steps -------------------------------------------------------------------------------------

static void client_comes(void) {
  uint32_t i = (uint32_t)below(LISTENERS);
  if (world.clients_begun == world.profile.clients || !world.listening[i]) return;
  world.clients_begun++;
  struct actor *a = actor_make(false);
  a->socket = socket_connect(world.listeners[i], a);
  note("client %llu comes to listener %llu", a->stream, i, 0, 0);
}

static void clients_all(void) {
  for (struct actor *a = world.actors; a; a = a->next)
    if (chance(600)) actor_step(a);
}

static void worker_turn(int32_t wait_ms) {
  note("turn at %llu us, wait %lld ms", world.now_ns / 1000, (uint64_t)wait_ms, 0, 0);
  struct sluice_stats was, is;
  sluice_worker_stats(world.worker, &was);
  uint32_t count = sluice_worker_turn(world.worker, wait_ms);
  sluice_worker_stats(world.worker, &is);
  coverage.promotions += is.promotions - was.promotions;
  coverage.demotions += is.demotions - was.demotions;
  coverage.pipe_misses += is.pipe_misses - was.pipe_misses;
  coverage.handed_over += is.handed_over - was.handed_over;
  coverage.received += is.received - was.received;
  coverage.accept_pauses += is.accept_pauses - was.accept_pauses;
  answer_events(count);
  check_deadlines();
}

static void time_passes(uint64_t most_ms) {
  world.now_ns += below(most_ms * NS_PER_MS);
  kernel_clock();
}

// A listener is given up, and opened again.
static void listener_changes(void) {
  uint32_t i = (uint32_t)below(LISTENERS);
  if (world.listening[i]) {
    sluice_worker_unlisten(world.worker, i);
    world.listening[i] = false;
    coverage.unlistened++;
  } else if (world.listeners[i] >= 0 && !sluice_worker_listening(world.worker, i)) {
    sys_close(world.listeners[i]);
    world.listeners[i] = -1;
  } else if (world.listeners[i] < 0) {
    world_listen(i);
  }
}

// Lets the data plane do all it can without the world moving; then nothing may be left undone.
static void settle(void) {
  source_flush(true);
  world.settling = true;
  uint32_t turns = 0;
  do {
    source_step();
    other_step();
    worker_turn(0);
    MUST(++turns < 100000, "it never comes to rest");
  } while (!source_quiet() || !worker_is_idle(world.worker) || world.worker->events_count > 0 ||
           other_unborn() > 0);
  source_flush(false);
  world.settling = false;
  check_step();
  check_quiet();
}

static void world_step(void) {
  world.step++;
  if (world.profile.crowd && world.step == world.profile.steps - 200) {
    world.now_ns += CROWD_MS * NS_PER_MS;
    settle();
  }
  if (world.profile.crowd && world.step == world.profile.steps - 100) {
    answer_kill_all(UINT32_MAX);  // more events than one batch holds
    settle();
  }
  uint64_t roll = below(1000);
  if (roll < 100) {
    for (int i = world.profile.crowd ? 8 : 1; i > 0; i--) client_comes();
  }
  else if (roll < 330) clients_all();
  else if (roll < 560) (void)network_move_any();
  else if (roll < 620) source_step();
  else if (roll < 900) worker_turn(chance(300) ? (int32_t)below(6) : 0);
  else if (roll < 960) time_passes(20);
  else if (roll < 964) time_passes(3000);
  else if (roll < 966) listener_changes();
  else if (roll < 990) answer_unasked();
  else if (roll < 992) worker_turn(-1);
  answer_facts();
  other_step();
  check_step();
}

void world_run(void) {
  while (world.step < world.profile.steps) {
    world_step();
    if (chance(world.profile.crowd ? 5 : 25)) settle();
  }
}

// ---- the end -----------------------------------------------------------------------------------

static void ending_step(void) {
  world.step++;
  uint32_t moves = world.moves;
  bool moved = false;
  for (struct actor *a = world.actors; a; a = a->next) {
    actor_finish_up(a);
    actor_step(a);
  }
  for (int i = 0; i < 3; i++) moved |= network_move_any();
  worker_turn(0);
  answer_facts();
  other_step();
  check_step();
  if (chance(100)) settle();
  moved |= moves != world.moves;
  time_passes(moved ? 20 : 1500);
}

// Everybody finishes, and time goes by until all that can be due was due.
void world_finish(void) {
  world.ending = true;
  world.ending_ns = world.now_ns;
  for (uint32_t i = 0; i < LISTENERS; i++) {
    if (world.listening[i]) sluice_worker_unlisten(world.worker, i);
    world.listening[i] = false;
  }
  uint64_t most_ns = 1200000 * NS_PER_MS;
  bool listening = true;
  while (world.worker->live > 0 || source_accepted_unseen() > 0 || listening ||
         other_unborn() > 0) {
    ending_step();
    listening = false;
    for (uint32_t i = 0; i < LISTENERS; i++)
      listening |= sluice_worker_listening(world.worker, i);
    MUST(world.now_ns - world.ending_ns < most_ns, "%u connections never end",
         world.worker->live);
  }
  for (uint32_t i = 0; i < LISTENERS; i++) {
    if (world.listeners[i] >= 0) sys_close(world.listeners[i]);
    world.listeners[i] = -1;
  }
  // What was sent to the actors still arrives.
  for (int quiet = 0; quiet < 20; quiet++) {
    uint32_t moves = world.moves;
    for (struct actor *a = world.actors; a; a = a->next) {
      a->reads = 1000;
      if (a->deal) actor_step(a);
    }
    if (network_move_any() || moves != world.moves) quiet = 0;
  }
  settle();
  check_end();
  sluice_worker_destroy(world.worker);
  other_end();
  sluice_shared_destroy(world.shared);
  MUST(kernel.open == 0, "%u descriptors are left open", kernel.open);
  while (world.deals) {
    struct deal *d = world.deals;
    world.deals = d->next;
    free(d);
  }
  while (world.actors) {
    struct actor *a = world.actors;
    world.actors = a->next;
    free(a->expects.segments);
    free(a);
  }
  kernel_reset();
}
