// Load generator for an L4 proxy on loopback: what client and backend share, options, the result.
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options options = {
  .connections = 1, .seconds = 0.5, .size = 64, .rate = 5000, .seed = 1,
  .client_core = -1, .backend_core = -1, .closes_first = BACKEND,
};
atomic_ullong stop_ns;
atomic_uint backend_open;
atomic_ulong failures[FAILURES];

static const char *const failure_names[FAILURES] = {"connect", "reset", "short", "extra",
                                                    "mismatch", "proxy", "deadline"};
static char first_failure[200];
static pthread_mutex_t failure_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char pattern[PATTERN_PERIOD + CHUNK];
static uint64_t started_ns;

// ---- clocks, failures, latencies ----

static uint64_t clock_ns(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) return 0;
  return (uint64_t)time.tv_sec * NS + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }
uint64_t deadline_ns(void) { return started_ns + (uint64_t)(options.deadline * 1e9); }

// The process clock is exact and has every thread in it, io_uring's kernel workers too.
uint64_t proxy_cpu_ns(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < options.process_count; i++) {
    clockid_t clock;
    if (clock_getcpuclockid(options.processes[i], &clock) == 0) sum += clock_ns(clock);
  }
  return sum;
}

void fail(enum failure kind, const char *format, ...) {
  atomic_fetch_add(&failures[kind], 1);
  pthread_mutex_lock(&failure_lock);
  if (first_failure[0] == 0) {
    int length = snprintf(first_failure, sizeof first_failure, "%s: ", failure_names[kind]);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_failure + length, sizeof first_failure - (size_t)length, format, arguments);
    va_end(arguments);
  }
  pthread_mutex_unlock(&failure_lock);
}

unsigned long failure_count(void) {
  unsigned long sum = 0;
  for (int i = 0; i < FAILURES; i++) sum += atomic_load(&failures[i]);
  return sum;
}

// Log-linear: 64 steps per power of two, so a percentile is right within 1.6 %.
void record(struct histogram *histogram, uint64_t ns) {
  unsigned shift = ns < 128 ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - 6;
  uint64_t index = shift * 64ull + (ns >> shift);
  histogram->buckets[index]++;
  histogram->count++;
  if (ns > histogram->largest) histogram->largest = ns;
}

static double percentile_us(const struct histogram *histogram, double part) {
  uint64_t wanted = (uint64_t)((double)histogram->count * part), seen = 0;
  for (unsigned i = 0; i < sizeof histogram->buckets / sizeof histogram->buckets[0]; i++) {
    seen += histogram->buckets[i];
    if (seen > wanted) {
      unsigned shift = i < 128 ? 0 : i / 64 - 1;
      return (double)((uint64_t)(i - shift * 64u) << shift) / 1e3;
    }
  }
  return (double)histogram->largest / 1e3;
}

void pin(int core) {
  if (core < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((unsigned)core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    perror("load: sched_setaffinity");
    exit(2);
  }
}

// ---- connections ----

void table_open(struct table *table) {
  table->epoll = epoll_create1(EPOLL_CLOEXEC);
  table->by_fd = calloc(TABLE_LIMIT, sizeof *table->by_fd);
  if (table->epoll < 0 || table->by_fd == NULL) {
    perror("load: epoll");
    exit(2);
  }
}

// Connection structs stay with their descriptor number and are used again: churn allocates nothing.
struct conn *table_add(struct table *table, int fd, enum side side, uint32_t events) {
  if ((unsigned)fd >= TABLE_LIMIT) return NULL;
  struct conn *conn = table->by_fd[fd];
  if (conn == NULL) conn = table->by_fd[fd] = malloc(sizeof *conn);
  if (conn == NULL) return NULL;
  memset(conn, 0, offsetof(struct conn, head));
  conn->fd = fd;
  conn->side = side;
  conn->events = events;
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(table->epoll, EPOLL_CTL_ADD, fd, &event) != 0) return NULL;
  if (fd > table->highest_fd) table->highest_fd = fd;
  return conn;
}

