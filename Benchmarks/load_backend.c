// The checking backend: takes the PROXY header it was told to expect, answers the hello, then
// plays the other end of the workload.
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Connections taken per wake-up of the listener, so that live ones are not starved by churn.
#define ACCEPT_BATCH 32
// An idle connection that is told to move does one round trip of this size.
#define IDLE_MOVE 65536u

struct backend {
  struct table table;
  struct tally *tally;
  bool stopped;
};

// After its last count and check: once all have left, the client may take the result.
static void leave(struct conn *conn) {
  if (conn->phase != GREETING) atomic_fetch_sub(&backend_open, 1);
  table_close(conn);
}

static int listen_at(const struct sockaddr_storage *address) {
  int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  tune(fd); // accepted sockets inherit it
  if (fd < 0 || bind(fd, (const struct sockaddr *)address, options.listen_length) != 0 ||
      listen(fd, 4096) != 0) {
    perror("load: listen");
    exit(2);
  }
  return fd;
}

struct listeners backend_listen(void) {
  struct listeners listeners = {.count = options.addresses};
  struct sockaddr_storage address = options.listen;
  struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
  for (unsigned i = 0; i < listeners.count; i++) {
    listeners.fds[i] = listen_at(&address);
    if (address.ss_family == AF_INET) v4->sin_addr.s_addr = htonl(ntohl(v4->sin_addr.s_addr) + 1);
  }
  return listeners;
}

// ---- the PROXY header ----

struct addresses {
  int family;
  unsigned char source[16], destination[16];
  unsigned source_port, destination_port;
};

// Both parsers return the header's length, 0 when more bytes are needed, -1 when it is malformed.
static int parse_v2(const unsigned char *head, unsigned length, struct addresses *found) {
  static const unsigned char signature[] = "\r\n\r\n\0\r\nQUIT\n";
  if (memcmp(head, signature, length < 12 ? length : 12) != 0) return -1;
  if (length < 16) return 0;
  unsigned rest = (unsigned)(head[14] << 8 | head[15]);
  unsigned width = head[13] == 0x11 ? 4 : head[13] == 0x21 ? 16 : 0;
  if (head[12] != 0x21 || width == 0 || rest < 2 * width + 4 || rest + 16 > PROXY_HEADER_MAX)
    return -1;
  if (length < 16 + rest) return 0;
  found->family = width == 4 ? 4 : 6;
  memcpy(found->source, head + 16, width);
  memcpy(found->destination, head + 16 + width, width);
  const unsigned char *ports = head + 16 + 2 * width;
  found->source_port = (unsigned)(ports[0] << 8 | ports[1]);
  found->destination_port = (unsigned)(ports[2] << 8 | ports[3]);
  // What follows the addresses must be whole TLVs.
  unsigned at = 16 + 2 * width + 4, end = 16 + rest;
  while (at < end) {
    if (at + 3 > end) return -1;
    at += 3u + (unsigned)(head[at + 1] << 8 | head[at + 2]);
  }
  return at == end ? (int)end : -1;
}

static int parse_v1(const unsigned char *head, unsigned length, struct addresses *found) {
  if (memcmp(head, "PROXY ", length < 6 ? length : 6) != 0) return -1;
  unsigned window = length < 107 ? length : 107;
  const unsigned char *end = memmem(head, window, "\r\n", 2);
  if (end == NULL) return window < 107 ? 0 : -1;
  char line[108], family[5], source[46], destination[46], again[108];
  memcpy(line, head, (size_t)(end - head));
  line[end - head] = 0;
  if (sscanf(line, "PROXY %4s %45s %45s %u %u", family, source, destination, &found->source_port,
             &found->destination_port) != 5)
    return -1;
  // Written back the strict way it must be the same line: no other spaces, no leading zeroes.
  snprintf(again, sizeof again, "PROXY %s %s %s %u %u", family, source, destination,
           found->source_port, found->destination_port);
  if (strcmp(line, again) != 0) return -1;
  found->family = strcmp(family, "TCP4") == 0 ? 4 : strcmp(family, "TCP6") == 0 ? 6 : 0;
  int kind = found->family == 4 ? AF_INET : AF_INET6;
  if (found->family == 0 || inet_pton(kind, source, found->source) != 1 ||
      inet_pton(kind, destination, found->destination) != 1)
    return -1;
  return (int)(end - head) + 2;
}

static int parse_header(const struct conn *conn, struct addresses *found) {
  memset(found, 0, sizeof *found);
  switch (options.proxy) {
    case PROXY_NONE: return 0;
    case PROXY_V1: return parse_v1(conn->head, conn->head_length, found);
    case PROXY_V2: return parse_v2(conn->head, conn->head_length, found);
  }
  return -1;
}

