// The fake kernel: sockets with two queues each, pipes that fill by slots and by bytes, and the
// functions of sys.h over them. What it does is what Linux was seen to do:
//
// - data that came before a reset stays readable; then one ECONNRESET (EPIPE after a FIN), then 0
// - closing with unread data, or with SO_LINGER 0, is a reset that destroys what was not delivered
// - data for a closed socket is answered with a reset
// - splice: EAGAIN for a full pipe and for an empty socket alike, 0 only at the end with room
// - a short send means that the queue is full; POLLOUT comes back with a third of it free
#include "simulation.h"

#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/un.h>

struct kernel kernel;

// ---- queues ------------------------------------------------------------------------------------

static void queue_put(struct queue *q, const uint8_t *bytes, size_t length) {
  if (q->start + q->length + length > q->room) {
    if (q->length > 0) memmove(q->bytes, q->bytes + q->start, q->length);
    q->start = 0;
    if (q->length + length > q->room) {
      q->room = (q->length + length) * 2;
      q->bytes = realloc(q->bytes, q->room);
      MUST(q->bytes, "out of memory");
    }
  }
  memcpy(q->bytes + q->start + q->length, bytes, length);
  q->length += length;
}

static void queue_drop(struct queue *q, size_t length) {
  q->start += length;
  q->length -= length;
  if (q->length == 0) q->start = 0;
}

static void queue_free(struct queue *q) {
  free(q->bytes);
  *q = (struct queue){0};
}

// ---- descriptors -------------------------------------------------------------------------------

static struct fake_socket *socket_new(void) {
  struct fake_socket *s = calloc(1, sizeof *s);
  MUST(s, "out of memory");
  s->descriptor = -1;
  s->send_room = between(world.profile.queue_bytes / 30, world.profile.queue_bytes);
  s->receive_room = between(world.profile.queue_bytes / 30, world.profile.queue_bytes);
  s->next = kernel.sockets;
  kernel.sockets = s;
  return s;
}

void kernel_reset(void) {
  while (kernel.sockets) {
    struct fake_socket *s = kernel.sockets;
    kernel.sockets = s->next;
    queue_free(&s->receive);
    queue_free(&s->send);
    free(s);
  }
  while (kernel.pipes) {
    struct fake_pipe *p = kernel.pipes;
    kernel.pipes = p->next;
    queue_free(&p->bytes);
    free(p);
  }
  memset(&kernel, 0, sizeof kernel);
}

// The lowest free one, as the real kernel does: a stale descriptor hits somebody else's socket.
static int descriptor_new(enum descriptor_kind kind) {
  if (kernel.open >= world.profile.descriptor_limit) {
    coverage.out_of_descriptors++;
    errno = EMFILE;
    return -1;
  }
  for (int fd = 3; fd < DESCRIPTORS_MAX; fd++) {
    if (kernel.descriptors[fd].kind != NOTHING) continue;
    kernel.descriptors[fd].kind = kind;
    kernel.open++;
    return fd;
  }
  fail("the simulation's table of descriptors is too small");
}

static struct fake_descriptor *descriptor_of(int fd) {
  MUST(fd >= 0 && fd < DESCRIPTORS_MAX && kernel.descriptors[fd].kind != NOTHING,
       "descriptor %d is used but not open", fd);
  return &kernel.descriptors[fd];
}

struct fake_socket *kernel_socket(int fd) {
  struct fake_descriptor *d = descriptor_of(fd);
  MUST(d->kind == SOCKET, "descriptor %d is no socket", fd);
  return d->socket;
}

int kernel_descriptor(struct fake_socket *s) {
  int fd = descriptor_new(SOCKET);
  if (fd < 0) return -1;
  kernel.descriptors[fd].socket = s;
  s->descriptor = fd;
  return fd;
}

// ---- sockets -----------------------------------------------------------------------------------

bool socket_writable(const struct fake_socket *s) {
  return s->send_room - s->send.length >= (s->send_room + 2) / 3;
}

