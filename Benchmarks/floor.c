// The floor: what relaying costs when nothing is done but the socket calls. One thread, one epoll,
// no timeouts, limits, logs, names or choice of a server: not a proxy to use, but a lower bound to
// hold proxies against. Edge-triggered; a message costs one recv and one send, a connection one
// accept4, socket, connect, setsockopt, two epoll_ctl and two closes beside its messages.
//
//   floor LANE:PORT:BACKEND...     listens at ports of 127.0.0.1, each in front of one other port
//                                  there; the lane is `copy`, `splice`, or `v2`: copying behind a
//                                  PROXY header of version 2 that names the client.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (64u * 1024u)
#define PIPE_SIZE (256u * 1024u)
#define HEADER_SIZE 28u // PROXY version 2 with two IPv4 addresses and no TLVs
#define EVENT_BATCH 256
#define IDLE_PIPES_MAX 1024u
#define LISTENERS_MAX 8

enum lane { COPY, SPLICE, COPY_V2 };

// One socket, and the direction that begins at it.
struct end {
  int fd;
  bool readable; // an event said so, and no call has said otherwise since
  bool hung_up;  // its FIN is here: a short read is the last one
  bool ended;    // the FIN was read and passed on
  struct end *other;
  struct pair *pair;
  unsigned char *held; // copied: what the other end did not take
  size_t held_from, held_to;
  int pipe[2]; // spliced: the same, in a pipe; -1 when empty
  size_t piped;
};

struct pair {
  struct end client, server;
  enum lane lane;
  bool over;
  bool greets; // the header is yet to be sent
  struct pair *next;
  unsigned char header[HEADER_SIZE];
};

struct listener {
  int fd;
  enum lane lane;
  in_port_t port, backend; // network order
};

static int epoll;
static struct pair *unused, *dead;
static int idle_pipes[IDLE_PIPES_MAX][2];
static unsigned idle_pipe_count;
static unsigned char buffer[HEADER_SIZE + BUFFER_SIZE];

static void die(const char *what) {
  perror(what);
  exit(1);
}

// ---- pipes: a direction has one only while bytes are in it ----

static bool take_pipe(struct end *from) {
  if (from->pipe[0] >= 0) return true;
  if (idle_pipe_count > 0) {
    memcpy(from->pipe, idle_pipes[--idle_pipe_count], sizeof from->pipe);
    return true;
  }
  if (pipe2(from->pipe, O_NONBLOCK | O_CLOEXEC) != 0) return false;
  fcntl(from->pipe[0], F_SETPIPE_SZ, PIPE_SIZE); // beyond the user's quota it stays as it is
  return true;
}

static void return_pipe(struct end *from) {
  if (from->pipe[0] < 0) return;
  if (from->piped == 0 && idle_pipe_count < IDLE_PIPES_MAX) {
    memcpy(idle_pipes[idle_pipe_count++], from->pipe, sizeof from->pipe);
  } else {
    close(from->pipe[0]);
    close(from->pipe[1]);
  }
  from->pipe[0] = from->pipe[1] = -1;
  from->piped = 0;
}

// ---- the two lanes; false: the connection is broken ----

static bool end_of(struct end *from) {
  from->ended = true;
  from->readable = false;
  if (from->other->ended) return true; // closing both will tell
  return shutdown(from->other->fd, SHUT_WR) == 0 || errno == ENOTCONN;
}

static ssize_t send_some(const struct end *to, const void *bytes, size_t length) {
  ssize_t n = send(to->fd, bytes, length, MSG_NOSIGNAL);
  return n < 0 && errno == EAGAIN ? 0 : n;
}

static bool hold(struct end *from, const unsigned char *bytes, size_t length) {
  if ((from->held = malloc(length)) == NULL) return false;
  memcpy(from->held, bytes, length);
  from->held_from = 0;
  from->held_to = length;
  return true;
}

// What was held goes first. `*clear` tells whether all of it went.
static bool send_held(struct end *from, bool *clear) {
  *clear = true;
  if (from->held == NULL) return true;
  size_t left = from->held_to - from->held_from;
  ssize_t n = send_some(from->other, from->held + from->held_from, left);
  if (n < 0) return false;
  from->held_from += (size_t)n;
  *clear = (size_t)n == left;
  if (*clear) {
    free(from->held);
    from->held = NULL;
  }
  return true;
}

static bool copy(struct end *from) {
  bool clear;
  if (!send_held(from, &clear)) return false;
  while (clear && from->readable) {
    ssize_t n = recv(from->fd, buffer + HEADER_SIZE, BUFFER_SIZE, 0);
    if (n == 0) return end_of(from);
    if (n < 0) {
      from->readable = false;
      return errno == EAGAIN;
    }
    bool drained = n < (ssize_t)BUFFER_SIZE;
    if (drained && !from->hung_up) from->readable = false;
    unsigned char *start = buffer + HEADER_SIZE;
    size_t length = (size_t)n;
    if (from->pair->greets && from == &from->pair->client) {
      start = memcpy(buffer, from->pair->header, HEADER_SIZE);
      length += HEADER_SIZE;
      from->pair->greets = false;
    }
    ssize_t sent = send_some(from->other, start, length);
    if (sent < 0) return false;
    clear = (size_t)sent == length;
    if (!clear && !hold(from, start + sent, length - (size_t)sent)) return false;
    // Behind a FIN nothing comes: no recv is needed to be told so.
    if (clear && drained && from->hung_up) return end_of(from);
  }
  return true;
}