// The header must name the client's own socket and the address that the client connected to.
static bool header_is_true(const struct addresses *found, const struct hello *hello) {
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)&options.to;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&options.to;
  bool four = found->family == 4;
  const void *to = four ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr;
  size_t width = four ? 4 : 16;
  return found->family == hello->family && memcmp(found->source, hello->address, width) == 0 &&
         memcmp(found->destination, to, width) == 0 && found->source_port == hello->port &&
         found->destination_port == ntohs(four ? v4->sin_port : v6->sin6_port);
}

// ---- what each workload does once greeted ----

static void begin(struct backend *backend, struct conn *conn, const struct hello *hello) {
  switch (options.workload) {
    case BULK:
      conn->phase = STREAMING;
      conn->sent_target = options.direction == UP ? 0 : options.bytes;
      conn->fin_out = options.direction == UP;
      return;
    case ROUND_TRIP:
    case OPEN_LOOP:
    case IDLE:
      conn->phase = RECEIVING;
      conn->got_target = options.workload == IDLE ? IDLE_MOVE : options.size;
      return;
    case CHURN:
      if (options.closes_first == BACKEND) leave(conn);
      else conn->phase = FINISHING;
      return;
    case INTEGRITY:
      exchange_begin(conn, hello);
      watch(&backend->table, conn, EPOLLIN | EPOLLOUT);
      return;
  }
}