uint32_t socket_poll(struct fake_socket *s) {
  if (s->state == FAKE_LISTENING) return s->next_waiting ? POLLIN : 0;
  if (s->state == FAKE_CONNECTING && !s->dead) return 0;
  uint32_t mask = 0;
  if (s->receive.length > 0 || s->fin_in || s->dead || s->error) mask |= POLLIN;
  if (s->fin_in || s->dead) mask |= POLLRDHUP;
  if (s->dead || (s->fin_in && s->fin_out)) mask |= POLLHUP;
  if (s->error) mask |= POLLERR;
  if (s->dead || s->fin_out || socket_writable(s)) {
    mask |= POLLOUT;
  } else {
    s->nospace = true;
  }
  return mask;
}

ssize_t socket_receive(struct fake_socket *s, void *to, size_t length) {
  if (s->receive.length > 0) {
    size_t n = length < s->receive.length ? length : s->receive.length;
    memcpy(to, s->receive.bytes + s->receive.start, n);
    queue_drop(&s->receive, n);
    s->read += n;
    s->moved_ns = world.now_ns;
    return (ssize_t)n;
  }
  if (s->fin_in) {
    if (s->fin_read_ns == 0) s->fin_read_ns = world.now_ns;
    return 0;
  }
  if (s->error) {
    errno = s->error;
    s->error = 0;
    return -1;
  }
  if (s->dead) return 0;
  errno = EAGAIN;
  return -1;
}

ssize_t socket_send(struct fake_socket *s, const struct iovec *parts, size_t count) {
  if (s->error) {
    errno = s->error;
    s->error = 0;
    return -1;
  }
  if (s->dead || s->fin_out) {
    errno = EPIPE;
    return -1;
  }
  size_t room = s->state == FAKE_OPEN ? s->send_room - s->send.length : 0;
  if (room == 0) {
    s->nospace = true;
    errno = EAGAIN;
    return -1;
  }
  size_t done = 0;
  size_t asked = 0;
  for (size_t i = 0; i < count; i++) {
    size_t n = parts[i].iov_len < room - done ? parts[i].iov_len : room - done;
    if (n > 0) queue_put(&s->send, parts[i].iov_base, n);
    done += n;
    asked += parts[i].iov_len;
  }
  if (done < asked) s->nospace = true;
  s->moved_ns = world.now_ns;
  return (ssize_t)done;
}

void socket_finish(struct fake_socket *s) { s->fin_out = true; }

void socket_reset(struct fake_socket *s) {
  s->closed = true;
  if (s->dead) return;
  s->send.length = 0;
  s->rst_out = true;
  s->edge = false;
}

void socket_close(struct fake_socket *s) {
  s->closed = true;
  if (s->state != FAKE_OPEN || s->dead) return;
  bool over = s->fin_sent && s->fin_in && s->send.length == 0;
  bool abort = (s->linger && !s->local) || s->receive.length > 0;
  if (abort && !over) {
    if (!s->local) s->send.length = 0;
    s->rst_out = true;
  } else {
    s->fin_out = true;
  }
}

static void socket_dies(struct fake_socket *s, int number) {
  if (s->dead) return;
  s->dead = true;
  if (!s->closed && !(s->fin_in && s->fin_sent)) s->error = number;
  s->send.length = 0;
  s->edge = true;
}

static void socket_pair(struct fake_socket *a, struct fake_socket *b) {
  a->peer = b;
  b->peer = a;
  a->state = b->state = FAKE_OPEN;
  a->opened_ns = b->opened_ns = world.now_ns;
}

// An actor connects to a listening socket: its end stands at once.
struct fake_socket *socket_connect(int listener, struct actor *actor) {
  struct fake_socket *waiting = kernel_socket(listener);
  struct fake_socket *ours = socket_new();
  struct fake_socket *theirs = socket_new();
  socket_pair(ours, theirs);
  ours->actor = actor;
  theirs->keepalive = waiting->keepalive;
  struct fake_socket *last = waiting;
  while (last->next_waiting) last = last->next_waiting;
  last->next_waiting = theirs;
  waiting->edge = true;
  return ours;
}

