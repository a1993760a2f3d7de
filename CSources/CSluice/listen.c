// Listening sockets, and how many connections may come in. Every connection takes two credits of
// the process's descriptors at accept, so that no dial fails for want of one; what is kept back
// for admin, reload and logs is never lent. Without credit accepting pauses and looks again after
// ACCEPT_RETRY_MS; waiting clients stay in the kernel's queue.
#include "internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/un.h>

static bool set_int(int descriptor, int level, int name, int value) {
  return sys_set_option(descriptor, level, name, &value, sizeof value) == 0;
}

// What accepted sockets inherit, so that accepting costs no further calls.
static bool listener_inherited_options(int fd, const struct sluice_listen_options *options,
                                       struct sluice_error *error) {
  (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  (void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  (void)set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
  (void)set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
  if (options->congestion.length == 0) return true;
  error->call = "TCP_CONGESTION";
  return sys_set_option(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion.start,
                        options->congestion.length) == 0;
}

static bool listener_options(int fd, const struct sluice_endpoint *address,
                             const struct sluice_listen_options *options,
                             struct sluice_error *error) {
  if (address->family == sluice_family_unix) {
    // A Unix socket's file gets its inode's mode less the umask: never too much, even for a moment.
    (void)sys_file_mode(fd, options->mode);
    return true;
  }
  error->call = "setsockopt";
  if (!set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return false;
  if (options->shared_port && !set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
  if (address->family == sluice_family_ipv6 && !set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
    return false;
  return listener_inherited_options(fd, options, error);
}

bool sluice_listener_adopt(int32_t descriptor, enum sluice_family family,
                           const struct sluice_listen_options *options,
                           struct sluice_error *error) {
  *error = (struct sluice_error){0};
  if (family == sluice_family_unix || listener_inherited_options(descriptor, options, error))
    return true;
  error->number = errno;
  return false;
}

void sluice_listener_tune(int32_t descriptor, enum sluice_family family,
                          const struct sluice_listen_options *options) {
  // listen(2) on a socket that listens only sets its backlog.
  (void)sys_listen(descriptor, (int)options->backlog);
  if (family == sluice_family_unix || options->congestion.length == 0) return;
  (void)sys_set_option(descriptor, IPPROTO_TCP, TCP_CONGESTION, options->congestion.start,
                       options->congestion.length);
}

// Gives a Unix socket's file the bits that the umask took at bind. unix(7)
static bool listener_mode(const struct sluice_endpoint *address,
                          const struct sockaddr_storage *name, uint32_t mode) {
  const char *path = ((const struct sockaddr_un *)name)->sun_path;
  return address->family != sluice_family_unix || path[0] == 0 || sys_path_mode(path, mode) == 0;
}

int32_t sluice_listener_open(const struct sluice_endpoint *address,
                             const struct sluice_listen_options *options,
                             struct sluice_error *error) {
  *error = (struct sluice_error){.call = "socket"};
  int domain = address->family == sluice_family_ipv4   ? AF_INET
               : address->family == sluice_family_ipv6 ? AF_INET6
                                                       : AF_UNIX;
  int fd = sys_socket(domain, SOCK_STREAM);
  bool open = fd >= 0 && listener_options(fd, address, options, error);
  if (open) {
    struct sockaddr_storage name;
    socklen_t length = endpoint_encode(address, &name);
    error->call = "bind";
    open = sys_bind(fd, (struct sockaddr *)&name, length) == 0;
    if (open) error->call = "chmod";
    open = open && listener_mode(address, &name, options->mode);
  }
  if (open) {
    error->call = "listen";
    open = sys_listen(fd, (int)options->backlog) == 0;
  }
  if (open) {
    *error = (struct sluice_error){0};
    return fd;
  }
  error->number = errno;
  if (fd >= 0) sys_close(fd);
  return -1;
}

// ---- a worker's listeners ----------------------------------------------------------------------

uint32_t listen_index(const struct sluice_worker *w, const struct listener *listener) {
  return (uint32_t)(listener - w->listeners);
}

struct listener *listen_find(struct sluice_worker *w, uint32_t index, uint32_t generation) {
  if (index >= w->listeners_count) return NULL;
  struct listener *listener = &w->listeners[index];
  return listener->used && listener->generation == generation ? listener : NULL;
}

// ---- credit ------------------------------------------------------------------------------------

bool listen_scarce(const struct sluice_worker *w) {
  const struct sluice_shared *shared = w->shared;
  return atomic_load_explicit(&shared->descriptors, memory_order_relaxed) + 2 >
         shared->descriptors_max;
}

// So few left that a burst of one multishot accept per worker could take what is kept back.
static bool listen_careful(const struct sluice_worker *w) {
  const struct sluice_shared *shared = w->shared;
  uint64_t burst = (uint64_t)BURST * (w->workers > 0 ? w->workers : 1);
  uint64_t descriptors = atomic_load_explicit(&shared->descriptors, memory_order_relaxed);
  uint64_t connections = atomic_load_explicit(&shared->connections, memory_order_relaxed);
  return descriptors + 2 * burst > shared->descriptors_max ||
         connections + burst > shared->connections_max || w->live + burst > w->slots_max;
}

static void listen_take_credit(struct sluice_worker *w) {
  atomic_fetch_add_explicit(&w->shared->descriptors, 2, memory_order_relaxed);
  atomic_fetch_add_explicit(&w->shared->connections, 1, memory_order_relaxed);
}

void listen_give_credit(struct sluice_worker *w) {
  atomic_fetch_sub_explicit(&w->shared->descriptors, 2, memory_order_relaxed);
  atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
}

// Fetch-add, compare, undo: exact with any number of workers.
static enum want listen_try_credit(struct sluice_worker *w) {
  struct sluice_shared *shared = w->shared;
  if (w->live == w->slots_max) return WANT_CONNECTIONS;
  uint32_t descriptors =
      atomic_fetch_add_explicit(&shared->descriptors, 2, memory_order_relaxed);
  uint32_t connections =
      atomic_fetch_add_explicit(&shared->connections, 1, memory_order_relaxed);
  enum want want = connections + 1 > shared->connections_max ? WANT_CONNECTIONS
                          : descriptors + 2 > shared->descriptors_max ? WANT_DESCRIPTORS
                                                                      : WANT_NOTHING;
  if (want != WANT_NOTHING) listen_give_credit(w);
  return want;
}

// ---- accepting ---------------------------------------------------------------------------------

static void listen_arm(struct sluice_worker *w, struct listener *listener) {
  if (listener->armed || !listener->wanted || w->accept_paused) return;
  listener->careful = listen_careful(w);
  listener->cancelled = false;
  listener->armed = true;
  w->source->accept(w, listener);
}

static void listen_disarm(struct sluice_worker *w, struct listener *listener) {
  if (!listener->armed || listener->cancelled) return;
  listener->cancelled = true;
  w->source->refuse(w, listener);
}

static void listen_pause(struct sluice_worker *w, enum want want) {
  if (!w->accept_paused || w->want != want)
    atomic_fetch_add_explicit(&w->shared->pauses[want], 1, memory_order_relaxed);
  w->want = want;
  w->accept_retry_ms = w->now_ms + ACCEPT_RETRY_MS;
  if (w->accept_paused) return;
  w->accept_paused = true;
  handover_pause(w);
  atomic_fetch_add_explicit(&w->shared->paused, 1, memory_order_relaxed);
  w->stats.accept_pauses++;
  for (uint32_t i = 0; i < w->listeners_count; i++) listen_disarm(w, &w->listeners[i]);
}

// Before memory runs out: what is there already must be able to go on.
static enum want listen_overload(const struct sluice_worker *w) {
  if (atomic_load_explicit(&w->shared->pause, memory_order_relaxed)) return WANT_MEMORY;
  return w->buffers_used > w->buffers_max - w->buffers_max / BUFFERS_KEPT ? WANT_BUFFERS
                                                                         : WANT_NOTHING;
}

// Once a turn: is there too much already to accept more?
void listen_look(struct sluice_worker *w) {
  enum want want = listen_overload(w);
  if (want != WANT_NOTHING && !w->accept_paused) listen_pause(w, want);
}

// Accepting was paused and its time has come to try again.
void listen_review(struct sluice_worker *w) {
  enum want want = listen_overload(w);
  if (want == WANT_NOTHING) want = listen_try_credit(w);
  if (want != WANT_NOTHING) {
    listen_pause(w, want);
    return;
  }
  listen_give_credit(w);
  w->accept_paused = false;
  handover_pause(w);
  atomic_fetch_sub_explicit(&w->shared->paused, 1, memory_order_relaxed);
  for (uint32_t i = 0; i < w->listeners_count; i++) listen_arm(w, &w->listeners[i]);
}

// A connection that the event source accepted by itself.
void listen_took(struct sluice_worker *w, struct listener *listener, int descriptor) {
  w->stats.accepted++;
  if (w->live == w->slots_max) {
    sys_close(descriptor);
    listen_pause(w, WANT_CONNECTIONS);
    return;
  }
  listen_take_credit(w);
  if (!handover_give(w, listener, descriptor)) connection_accepted(w, listener->tag, descriptor);
  if (!listener->careful && listen_careful(w)) listen_disarm(w, listener);
}

// One that another worker has accepted, and has taken the credit for.
void listen_born(struct sluice_worker *w, uint32_t tag, int descriptor) {
  if (w->live < w->slots_max) {
    connection_accepted(w, tag, descriptor);
    return;
  }
  sys_close(descriptor);
  listen_give_credit(w);
}

// All else was about one connection that is gone (accept(2): treat as EAGAIN).
static bool system_exhausted(int number) {
  return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

void listen_failed(struct sluice_worker *w, struct listener *listener, int number) {
  (void)listener;
  bool descriptors = number == EMFILE || number == ENFILE;
  if (system_exhausted(number))
    listen_pause(w, descriptors ? WANT_DESCRIPTORS : WANT_MEMORY);
}

// One connection, with its credit taken before; or an errno, EDQUOT when there is no credit, which
// is told to the operator as what `want` says.
static int listen_one(struct sluice_worker *w, struct listener *listener,
                      enum want *want) {
  *want = listen_try_credit(w);
  if (*want != WANT_NOTHING) return EDQUOT;
  int descriptor = sys_accept(listener->descriptor);
  if (descriptor < 0) {
    int number = errno;
    listen_give_credit(w);
    return number;
  }
  w->stats.accepted++;
  if (!handover_give(w, listener, descriptor)) connection_accepted(w, listener->tag, descriptor);
  return 0;
}

// The listener is readable: accepts some.
void listen_some(struct sluice_worker *w, struct listener *listener) {
  for (int i = 0; i < ACCEPTS_PER_WAKE && listener->wanted; i++) {
    enum want want;
    int number = listen_one(w, listener, &want);
    if (number == EAGAIN) return;
    if (number == EDQUOT) {
      listen_pause(w, want);
      return;
    }
    if (number != 0) listen_failed(w, listener, number);
    if (w->accept_paused) return;
  }
}

// ---- giving up a listener ----------------------------------------------------------------------

static void listen_give_up(struct sluice_worker *w, struct listener *listener) {
  if (listener->leaving) return;
  listener->leaving = true;
  listener->leave_until_ms = w->now_ms + LEAVE_MS;
  w->listeners_leaving++;
}

// Accepts some of those who wait still; false when nobody does, or they had to wait too long for
// others to give back what a connection takes.
static bool listen_has_more(struct sluice_worker *w, struct listener *listener) {
  for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
    enum want want;
    int number = listen_one(w, listener, &want);
    if (number == EAGAIN) return false;
    if (number == EDQUOT || system_exhausted(number)) {
      w->leaving_blocked = true;
      return w->now_ms < listener->leave_until_ms;
    }
  }
  return true;
}

void listen_leave(struct sluice_worker *w) {
  w->leaving_blocked = false;
  for (uint32_t i = 0; i < w->listeners_count; i++) {
    struct listener *listener = &w->listeners[i];
    if (!listener->leaving || listen_has_more(w, listener)) continue;
    listener->leaving = false;
    listener->used = false;
    w->listeners_leaving--;
  }
}

// The event source has nothing of this listener any more.
void listen_ended(struct sluice_worker *w, struct listener *listener) {
  listener->armed = false;
  if (listener->wanted) {
    listen_arm(w, listener);
  } else {
    listen_give_up(w, listener);
  }
}

bool sluice_worker_listen(struct sluice_worker *w, int32_t descriptor, uint32_t tag,
                          bool exclusive) {
  struct listener *listener = NULL;
  for (uint32_t i = 0; i < w->listeners_count && !listener; i++)
    if (!w->listeners[i].used) listener = &w->listeners[i];
  if (!listener && w->listeners_count < LISTENERS_MAX)
    listener = &w->listeners[w->listeners_count++];
  if (!listener) return false;
  *listener = (struct listener){.descriptor = descriptor,
                                .tag = tag,
                                .generation = listener->generation + 1,
                                .used = true,
                                .wanted = true,
                                .exclusive = exclusive};
  listen_arm(w, listener);
  return true;
}

void sluice_worker_unlisten(struct sluice_worker *w, uint32_t tag) {
  for (uint32_t i = 0; i < w->listeners_count; i++) {
    struct listener *listener = &w->listeners[i];
    if (!listener->used || listener->tag != tag) continue;
    listener->wanted = false;
    if (listener->armed) {
      listen_disarm(w, listener);
    } else {
      listen_give_up(w, listener);
    }
  }
}

bool sluice_worker_listening(const struct sluice_worker *w, uint32_t tag) {
  for (uint32_t i = 0; i < w->listeners_count; i++)
    if (w->listeners[i].used && w->listeners[i].tag == tag) return true;
  return false;
}