static bool empty_pipe(struct end *from) {
  unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
  ssize_t n = splice(from->pipe[0], NULL, from->other->fd, NULL, from->piped, flags);
  if (n < 0) return errno == EAGAIN;
  from->piped -= (size_t)n;
  return true;
}

static bool move(struct end *from) {
  if (from->piped > 0 && !empty_pipe(from)) return false;
  while (from->piped == 0 && from->readable) {
    if (!take_pipe(from)) return false;
    unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    ssize_t n = splice(from->fd, NULL, from->pipe[1], NULL, PIPE_SIZE, flags);
    if (n == 0) {
      return_pipe(from);
      return end_of(from);
    }
    if (n < 0) {
      from->readable = false;
      if (errno != EAGAIN) return false;
      break;
    }
    from->piped = (size_t)n;
    if (!empty_pipe(from)) return false;
  }
  if (from->piped == 0) return_pipe(from);
  return true;
}

// ---- connections ----

static void end_pair(struct pair *pair) {
  struct end *const ends[] = {&pair->client, &pair->server};
  for (int i = 0; i < 2; i++) {
    if (ends[i]->fd >= 0) close(ends[i]->fd);
    free(ends[i]->held);
    return_pipe(ends[i]);
  }
  pair->over = true;
  // Events of this batch may still name it.
  pair->next = dead;
  dead = pair;
}

static void bury(void) {
  while (dead != NULL) {
    struct pair *pair = dead;
    dead = pair->next;
    pair->next = unused;
    unused = pair;
  }
}

static void step(struct end *end, uint32_t events) {
  struct pair *pair = end->pair;
  if (pair->over) return;
  bool (*pump)(struct end *) = pair->lane == SPLICE ? move : copy;
  bool sound = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    end->readable = !end->ended;
    end->hung_up = end->hung_up || events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (events & EPOLLERR) {
      // recv() need not tell, when this side has ended before.
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &length);
      sound = error == 0;
    }
    sound = sound && pump(end);
  }
  struct end *other = end->other;
  if (sound && events & EPOLLOUT && (other->held != NULL || other->piped > 0)) sound = pump(other);
  if (!sound || (end->ended && other->ended)) end_pair(pair);
}

static bool watch(struct end *end) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data.ptr = end};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, end->fd, &event) == 0;
}

static void write_header(struct pair *pair, const struct sockaddr_in *client, in_port_t own) {
  static const unsigned char start[16] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
  in_addr_t here = htonl(INADDR_LOOPBACK);
  memcpy(pair->header, start, 16);
  memcpy(pair->header + 16, &client->sin_addr, 4);
  memcpy(pair->header + 20, &here, 4);
  memcpy(pair->header + 24, &client->sin_port, 2);
  memcpy(pair->header + 26, &own, 2);
}

static struct sockaddr_in at_port(in_port_t port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int dial(in_port_t port) {
  struct sockaddr_in backend = at_port(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
  if (fd < 0) return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(fd, (struct sockaddr *)&backend, sizeof backend) == 0 || errno == EINPROGRESS)
    return fd;
  close(fd);
  return -1;
}

static void take(const struct listener *listener) {
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  int fd = accept4(listener->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  struct pair *pair = unused;
  if (pair != NULL) unused = pair->next;
  else pair = malloc(sizeof *pair);
  if (pair == NULL) die("floor: malloc");
  *pair = (struct pair){.lane = listener->lane, .greets = listener->lane == COPY_V2};
  pair->client = (struct end){.fd = fd, .other = &pair->server, .pair = pair, .pipe = {-1, -1}};
  pair->server = (struct end){.other = &pair->client, .pair = pair, .pipe = {-1, -1}};
  pair->server.fd = dial(listener->backend);
  if (pair->greets) write_header(pair, &from, listener->port);
  if (pair->server.fd < 0 || !watch(&pair->client) || !watch(&pair->server)) end_pair(pair);
}

static void listen_at(struct listener *listener) {
  struct sockaddr_in address = at_port(listener->port);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
  int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); // accepted sockets inherit it
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(fd, 4096) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    die("floor: listen");
  listener->fd = fd;
}

static struct listener parse(const char *text) {
  static const char *const lanes[] = {"copy", "splice", "v2"};
  char lane[8];
  unsigned port, to;
  if (sscanf(text, "%7[a-z0-9]:%u:%u", lane, &port, &to) == 3 && port < 65536 && to < 65536)
    for (int i = 0; i < 3; i++)
      if (strcmp(lane, lanes[i]) == 0)
        return (struct listener){.lane = (enum lane)i, .port = htons((uint16_t)port),
                                 .backend = htons((uint16_t)to)};
  fprintf(stderr, "floor: want copy|splice|v2:PORT:BACKEND, not %s\n", text);
  exit(2);
}

int main(int count, char **arguments) {
  static struct listener listeners[LISTENERS_MAX];
  struct epoll_event events[EVENT_BATCH];
  if (count < 2 || count - 1 > LISTENERS_MAX) {
    fprintf(stderr, "usage: floor copy|splice|v2:PORT:BACKEND...   ports at 127.0.0.1\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN); // splice() has no MSG_NOSIGNAL
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 1; i < count; i++) {
    listeners[i - 1] = parse(arguments[i]);
    listen_at(&listeners[i - 1]);
  }
  for (;;) {
    int ready = epoll_wait(epoll, events, EVENT_BATCH, -1);
    for (int i = 0; i < ready; i++) {
      struct listener *listener = events[i].data.ptr;
      if (listener >= listeners && listener < listeners + LISTENERS_MAX) take(listener);
      else step(events[i].data.ptr, events[i].events);
    }
    bury();
  }
}