// ---- the network -------------------------------------------------------------------------------

// Moves something from one end to the other: bytes, then a FIN or a reset.
bool network_move(struct fake_socket *s, size_t most) {
  struct fake_socket *to = s->peer;
  if (!to || s->vanished || to->vanished || s->dead) return false;
  if (s->send.length > 0) {
    if (to->closed && to->local && to->send.length > 0) return false;  // that is there already
    if (to->closed) {  // nobody is there: a reset comes back, and what that end had to say is lost
      to->dead = true;
      to->send.length = 0;
      to->rst_out = false;
      socket_dies(s, s->fin_in ? EPIPE : ECONNRESET);
      return true;
    }
    size_t room = to->receive_room - to->receive.length;
    size_t n = s->send.length < most ? s->send.length : most;
    if (n > room) n = room;
    if (n == 0) return false;
    queue_put(&to->receive, s->send.bytes + s->send.start, n);
    queue_drop(&s->send, n);
    to->arrived += n;
    to->edge = true;
    if (s->nospace && socket_writable(s)) {
      s->nospace = false;
      s->edge = true;
    }
    return true;
  }
  if (s->rst_out) {
    s->rst_out = false;
    s->dead = true;
    socket_dies(to, to->fin_in ? EPIPE : ECONNRESET);
    coverage.reset_received++;
    return true;
  }
  if (s->fin_out && !s->fin_sent) {
    s->fin_sent = true;
    to->fin_in = true;
    to->edge = true;
    return true;
  }
  return false;
}

bool network_move_any(void) {
  bool moved = false;
  for (struct fake_socket *s = kernel.sockets; s; s = s->next)
    if (s->state == FAKE_OPEN && chance(700))
      moved |= network_move(s, chance(500) ? amount(100000) : SIZE_MAX);
  return moved;
}

bool connect_complete(struct fake_socket *s) {
  if (s->state != FAKE_CONNECTING || s->dead || s->closed || s->outcome < 0) return false;
  if (s->outcome > 0) {
    socket_dies(s, s->outcome);
    return true;
  }
  struct fake_socket *theirs = socket_new();
  theirs->local = s->local;
  socket_pair(s, theirs);
  s->edge = true;
  world_connected(s);
  return true;
}

// What the kernel gives up by itself as time goes by.
void kernel_clock(void) {
  for (struct fake_socket *s = kernel.sockets; s; s = s->next) {
    if (s->descriptor < 0 || s->dead || s->closed) continue;
    if (s->state == FAKE_CONNECTING && s->outcome == -1 &&
        world.now_ns - s->opened_ns > CONNECT_GIVES_UP_MS * NS_PER_MS)
      socket_dies(s, ETIMEDOUT);
    if (!s->peer || !s->peer->vanished) continue;
    if (s->send.length == 0 && !s->keepalive && !s->fin_out) continue;
    uint64_t since = s->peer->vanished_ns > s->moved_ns ? s->peer->vanished_ns : s->moved_ns;
    if (world.now_ns - since > VANISHED_MS * NS_PER_MS) {
      coverage.timed_out++;
      socket_dies(s, ETIMEDOUT);
    }
  }
}

// ---- pipes and splice --------------------------------------------------------------------------

static bool interrupted(void) {
  if (!chance(world.profile.interrupts)) return false;
  coverage.interrupted++;
  errno = EINTR;
  return true;
}