struct conn *table_get(const struct table *table, int fd) {
  struct conn *conn = table->by_fd[fd];
  return conn != NULL && conn->fd == fd ? conn : NULL;
}

void table_close(struct conn *conn) {
  if (conn->ssl) tls_free(conn);
  close(conn->fd);
  conn->fd = -1;
}

void watch(struct table *table, struct conn *conn, uint32_t events) {
  if (conn->events == events) return;
  conn->events = events;
  struct epoll_event event = {.events = events, .data.fd = conn->fd};
  epoll_ctl(table->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

void tune(int fd) {
  int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

// ---- moving bytes ----

// Every connection and each of its directions starts elsewhere in the pattern, so bytes that
// reach the wrong connection are seen too.
static const unsigned char *pattern_for(const struct conn *conn, bool inbound, uint64_t offset) {
  bool up = (conn->side == CLIENT) != inbound;
  return pattern + (conn->seed * 7919ull + (up ? 0 : 32771) + offset) % PATTERN_PERIOD;
}

ssize_t conn_receive(struct conn *conn, void *to, size_t most) {
  return conn->ssl ? tls_receive(conn, to, most) : recv(conn->fd, to, most, 0);
}

ssize_t conn_send(struct conn *conn, const void *from, size_t length) {
  return conn->ssl ? tls_send(conn, from, length) : send(conn->fd, from, length, MSG_NOSIGNAL);
}

void conn_end(struct conn *conn) {
  if (conn->ssl) tls_end(conn);
  shutdown(conn->fd, SHUT_WR);
}

static long receive_failed(const struct conn *conn) {
  if (errno == EAGAIN || errno == EINTR) return MOVED_NONE;
  fail(FAIL_RESET, "%s after %llu bytes in, %llu out: %s",
       conn->side == CLIENT ? "client" : "backend", (unsigned long long)conn->got,
       (unsigned long long)conn->sent, strerror(errno));
  return MOVED_ERROR;
}

long take_checked(struct conn *conn, uint64_t most) {
  static _Thread_local unsigned char buffer[CHUNK];
  ssize_t n = conn_receive(conn, buffer, most < CHUNK ? most : CHUNK);
  if (n == 0) return MOVED_EOF;
  if (n < 0) return receive_failed(conn);
  if (memcmp(buffer, pattern_for(conn, true, conn->got), (size_t)n) != 0) {
    const unsigned char *wanted = pattern_for(conn, true, conn->got);
    size_t at = 0;
    while (buffer[at] == wanted[at]) at++;
    fail(FAIL_MISMATCH, "%s got a wrong byte at offset %llu",
         conn->side == CLIENT ? "client" : "backend", (unsigned long long)(conn->got + at));
    return MOVED_ERROR;
  }
  conn->got += (uint64_t)n;
  return n;
}

long give(struct conn *conn, uint64_t most) {
  const unsigned char *from = pattern_for(conn, false, conn->sent);
  ssize_t n = conn_send(conn, from, most < CHUNK ? most : CHUNK);
  if (n < 0) return receive_failed(conn);
  conn->sent += (uint64_t)n;
  return n;
}

long discard(struct conn *conn) {
  static _Thread_local unsigned char record[16384];
  ssize_t n = conn->ssl ? tls_receive(conn, record, sizeof record)
                        : recv(conn->fd, NULL, SINK_CHUNK, MSG_TRUNC);
  if (n == 0) return MOVED_EOF;
  if (n < 0) return receive_failed(conn);
  conn->got += (uint64_t)n;
  return n;
}

// ---- integrity: one end of a duplex exchange with a half-close ----

static uint32_t draw(struct conn *conn) {
  conn->random ^= conn->random << 13;
  conn->random ^= conn->random >> 17;
  conn->random ^= conn->random << 5;
  return conn->random;
}

void exchange_begin(struct conn *conn, const struct hello *hello) {
  bool client = conn->side == CLIENT;
  conn->phase = EXCHANGING;
  conn->sent_target = client ? hello->up : hello->down;
  conn->got_target = client ? hello->down : hello->up;
  conn->first_fin = hello->first_fin == (client ? CLIENT : BACKEND);
  conn->random = (hello->seed * 2654435761u + (client ? 1u : 2u)) | 1u;
  conn->slow = draw(conn) % 4 == 0;
}

static uint64_t draw_chunk(struct conn *conn) {
  switch (draw(conn) % 8) {
    case 0: return 1;
    case 1: return 1 + draw(conn) % 64;
    case 2:
    case 3: return 1 + draw(conn) % 4096;
    default: return 1 + draw(conn) % 131072;
  }
}

static bool exchange_receive(struct conn *conn) {
  long n = take_checked(conn, conn->slow ? 1 + draw(conn) % 2048 : draw_chunk(conn));
  if (n == MOVED_ERROR) return false;
  if (n == MOVED_EOF) {
    conn->eof_in = true;
    if (conn->got < conn->got_target) {
      fail(FAIL_SHORT, "%s got %llu of %llu bytes", conn->side == CLIENT ? "client" : "backend",
           (unsigned long long)conn->got, (unsigned long long)conn->got_target);
      return false;
    }
  }
  if (conn->got > conn->got_target) {
    fail(FAIL_EXTRA, "%s got more than %llu bytes", conn->side == CLIENT ? "client" : "backend",
         (unsigned long long)conn->got_target);
    return false;
  }
  return true;
}

// The side that closes second keeps half of its bytes until it has seen the other's FIN: what it
// sends then must still pass.
bool exchange_step(struct table *table, struct conn *conn, uint32_t ready, uint64_t now) {
  if (conn->resume_ns > now) return true;
  conn->resume_ns = 0;
  if (tls_has_more(conn)) ready |= EPOLLIN;
  if ((ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !conn->eof_in && !exchange_receive(conn))
    return false;
  bool free_to_end = conn->first_fin || conn->eof_in;
  uint64_t limit = free_to_end ? conn->sent_target : conn->sent_target / 2;
  if (conn->sent < limit && (ready & EPOLLOUT)) {
    uint64_t chunk = draw_chunk(conn), left = limit - conn->sent;
    if (give(conn, chunk < left ? chunk : left) == MOVED_ERROR) return false;
  }
  if (conn->sent == conn->sent_target && free_to_end && !conn->fin_out) {
    conn_end(conn);
    conn->fin_out = true;
  }
  if (conn->eof_in && conn->fin_out) return false;
  if (draw(conn) % 16 == 0) conn->resume_ns = now + draw(conn) % 3000000;
  if (conn->resume_ns == 0 && tls_has_more(conn)) conn->resume_ns = now + 1;
  limit = conn->first_fin || conn->eof_in ? conn->sent_target : conn->sent_target / 2;
  bool wants_out = conn->sent < limit || (conn->eof_in && !conn->fin_out);
  watch(table, conn,
        conn->resume_ns ? 0 : (conn->eof_in ? 0 : (uint32_t)EPOLLIN) | (wants_out ? EPOLLOUT : 0));
  return true;
}

// ---- a ClientHello ----

unsigned char client_hello[CLIENT_HELLO_MAX];
unsigned client_hello_length;

static void put(const void *bytes, size_t length) {
  memcpy(client_hello + client_hello_length, bytes, length);
  client_hello_length += (unsigned)length;
}

static void put16(unsigned value) {
  const unsigned char bytes[] = {(unsigned char)(value >> 8), (unsigned char)value};
  put(bytes, 2);
}

static void fill16(unsigned at, unsigned value) {
  client_hello[at] = (unsigned char)(value >> 8);
  client_hello[at + 1] = (unsigned char)value;
}

static void put_extension(unsigned type, const void *bytes, unsigned length) {
  put16(type);
  put16(length);
  put(bytes, length);
}

// What a browser of TLS 1.3 sends, in one record of 512 bytes (RFC 8446 section 4.1.2): only the
// key is none.
static void build_client_hello(const char *name) {
  static const unsigned char random[32] = {0x5a};
  static const unsigned char suites[] = {0, 8, 0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2b};
  static const unsigned char groups[] = {0, 4, 0, 0x1d, 0, 0x17};
  static const unsigned char signatures[] = {0, 6, 4, 3, 8, 4, 4, 1};
  static const unsigned char versions[] = {4, 3, 4, 3, 3};
  static const unsigned char protocols[] = "\0\x0c\x02h2\x08http/1.1";
  static const unsigned char share[38] = {0, 36, 0, 0x1d, 0, 32};
  static const unsigned char padding[CLIENT_HELLO_MAX] = {0};
  size_t length = strlen(name);
  put("\x16\x03\x01\0\0\x01\0\0\0\x03\x03", 11);
  put(random, 32);
  put("\x20", 1);
  put(random, 32);
  put(suites, sizeof suites);
  put("\x01\0\0\0", 4);
  unsigned extensions = client_hello_length - 2;
  put16(0);
  put16((unsigned)length + 5);
  put16((unsigned)length + 3);
  put("", 1);
  put16((unsigned)length);
  put(name, length);
  put_extension(10, groups, sizeof groups);
  put_extension(13, signatures, sizeof signatures);
  put_extension(16, protocols, sizeof protocols - 1);
  put_extension(43, versions, sizeof versions);
  put_extension(51, share, sizeof share);
  if (client_hello_length < 513) put_extension(21, padding, 517 - client_hello_length - 4);
  fill16(extensions, client_hello_length - extensions - 2);
  fill16(3, client_hello_length - 5);
  fill16(7, client_hello_length - 9);
}

// ---- options ----

static void usage(const char *why) {
  fprintf(stderr,
          "load: %s\n"
          "usage: load --workload bulk|rtt|open|churn|idle|integrity --listen ADDRESS:PORT\n"
          "  --addresses N        listen at N IPv4 addresses, that one and those after it\n"
          "  --to ADDRESS:PORT    the proxy in front of it (default: no proxy)\n"
          "  --connections N      streams, or connections at once\n"
          "  --seconds T          length of the measured window (idle: longest wait)\n"
          "  --bytes B            bulk: end after B bytes per stream instead\n"
          "  --direction up|down|duplex, --size BYTES, --rate PER_SECOND\n"
          "  --wait               say when all connections are open, begin at a line of input\n"
          "  --paced              churn: connections arrive at --rate, and wait counts\n"
          "  --close backend|client, --proxy none|v1|v2, --count N (integrity), --seed N\n"
          "  --tls full|resumed   to a proxy that ends it; resumed: every handshake but the first\n"
          "  --sni NAME           every connection begins with a ClientHello for NAME\n"
          "  --client-core N, --backend-core N, --cpu PID (repeat), --deadline SECONDS\n"
          "Addresses are loopback only. The result is one JSON object on standard output.\n",
          why);
  exit(2);
}

static void parse_address(const char *text, struct sockaddr_storage *address, socklen_t *length) {
  char host[64];
  const char *colon = strrchr(text, ':');
  if (colon == NULL || (size_t)(colon - text) >= sizeof host) usage("want ADDRESS:PORT");
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = 0;
  in_port_t port = htons((uint16_t)atoi(colon + 1));
  struct sockaddr_in *v4 = (struct sockaddr_in *)address;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    if (ntohl(v4->sin_addr.s_addr) >> 24 != 127) usage("only loopback addresses");
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    *length = sizeof *v4;
  } else if (strcmp(host, "[::1]") == 0) {
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    v6->sin6_port = port;
    *length = sizeof *v6;
  } else {
    usage("only loopback addresses");
  }
}

// The index of `text` in a list of names ended by NULL.
static int choice(const char *text, const char *const *names) {
  for (int i = 0; names[i] != NULL; i++)
    if (strcmp(text, names[i]) == 0) return i;
  usage(text);
  return -1;
}

static void parse_option(int key, const char *text) {
  static const char *const workloads[] = {"bulk",  "rtt",  "open",
                                          "churn", "idle", "integrity", NULL};
  static const char *const directions[] = {"up", "down", "duplex", NULL};
  static const char *const headers[] = {"none", "v1", "v2", NULL};
  static const char *const sides[] = {"client", "backend", NULL};
  static const char *const uses[] = {"off", "full", "resumed", NULL};
  switch (key) {
    case 'w': options.workload = (enum workload)choice(text, workloads); break;
    case 'd': options.direction = (enum direction)choice(text, directions); break;
    case 'p': options.proxy = (enum proxy_header)choice(text, headers); break;
    case 'x': options.closes_first = (enum side)choice(text, sides); break;
    case 'T': options.tls = (enum tls_use)choice(text, uses); break;
    case 't': parse_address(text, &options.to, &options.to_length); break;
    case 'l': parse_address(text, &options.listen, &options.listen_length); break;
    case 'a': options.addresses = (unsigned)strtoul(text, NULL, 10); break;
    case 'n': options.connections = (unsigned)strtoul(text, NULL, 10); break;
    case 's': options.seconds = strtod(text, NULL); break;
    case 'D': options.deadline = strtod(text, NULL); break;
    case 'b': options.bytes = strtoull(text, NULL, 10); break;
    case 'z': options.size = strtoull(text, NULL, 10); break;
    case 'r': options.rate = strtoull(text, NULL, 10); break;
    case 'R': options.paced = true; break;
    case 'W': options.waits = true; break;
    case 'N':
      if (*text == 0 || strlen(text) > 253) usage("--sni wants a host name");
      build_client_hello(text);
      break;
    case 'c': options.count = strtoull(text, NULL, 10); break;
    case 'S': options.seed = (uint32_t)strtoul(text, NULL, 10); break;
    case 'A': options.client_core = atoi(text); break;
    case 'B': options.backend_core = atoi(text); break;
    case 'P':
      if (options.process_count == 16) usage("at most 16 processes");
      options.processes[options.process_count++] = atoi(text);
      break;
    default: usage("unknown option");
  }
}

static void parse_options(int count, char **arguments) {
  static const struct option known[] = {
    {"workload", 1, NULL, 'w'},    {"direction", 1, NULL, 'd'},    {"proxy", 1, NULL, 'p'},
    {"tls", 1, NULL, 'T'},         {"wait", 0, NULL, 'W'},
    {"close", 1, NULL, 'x'},       {"to", 1, NULL, 't'},           {"listen", 1, NULL, 'l'},
    {"addresses", 1, NULL, 'a'},
    {"connections", 1, NULL, 'n'}, {"seconds", 1, NULL, 's'},      {"deadline", 1, NULL, 'D'},
    {"bytes", 1, NULL, 'b'},       {"size", 1, NULL, 'z'},         {"rate", 1, NULL, 'r'},
    {"count", 1, NULL, 'c'},       {"seed", 1, NULL, 'S'},         {"client-core", 1, NULL, 'A'},
    {"backend-core", 1, NULL, 'B'}, {"cpu", 1, NULL, 'P'},
    {"paced", 0, NULL, 'R'},       {"sni", 1, NULL, 'N'},          {NULL, 0, NULL, 0},
  };
  int key;
  while ((key = getopt_long(count, arguments, "", known, NULL)) != -1)
    parse_option(key, optarg == NULL ? "" : optarg);
  if (options.listen_length == 0) usage("--listen is missing");
  if (options.addresses == 0) options.addresses = 1;
  if (options.addresses > ADDRESSES_MAX ||
      (options.addresses > 1 && options.listen.ss_family != AF_INET))
    usage("--addresses is out of range, or not for IPv4");
  if (options.to_length == 0) {
    options.to = options.listen;
    options.to_length = options.listen_length;
  }
  if (options.connections == 0 || options.size == 0 || options.rate == 0) usage("0 is too few");
  if (options.tls != TLS_OFF && client_hello_length > 0) usage("--tls sends its own ClientHello");
  if (options.seconds <= 0 || options.seconds > 3600) usage("--seconds is out of range");
  if (options.deadline <= 0) options.deadline = options.seconds + 15;
  if (options.workload == INTEGRITY && options.count == 0) options.count = 64;
}

// ---- the run ----

struct backend_start {
  struct listeners listeners;
  int stop_event;
  struct tally tally;
};

static void *backend_main(void *argument) {
  struct backend_start *start = argument;
  pin(options.backend_core);
  backend_run(start->listeners, start->stop_event, &start->tally);
  start->tally.cpu_ns = thread_cpu_ns();
  return NULL;
}

static void print_result(const struct result *result, const struct tally *client,
                         const struct tally *backend) {
  printf("{\"count\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"proxy_cpu\":%.6f,\"load_cpu\":%.6f",
         (unsigned long long)result->count, (unsigned long long)result->bytes,
         (double)result->elapsed_ns / 1e9, (double)result->proxy_cpu_ns / 1e9,
         (double)(client->cpu_ns + backend->cpu_ns) / 1e9);
  const struct histogram *latency = &result->latency;
  if (latency->count > 0)
    printf(",\"latency_us\":{\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}",
           percentile_us(latency, 0.5), percentile_us(latency, 0.99),
           percentile_us(latency, 0.999), (double)latency->largest / 1e3);
  printf(",\"errors\":%lu", failure_count());
  if (failure_count() > 0) {
    for (char *c = first_failure; *c; c++)
      if (*c == '"' || *c == '\\') *c = '\'';
    printf(",\"first_error\":\"%s\",\"error_kinds\":{", first_failure);
    const char *comma = "";
    for (int i = 0; i < FAILURES; i++) {
      if (atomic_load(&failures[i]) == 0) continue;
      printf("%s\"%s\":%lu", comma, failure_names[i], atomic_load(&failures[i]));
      comma = ",";
    }
    printf("}");
  }
  printf("}\n");
}

static void fill_pattern(void) {
  uint64_t state = 0x9E3779B97F4A7C15ull;
  for (unsigned i = 0; i < sizeof pattern; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    pattern[i] = i < PATTERN_PERIOD ? (unsigned char)(state >> 56) : pattern[i - PATTERN_PERIOD];
  }
}

int main(int count, char **arguments) {
  static struct result result;
  struct tally client = {0};
  parse_options(count, arguments);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1ul); // the open loop sleeps for less than the default slack of 50 us
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  started_ns = now_ns();
  // The last resort, should a loop hang: SIGALRM ends the process.
  alarm((unsigned)options.deadline + 5);
  fill_pattern();
  if (options.tls != TLS_OFF) tls_prepare();

  struct backend_start backend = {.listeners = backend_listen(), .stop_event = eventfd(0, 0)};
  pthread_t thread;
  if (pthread_create(&thread, NULL, backend_main, &backend) != 0) usage("no thread");
  pin(options.client_core);
  bool finished = client_run(&result, &client);
  client.cpu_ns = thread_cpu_ns();
  uint64_t one = 1;
  if (write(backend.stop_event, &one, sizeof one) != sizeof one) usage("eventfd");
  pthread_join(thread, NULL);

  if (!finished) fail(FAIL_DEADLINE, "not done after %.1f s", options.deadline);
  if (options.workload == BULK) {
    result.bytes = client.sunk + backend.tally.sunk;
    if (client.sourced + backend.tally.sourced != result.bytes)
      fail(FAIL_SHORT, "%llu bytes sent, %llu received",
           (unsigned long long)(client.sourced + backend.tally.sourced),
           (unsigned long long)result.bytes);
  }
  print_result(&result, &client, &backend.tally);
  return failure_count() == 0 ? 0 : 1;
}