static void greet(struct backend *backend, struct conn *conn) {
  unsigned room = (unsigned)sizeof conn->head - conn->head_length;
  ssize_t n = recv(conn->fd, conn->head + conn->head_length, room, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    // A connection without any byte is somebody's probe, not a client of ours.
    if (conn->head_length > 0) fail(FAIL_SHORT, "backend: stream ended inside the hello");
    leave(conn);
    return;
  }
  conn->head_length += (unsigned)n;
  struct addresses found;
  struct hello hello;
  int header = parse_header(conn, &found);
  if (header < 0) {
    fail(FAIL_PROXY, "no valid PROXY header before the hello");
    leave(conn);
    return;
  }
  if (header == 0 && options.proxy != PROXY_NONE) return;
  unsigned start = (unsigned)header + client_hello_length;
  if (conn->head_length < start + HELLO_SIZE) return;
  memcpy(&hello, conn->head + start, sizeof hello);
  if (memcmp(conn->head + header, client_hello, client_hello_length) != 0 ||
      hello.magic != HELLO_MAGIC || conn->head_length != start + HELLO_SIZE) {
    fail(FAIL_MISMATCH, "backend: not a hello, or bytes after it");
    leave(conn);
    return;
  }
  if (options.proxy != PROXY_NONE && !header_is_true(&found, &hello))
    fail(FAIL_PROXY, "header says source port %u, destination port %u; the client's port is %u",
         found.source_port, found.destination_port, hello.port);
  conn->seed = hello.seed;
  // Counted before the answer is out: the client may be done with it at once.
  conn->phase = READY;
  atomic_fetch_add(&backend_open, 1);
  if (send(conn->fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello) {
    fail(FAIL_RESET, "backend: answering the hello");
    leave(conn);
    return;
  }
  begin(backend, conn, &hello);
}

static void end_source(struct backend *backend, struct conn *conn) {
  shutdown(conn->fd, SHUT_WR);
  conn->fin_out = true;
  watch(&backend->table, conn, conn->eof_in ? 0 : EPOLLIN);
}

static void stream(struct backend *backend, struct conn *conn, uint32_t ready) {
  struct tally *tally = backend->tally;
  if (ready & (EPOLLIN | EPOLLERR | EPOLLHUP) && !conn->eof_in) {
    long n = discard(conn);
    if (n == MOVED_ERROR) {
      leave(conn);
      return;
    }
    if (n == MOVED_EOF) {
      conn->eof_in = true;
      watch(&backend->table, conn, conn->fin_out ? 0 : EPOLLOUT);
    } else if (n > 0) {
      // In a download the one byte that starts it is no payload.
      if (options.direction != DOWN) tally->sunk += (uint64_t)n;
      if (!conn->fin_out) watch(&backend->table, conn, EPOLLIN | EPOLLOUT);
    }
  }
  if (ready & EPOLLOUT && !conn->fin_out) {
    uint64_t left = options.bytes == 0 ? CHUNK : conn->sent_target - conn->sent;
    long n = give(conn, left);
    if (n == MOVED_ERROR) {
      leave(conn);
      return;
    }
    tally->sourced += (uint64_t)n;
    bool over = options.bytes != 0 ? conn->sent == conn->sent_target : now_ns() >= stop_ns;
    if (over) end_source(backend, conn);
  }
  if (conn->eof_in && conn->fin_out) leave(conn);
}

// A source that is blocked gets no event when the time is up.
static void stop_sources(struct backend *backend) {
  uint64_t stop = stop_ns;
  if (backend->stopped || options.bytes != 0 || stop == 0 || now_ns() < stop) return;
  backend->stopped = true;
  for (int fd = 0; fd <= backend->table.highest_fd; fd++) {
    struct conn *conn = table_get(&backend->table, fd);
    if (conn != NULL && conn->phase == STREAMING && !conn->fin_out) {
      end_source(backend, conn);
      if (conn->eof_in) leave(conn);
    }
  }
}

// Takes a whole request, then sends a reply of the same size.
static void echo(struct backend *backend, struct conn *conn, uint32_t ready) {
  if (conn->phase == RECEIVING && ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
    long n = take_checked(conn, conn->got_target - conn->got);
    if (n < 0) {
      if (n == MOVED_EOF && conn->got != conn->sent)
        fail(FAIL_SHORT, "backend: stream ended inside a request");
      leave(conn);
      return;
    }
    if (conn->got < conn->got_target) return;
    conn->phase = SENDING;
    conn->sent_target = conn->got;
    ready |= EPOLLOUT;
  }
  if (conn->phase == SENDING && ready & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
    if (give(conn, conn->sent_target - conn->sent) == MOVED_ERROR) {
      leave(conn);
      return;
    }
    if (conn->sent < conn->sent_target) {
      watch(&backend->table, conn, EPOLLOUT);
      return;
    }
    conn->phase = RECEIVING;
    conn->got_target += options.workload == IDLE ? IDLE_MOVE : options.size;
    watch(&backend->table, conn, EPOLLIN);
  }
}

// The client closes first: nothing may come but the end of the stream.
static void await_end(struct conn *conn) {
  long n = discard(conn);
  if (n == MOVED_NONE) return;
  if (n > 0) fail(FAIL_EXTRA, "backend: bytes after the request");
  leave(conn);
}

// ---- the loop ----

static void dispatch(struct backend *backend, struct conn *conn, uint32_t ready) {
  switch (conn->phase) {
    case GREETING: greet(backend, conn); return;
    case STREAMING: stream(backend, conn, ready); return;
    case RECEIVING:
    case SENDING: echo(backend, conn, ready); return;
    case EXCHANGING:
      if (!exchange_step(&backend->table, conn, ready, now_ns()))
        leave(conn);
      return;
    case FINISHING: await_end(conn); return;
    case CONNECTING:
    case SECURING:
    case READY: return;
  }
}

static void take_connections(struct backend *backend, int listener) {
  for (int i = 0; i < ACCEPT_BATCH; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct conn *conn = table_add(&backend->table, fd, BACKEND, EPOLLIN);
    if (conn == NULL) {
      close(fd);
      continue;
    }
    conn->phase = GREETING;
  }
}

static void resume_paused(struct backend *backend) {
  uint64_t now = now_ns();
  for (int fd = 0; fd <= backend->table.highest_fd; fd++) {
    struct conn *conn = table_get(&backend->table, fd);
    if (conn != NULL && conn->resume_ns != 0 && conn->resume_ns <= now)
      dispatch(backend, conn, 0);
  }
}

static bool is_listener(const struct listeners *listeners, int fd) {
  for (unsigned i = 0; i < listeners->count; i++)
    if (listeners->fds[i] == fd) return true;
  return false;
}

void backend_run(struct listeners listeners, int stop_event, struct tally *tally) {
  struct backend backend = {.tally = tally};
  struct epoll_event events[EVENT_BATCH], event = {.events = EPOLLIN};
  table_open(&backend.table);
  for (unsigned i = 0; i < listeners.count; i++) {
    event.data.fd = listeners.fds[i];
    epoll_ctl(backend.table.epoll, EPOLL_CTL_ADD, listeners.fds[i], &event);
  }
  event.data.fd = stop_event;
  epoll_ctl(backend.table.epoll, EPOLL_CTL_ADD, stop_event, &event);
  int pause = options.workload == BULK ? 5 : options.workload == INTEGRITY ? 1 : -1;
  for (;;) {
    int count = epoll_wait(backend.table.epoll, events, EVENT_BATCH, pause);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == stop_event) return;
      if (is_listener(&listeners, fd)) {
        take_connections(&backend, fd);
        continue;
      }
      struct conn *conn = table_get(&backend.table, fd);
      if (conn != NULL) dispatch(&backend, conn, events[i].events);
    }
    if (options.workload == BULK) stop_sources(&backend);
    if (options.workload == INTEGRITY) resume_paused(&backend);
  }
}