static ssize_t splice_fill(struct fake_socket *s, struct fake_pipe *p, size_t length) {
  if (p->slots_used == world.profile.pipe_slots) {
    if (s->receive.length > 0 || s->fin_in) coverage.pipe_full++;
    errno = EAGAIN;
    return -1;
  }
  if (s->receive.length == 0) {
    ssize_t n = socket_receive(s, NULL, 0);
    if (n < 0 && errno == EAGAIN) coverage.fill_again++;
    return n;
  }
  if (length > 98304) length = between(65536, 98304);  // one to one and a half segments
  size_t done = 0;
  while (done < length && s->receive.length > 0 && p->slots_used < world.profile.pipe_slots) {
    size_t n = between(1, world.profile.slot_bytes);
    if (n > s->receive.length) n = s->receive.length;
    if (n > length - done) n = length - done;
    queue_put(&p->bytes, s->receive.bytes + s->receive.start, n);
    queue_drop(&s->receive, n);
    p->slots[(p->slots_first + p->slots_used++) % PIPE_SLOTS_MAX] = (uint32_t)n;
    done += n;
    if (chance(20)) break;  // short for no reason that the caller could know
  }
  s->read += done;
  s->moved_ns = world.now_ns;
  return (ssize_t)done;
}

static ssize_t splice_drain(struct fake_pipe *p, struct fake_socket *s, size_t length) {
  if (p->bytes.length == 0) {
    errno = EAGAIN;
    return -1;
  }
  if (length > p->bytes.length) length = p->bytes.length;
  if (chance(world.profile.short_drains)) length = amount(length);
  struct iovec part = {p->bytes.bytes + p->bytes.start, length};
  ssize_t n = socket_send(s, &part, 1);
  if (n < 0) {
    if (errno == EAGAIN) coverage.drain_again++;
    return n;
  }
  queue_drop(&p->bytes, (size_t)n);
  for (size_t left = (size_t)n; left > 0;) {
    uint32_t *slot = &p->slots[p->slots_first];
    uint32_t part_of = *slot < left ? *slot : (uint32_t)left;
    *slot -= part_of;
    left -= part_of;
    if (*slot == 0) {
      p->slots_first = (p->slots_first + 1) % PIPE_SLOTS_MAX;
      p->slots_used--;
    }
  }
  return n;
}

ssize_t kernel_splice(int from, int to, size_t length) {
  struct fake_descriptor *a = descriptor_of(from);
  struct fake_descriptor *b = descriptor_of(to);
  if (interrupted()) return -1;
  if (a->kind == SOCKET && b->kind == PIPE_WRITE) return splice_fill(a->socket, b->pipe, length);
  MUST(a->kind == PIPE_READ && b->kind == SOCKET, "splice from %d to %d", from, to);
  return splice_drain(a->pipe, b->socket, length);
}

// ---- sys.h -------------------------------------------------------------------------------------

uint64_t sys_now_ns(void) { return world.now_ns; }

void sys_relax(void) { world.now_ns += 1000; }

ssize_t sys_recv(int fd, void *to, size_t length) {
  struct fake_socket *s = kernel_socket(fd);
  if (interrupted()) return -1;
  ssize_t n = socket_receive(s, to, length);
  if (n < 0 && errno == EAGAIN) coverage.receive_again++;
  if (n > 0 && (size_t)n < length) coverage.receive_short++;
  note("  recv %llu of %llu: %lld", (uint64_t)fd, length, (uint64_t)n, 0);
  return n;
}

ssize_t sys_send(int fd, const struct iovec *parts, size_t count) {
  struct fake_socket *s = kernel_socket(fd);
  if (interrupted()) return -1;
  size_t asked = 0;
  for (size_t i = 0; i < count; i++) asked += parts[i].iov_len;
  MUST(asked > 0, "a send of nothing");
  ssize_t n = socket_send(s, parts, count);
  if (n < 0 && errno == EAGAIN) coverage.send_again++;
  if (n > 0 && (size_t)n < asked) coverage.send_short++;
  note("  send %llu of %llu: %lld", (uint64_t)fd, asked, (uint64_t)n, 0);
  return n;
}

ssize_t sys_splice(int from, int to, size_t length) {
  coverage.inline_splices++;
  ssize_t n = kernel_splice(from, to, length);
  note("  splice %llu -> %llu of %llu: %lld", (uint64_t)from, (uint64_t)to, length, (uint64_t)n);
  return n;
}

