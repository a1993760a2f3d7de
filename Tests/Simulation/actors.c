// Clients and servers: what they send, how they read, how they end, and what they must see.
#include "simulation.h"

// A prime, so that no power of two of bytes lost or doubled goes unnoticed.
enum { PATTERN_PRIME = 1048573 };

static uint8_t *pattern;

static void pattern_make(void) {
  pattern = malloc(PATTERN_PRIME);
  MUST(pattern, "out of memory");
  uint64_t x = 88172645463325252ull;
  for (uint32_t i = 0; i < PATTERN_PRIME; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    pattern[i] = (uint8_t)(x >> 32);
  }
}

// The bytes of a stream from an offset on, as many of `length` as stand in one piece.
const uint8_t *pattern_at(uint32_t stream, uint64_t offset, size_t *length) {
  if (!pattern) pattern_make();
  uint64_t at = ((uint64_t)stream * 2654435761u + offset) % PATTERN_PRIME;
  if (*length > PATTERN_PRIME - at) *length = PATTERN_PRIME - at;
  return pattern + at;
}

// ---- scripts -----------------------------------------------------------------------------------

void script_add(struct script *script, uint32_t stream, uint64_t from, uint64_t length,
                bool open) {
  if (script->count == script->room) {
    script->room = script->room ? script->room * 2 : 8;
    script->segments = realloc(script->segments, script->room * sizeof *script->segments);
    MUST(script->segments, "out of memory");
  }
  script->segments[script->count++] = (struct segment){stream, open, from, length};
}

// The open last segment ends at this offset of its stream.
void script_cut(struct script *script, uint64_t at) {
  if (script->count == 0) return;
  struct segment *last = &script->segments[script->count - 1];
  if (!last->open) return;
  last->open = false;
  last->length = at > last->from ? at - last->from : 0;
}

static void script_check(struct actor *a, const uint8_t *bytes, size_t length) {
  struct script *script = &a->expects;
  while (length > 0) {
    MUST(script->at < script->count, "%s (stream %u) got %zu bytes too many after %llu",
         a->server ? "server" : "client", a->stream, length, (unsigned long long)script->total);
    const struct segment *segment = &script->segments[script->at];
    uint64_t left = segment->open ? UINT64_MAX : segment->length - script->done;
    if (left == 0) {
      script->at++;
      script->done = 0;
      continue;
    }
    size_t n = left < length ? (size_t)left : length;
    const uint8_t *expected = pattern_at(segment->stream, segment->from + script->done, &n);
    for (size_t i = 0; memcmp(bytes, expected, n) != 0 && i < n; i++)
      MUST(bytes[i] == expected[i],
           "%s (stream %u) got a wrong byte at %llu: stream %u at %llu was due",
           a->server ? "server" : "client", a->stream, (unsigned long long)(script->total + i),
           segment->stream, (unsigned long long)(segment->from + script->done + i));
    script->done += n;
    script->total += n;
    bytes += n;
    length -= n;
  }
}

// ---- born --------------------------------------------------------------------------------------

struct actor *actor_make(bool server) {
  struct actor *a = calloc(1, sizeof *a);
  MUST(a, "out of memory");
  a->server = server;
  a->stream = world.streams++;
  a->next = world.actors;
  world.actors = a;
  a->steady = !chance(world.profile.rough * 10);
  a->to_send = chance(150) ? 0 : amount(world.profile.amount);
  a->reads = (uint32_t)(chance(600) ? 800 : between(20, 400));
  a->writes = (uint32_t)(chance(600) ? 800 : between(20, 400));
  a->read_most = a->reset_at = a->close_at = a->vanish_at = UINT64_MAX;
  a->waits_for_fin = chance(300);
  a->stays = chance(world.profile.crowd ? 950 : 100);
  if (a->steady) return a;
  if (server && chance(250)) {  // takes the connection, and resets it without a word
    a->to_send = 0;
    a->stays = true;
    a->reset_at = 0;
    return a;
  }
  uint64_t at = below(2 * a->to_send + 3000);
  switch (below(4)) {
    case 0: a->reset_at = at; break;
    case 1: a->close_at = at; break;
    case 2: a->vanish_at = at; break;
    default: a->read_most = at; break;
  }
  return a;
}

