// Load for forward proxies: clients and the origin they reach, in one program of blocking threads.
//
//   egress_load WORKLOAD PROXY-PORT ORIGIN-PORT THREADS SECONDS
//
// tunnels  connect, CONNECT, one byte there and back, close; again and again
// gets     GET with a whole URL on connections that stay
// bulk     one tunnel per thread, through which the origin sends as much as goes
// idle     opens THREADS tunnels, says "open", and keeps them for SECONDS
//
// Everything is on 127.0.0.1. Prints how many there were (bulk: bytes) and how long it took.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 18, HEAD_MAX = 4096 };

static const char *workload;
static in_port_t proxy_port, origin_port;
static atomic_bool ends;
static atomic_ullong done;

static _Noreturn void die(const char *what) {
  fprintf(stderr, "egress_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in loopback(in_port_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void no_delay(int fd) {
  int one = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static bool send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes += n;
    length -= (size_t)n;
  }
  return true;
}

// Reads to the empty line of a head, and not beyond. Returns its length, 0 at the end.
static size_t read_head(int fd, char *head) {
  size_t length = 0;
  while (length < HEAD_MAX - 1) {
    ssize_t n = recv(fd, head + length, HEAD_MAX - 1 - length, MSG_PEEK);
    if (n <= 0) return 0;
    size_t before = length;
    length += (size_t)n;
    head[length] = 0;
    const char *end = strstr(head, "\r\n\r\n");
    size_t whole = end ? (size_t)(end - head) + 4 : length;
    if (recv(fd, head + before, whole - before, 0) != (ssize_t)(whole - before)) return 0;
    head[whole] = 0;
    if (end) return whole;
  }
  return 0;
}

// ---- the origin --------------------------------------------------------------------------------

static void *origin_serve(void *argument) {
  int fd = (int)(intptr_t)argument;
  static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n"
                              "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  char head[HEAD_MAX];
  char byte;
  no_delay(fd);
  if (strcmp(workload, "gets") == 0) {
    while (read_head(fd, head) > 0 && send_all(fd, reply, sizeof reply - 1)) {
    }
  } else if (strcmp(workload, "bulk") == 0) {
    char *chunk = calloc(1, CHUNK);
    if (!chunk) die("calloc");
    if (recv(fd, &byte, 1, 0) == 1)
      while (send_all(fd, chunk, CHUNK)) {
      }
    free(chunk);
  } else {
    while (recv(fd, &byte, 1, 0) == 1 && send_all(fd, &byte, 1)) {
    }
  }
  close(fd);
  return NULL;
}

static void thread_start(void *(*body)(void *), void *argument, pthread_t *thread) {
  pthread_attr_t attributes;
  pthread_t other;
  if (pthread_attr_init(&attributes) != 0) die("pthread_attr_init");
  pthread_attr_setstacksize(&attributes, 1 << 16);
  if (pthread_create(thread ? thread : &other, &attributes, body, argument) != 0)
    die("pthread_create");
  pthread_attr_destroy(&attributes);
  if (!thread) pthread_detach(other);
}

static void *origin_accept(void *argument) {
  int listener = (int)(intptr_t)argument;
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    thread_start(origin_serve, (void *)(intptr_t)fd, NULL);
  }
  return NULL;
}

static void origin_listen(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int one = 1;
  struct sockaddr_in address = loopback(origin_port);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) die("socket");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
  if (listen(fd, 4096) != 0) die("listen");
  thread_start(origin_accept, (void *)(intptr_t)fd, NULL);
}

// ---- clients -----------------------------------------------------------------------------------

static int dial(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = loopback(proxy_port);
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
  no_delay(fd);
  return fd;
}

static int tunnel(void) {
  char head[HEAD_MAX];
  int fd = dial();
  int length = snprintf(head, sizeof head,
                        "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", origin_port,
                        origin_port);
  if (!send_all(fd, head, (size_t)length) || read_head(fd, head) == 0 ||
      strncmp(head + 8, " 200", 4) != 0)
    die("CONNECT was refused");
  return fd;
}

static void run_tunnels(void) {
  while (!ends) {
    int fd = tunnel();
    char byte = 'x';
    if (!send_all(fd, &byte, 1) || recv(fd, &byte, 1, 0) != 1) die("tunnel");
    close(fd);
    done++;
  }
}

static void run_gets(void) {
  char head[HEAD_MAX], request[256], body[64];
  int length = snprintf(request, sizeof request,
                        "GET http://127.0.0.1:%u/ HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n",
                        origin_port, origin_port);
  int fd = dial();
  while (!ends) {
    if (!send_all(fd, request, (size_t)length) || read_head(fd, head) == 0) {
      // Some proxies close after each response.
      close(fd);
      fd = dial();
      continue;
    }
    if (strncmp(head + 8, " 200", 4) != 0) die("GET was refused");
    if (recv(fd, body, sizeof body, MSG_WAITALL) != (ssize_t)sizeof body) die("body");
    done++;
  }
  close(fd);
}

static void run_bulk(void) {
  char *chunk = malloc(CHUNK);
  int fd = tunnel();
  if (!chunk || !send_all(fd, "x", 1)) die("bulk");
  while (!ends) {
    ssize_t n = recv(fd, chunk, CHUNK, 0);
    if (n <= 0) die("bulk");
    done += (unsigned long long)n;
  }
  close(fd);
  free(chunk);
}

static void *client(void *argument) {
  (void)argument;
  if (strcmp(workload, "tunnels") == 0) run_tunnels();
  else if (strcmp(workload, "gets") == 0) run_gets();
  else run_bulk();
  return NULL;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void keep_idle(unsigned count, double seconds) {
  for (unsigned i = 0; i < count; i++) {
    int fd = tunnel();
    char byte = 'x';
    if (!send_all(fd, &byte, 1) || recv(fd, &byte, 1, 0) != 1) die("tunnel");
  }
  printf("open\n");
  fflush(stdout);
  usleep((useconds_t)(seconds * 1e6));
}

int main(int count, char **arguments) {
  if (count != 6) {
    fprintf(stderr, "usage: egress_load tunnels|gets|bulk|idle PROXY ORIGIN THREADS SECONDS\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  workload = arguments[1];
  proxy_port = (in_port_t)atoi(arguments[2]);
  origin_port = (in_port_t)atoi(arguments[3]);
  unsigned threads = (unsigned)atoi(arguments[4]);
  double seconds = atof(arguments[5]);
  origin_listen();
  if (strcmp(workload, "idle") == 0) {
    keep_idle(threads, seconds);
    return 0;
  }
  pthread_t *started = calloc(threads, sizeof *started);
  if (!started) die("calloc");
  double from = now();
  for (unsigned i = 0; i < threads; i++) thread_start(client, NULL, &started[i]);
  usleep((useconds_t)(seconds * 1e6));
  ends = true;
  for (unsigned i = 0; i < threads; i++) pthread_join(started[i], NULL);
  printf("%llu %.3f\n", (unsigned long long)done, now() - from);
  free(started);
  return 0;
}