int sys_socket(int domain, int type) {
  (void)type;
  struct fake_socket *s = socket_new();
  s->local = domain == AF_UNIX;
  return kernel_descriptor(s);
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t length) {
  struct fake_socket *s = kernel_socket(fd);
  MUST(s->state == FAKE_NEW && length >= sizeof(sa_family_t), "connect of a used socket");
  uint32_t server;
  if (address->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    server = ntohs(in.sin_port);
  } else {
    struct sockaddr_un un;
    memcpy(&un, address, length);
    server = (uint32_t)(un.sun_path[0] - '0');
  }
  s->state = FAKE_CONNECTING;
  s->opened_ns = world.now_ns;
  world_dial(s, server);
  note("  connect %llu to server %llu: outcome %lld", (uint64_t)fd, server, (uint64_t)s->outcome,
       0);
  if (s->outcome > 0 && (s->local || chance(300))) {
    errno = s->outcome;
    s->dead = true;
    return -1;
  }
  if (s->outcome == 0 && (s->local || chance(100))) {
    coverage.dial_now++;
    connect_complete(s);
    return 0;
  }
  errno = EINPROGRESS;
  return -1;
}

int sys_accept(int fd) {
  struct fake_socket *listener = kernel_socket(fd);
  struct fake_socket *s = listener->next_waiting;
  if (!s) {
    errno = EAGAIN;
    return -1;
  }
  if (kernel_descriptor(s) < 0) return -1;
  listener->next_waiting = s->next_waiting;
  s->next_waiting = NULL;
  if (chance(5)) {
    coverage.accept_aborted++;
    kernel.descriptors[s->descriptor].kind = NOTHING;
    kernel.open--;
    s->descriptor = -1;
    socket_reset(s);
    errno = ECONNABORTED;
    return -1;
  }
  note("  accept: %llu", (uint64_t)s->descriptor, 0, 0, 0);
  return s->descriptor;
}

int sys_shutdown_write(int fd) {
  struct fake_socket *s = kernel_socket(fd);
  note("  shutdown %llu", (uint64_t)fd, 0, 0, 0);
  if (s->dead || s->state != FAKE_OPEN) {
    errno = ENOTCONN;
    return -1;
  }
  socket_finish(s);
  return 0;
}

int sys_close(int fd) {
  struct fake_descriptor *d = descriptor_of(fd);
  note("  close %llu", (uint64_t)fd, 0, 0, 0);
  if (d->kind == SOCKET) {
    struct fake_socket *s = d->socket;
    source_descriptor_closed(s);
    if (s->linger && s->state == FAKE_OPEN && !s->dead) coverage.reset_sent++;
    while (s->next_waiting) {  // a listener's queue
      struct fake_socket *waiting = s->next_waiting;
      s->next_waiting = waiting->next_waiting;
      waiting->next_waiting = NULL;
      socket_reset(waiting);
    }
    socket_close(s);
    s->descriptor = -1;
    s->watched = false;
  } else {
    d->pipe->ends--;
  }
  *d = (struct fake_descriptor){0};
  kernel.open--;
  return 0;
}

int sys_pipe(int ends[2]) {
  int a = descriptor_new(PIPE_READ);
  int b = a < 0 ? -1 : descriptor_new(PIPE_WRITE);
  if (b < 0) {
    if (a >= 0) {
      kernel.descriptors[a] = (struct fake_descriptor){0};
      kernel.open--;
    }
    coverage.pipe_denied++;
    return -1;
  }
  struct fake_pipe *p = calloc(1, sizeof *p);
  MUST(p, "out of memory");
  p->ends = 2;
  p->next = kernel.pipes;
  kernel.pipes = p;
  kernel.descriptors[a].pipe = kernel.descriptors[b].pipe = p;
  ends[0] = a;
  ends[1] = b;
  return 0;
}

int sys_pipe_size(int fd, int wanted) {
  MUST(descriptor_of(fd)->kind == PIPE_WRITE && wanted > 0, "pipe size of %d", fd);
  return world.profile.pipe_size;
}