// ---- a step ------------------------------------------------------------------------------------

static void actor_read(struct actor *a) {
  static uint8_t bytes[262144];
  uint64_t most = a->read_most - a->expects.total;
  if (most > sizeof bytes) most = chance(500) ? sizeof bytes : amount(sizeof bytes);
  if (most == 0) return;
  ssize_t n = socket_receive(a->socket, bytes, (size_t)most);
  if (n > 0) {
    world.moves++;
    coverage.bytes += (uint64_t)n;
    script_check(a, bytes, (size_t)n);
  } else if (n == 0 && a->socket->fin_in) {
    note("stream %llu saw the FIN after %llu bytes", a->stream, a->expects.total, 0, 0);
    a->end = ACTOR_SAW_FIN;
  } else if (n == 0 || errno != EAGAIN) {
    note("stream %llu saw a reset after %llu bytes", a->stream, a->expects.total, 0, 0);
    a->end = ACTOR_SAW_RESET;
    socket_close(a->socket);
  }
  if (a->end != ACTOR_GOES_ON && a->deal) check_judge(a->deal);
}

static void actor_write(struct actor *a) {
  size_t n = (size_t)amount(a->to_send - a->sent);
  const uint8_t *bytes = pattern_at(a->stream, a->sent, &n);
  if (n == 0) return;
  struct iovec part = {(uint8_t *)(uintptr_t)bytes, n};
  ssize_t sent = socket_send(a->socket, &part, 1);
  if (sent > 0) {
    world.moves++;
    a->sent += (uint64_t)sent;
  } else if (errno != EAGAIN) {
    a->to_send = a->sent;  // reading will tell why
  }
}

static void actor_quit(struct actor *a, const char *how) {
  note(how, a->stream, a->sent, a->expects.total, 0);
  world.moves++;
  a->end = ACTOR_QUIT;
}

static bool actor_quits(struct actor *a) {
  uint64_t moved = a->sent + a->expects.total;
  if (moved >= a->reset_at) {
    actor_quit(a, "stream %llu resets after %llu out, %llu in");
    socket_reset(a->socket);
  } else if (moved >= a->close_at) {
    actor_quit(a, "stream %llu closes after %llu out, %llu in");
    socket_close(a->socket);
  } else if (moved >= a->vanish_at) {
    actor_quit(a, "stream %llu vanishes after %llu out, %llu in");
    coverage.vanished++;
    a->socket->vanished = true;
    a->socket->vanished_ns = world.now_ns;
  }
  return a->end == ACTOR_QUIT;
}

void actor_step(struct actor *a) {
  struct fake_socket *s = a->socket;
  if (!s || s->state != FAKE_OPEN || a->end == ACTOR_QUIT || a->end == ACTOR_SAW_RESET) return;
  if (chance(100) && actor_quits(a)) return;
  if (a->end == ACTOR_GOES_ON && chance(a->reads)) actor_read(a);
  if (a->end == ACTOR_SAW_RESET) return;
  if (!a->finished && a->sent < a->to_send && chance(a->writes)) actor_write(a);
  bool fin = a->sent == a->to_send && !a->finished && chance(300);
  if (a->waits_for_fin && a->end != ACTOR_SAW_FIN) fin = false;
  if (a->stays && a->end != ACTOR_SAW_FIN) fin = false;
  if (fin) {
    note("stream %llu sends its FIN after %llu", a->stream, a->sent, 0, 0);
    a->finished = true;
    world.moves++;
    socket_finish(s);
  }
  if (a->finished && a->end == ACTOR_SAW_FIN && !s->closed && chance(300)) socket_close(s);
}

// The seed ends: whoever is left gets on with it, and later gives up.
void actor_finish_up(struct actor *a) {
  struct fake_socket *s = a->socket;
  if (!s || s->state != FAKE_OPEN || a->end == ACTOR_QUIT || a->end == ACTOR_SAW_RESET) return;
  a->reads = a->writes = 800;
  a->waits_for_fin = a->stays = false;
  uint64_t patience = (a->read_most != UINT64_MAX ? 40000 : 200000) * NS_PER_MS;
  if (world.now_ns - world.ending_ns > patience && !s->closed) a->reset_at = 0;
}
