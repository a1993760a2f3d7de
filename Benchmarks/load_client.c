// The client: opens the connections, drives the workload, measures.
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Connections being set up at once, so that no accept queue overflows.
#define OPENING_LIMIT 64u
// Integrity transfers carry up to this many bytes each way.
#define INTEGRITY_MAX (1u << 20)
// Addresses, from 127.0.0.1 on, that connections come from when the client closes first.
#define SOURCES 16u
#define IDLE_MOVE 65536u
// Churn goes on through single failures, but not through a proxy that refuses everything.
#define FAILURES_ENOUGH 1000u
#define INPUT_FD 0

struct client {
  struct table table;
  struct tally *tally;
  struct result *result;
  int *fds;            // of the connections that stay: bulk, round trips, open loop, idle
  unsigned ready, opening, live;
  uint64_t started;    // connections opened so far, also the seed of the next
  uint64_t start_ns;   // of the measured window
  uint64_t issued;     // open loop: requests whose time has come
  uint64_t cpu_before;
  unsigned outstanding;
  bool closing;        // no new requests, connections or streams
};

static bool is_lasting(void) {
  return options.workload != CHURN && options.workload != INTEGRITY;
}

static uint64_t message_size(void) {
  return options.workload == IDLE ? IDLE_MOVE : options.size;
}

// When request or connection number `index` of all together is due.
static uint64_t scheduled(const struct client *client, uint64_t index) {
  return client->start_ns + index * NS / options.rate;
}

// The lasting connection at a place, or NULL when it has been dropped.
static struct conn *conn_at(const struct client *client, unsigned position) {
  return table_get(&client->table, client->fds[position]);
}

// ---- opening ----

static void drop(struct client *client, struct conn *conn) {
  if (conn->phase <= GREETING) client->opening--;
  if (conn->phase == SENDING || conn->phase == RECEIVING) client->outstanding--;
  client->live--;
  table_close(conn);
}

// Whoever closes first keeps the port in TIME_WAIT: one address has only 28,000 of them.
static void spread_sources(const struct client *client, int fd) {
  if (options.to.ss_family != AF_INET) return;
  int yes = 1;
  struct sockaddr_in source = {.sin_family = AF_INET};
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (in_addr_t)(client->started % SOURCES));
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0)
    fail(FAIL_CONNECT, "bind: %s", strerror(errno));
}

static bool open_connection(struct client *client) {
  int fd = socket(options.to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    fail(FAIL_CONNECT, "socket: %s", strerror(errno));
    return false;
  }
  if (options.workload != CHURN) tune(fd);
  else if (options.closes_first == CLIENT) spread_sources(client, fd);
  uint64_t begun = options.workload == CHURN ? now_ns() : 0;
  if (options.paced) begun = scheduled(client, client->started);
  if (connect(fd, (struct sockaddr *)&options.to, options.to_length) != 0 && errno != EINPROGRESS) {
    fail(FAIL_CONNECT, "connect: %s", strerror(errno));
    close(fd);
    return false;
  }
  struct conn *conn = table_add(&client->table, fd, CLIENT, EPOLLOUT);
  if (conn == NULL) {
    fail(FAIL_CONNECT, "too many descriptors");
    close(fd);
    return false;
  }
  conn->phase = CONNECTING;
  conn->begun_ns = begun;
  conn->seed = options.seed + (uint32_t)client->started++;
  client->opening++;
  client->live++;
  return true;
}

static void name_client(const struct conn *conn, struct hello *hello) {
  struct sockaddr_storage own = {0};
  socklen_t length = sizeof own;
  getsockname(conn->fd, (struct sockaddr *)&own, &length);
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)&own;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&own;
  bool four = own.ss_family == AF_INET;
  hello->family = four ? 4 : 6;
  hello->port = ntohs(four ? v4->sin_port : v6->sin6_port);
  memcpy(hello->address, four ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr,
         four ? 4 : 16);
}

static uint64_t scramble(uint64_t value) {
  value = (value ^ (value >> 31)) * 0x9E3779B97F4A7C15ull;
  value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9ull;
  return value ^ (value >> 32);
}

// Sizes of every magnitude, 0 included; which side half-closes first alternates.
static void plan_exchange(const struct conn *conn, struct hello *hello) {
  uint64_t a = scramble(conn->seed * 2ull + 1), b = scramble(conn->seed * 2ull + 2);
  hello->up = (a >> 8) % (INTEGRITY_MAX >> (a % 21));
  hello->down = (b >> 8) % (INTEGRITY_MAX >> (b % 21));
  if (conn->seed % 16 < 4) hello->up = INTEGRITY_MAX - conn->seed % 4;
  if (conn->seed % 16 > 1 && conn->seed % 16 < 6) hello->down = INTEGRITY_MAX - conn->seed % 4;
  hello->first_fin = conn->seed % 2 == 0 ? CLIENT : BACKEND;
}

static void send_hello(struct client *client, struct conn *conn) {
  struct hello hello = {.magic = HELLO_MAGIC, .seed = conn->seed};
  if (options.proxy != PROXY_NONE) name_client(conn, &hello);
  if (options.workload == INTEGRITY) plan_exchange(conn, &hello);
  unsigned char first[CLIENT_HELLO_MAX + HELLO_SIZE];
  memcpy(first, client_hello, client_hello_length);
  memcpy(first + client_hello_length, &hello, sizeof hello);
  size_t first_length = client_hello_length + sizeof hello;
  if (conn_send(conn, first, first_length) != (ssize_t)first_length) {
    fail(FAIL_CONNECT, "%s", strerror(errno));
    drop(client, conn);
    return;
  }
  memcpy(conn->head + HELLO_SIZE, &hello, sizeof hello);
  conn->phase = GREETING;
  watch(&client->table, conn, EPOLLIN);
}

static void secure(struct client *client, struct conn *conn) {
  int step = tls_handshake(&client->table, conn);
  if (step > 0) send_hello(client, conn);
  if (step < 0) drop(client, conn);
}

static void connected(struct client *client, struct conn *conn) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0 || (options.tls != TLS_OFF && !tls_begin(conn))) {
    fail(FAIL_CONNECT, "%s", strerror(error ? error : ENOMEM));
    drop(client, conn);
  } else if (options.tls == TLS_OFF) {
    send_hello(client, conn);
  } else {
    conn->phase = SECURING;
    secure(client, conn);
  }
}

static void churn_over(struct client *client, struct conn *conn) {
  record(&client->result->latency, now_ns() - conn->begun_ns);
  client->result->count++;
  drop(client, conn);
}

static void greeted(struct client *client, struct conn *conn) {
  client->opening--;
  conn->phase = READY;
  if (is_lasting()) {
    conn->position = client->ready;
    client->fds[client->ready++] = conn->fd;
  } else if (options.workload == INTEGRITY) {
    struct hello hello;
    memcpy(&hello, conn->head + HELLO_SIZE, sizeof hello);
    exchange_begin(conn, &hello);
    watch(&client->table, conn, EPOLLIN | EPOLLOUT);
  } else if (options.closes_first == CLIENT) {
    churn_over(client, conn);
  } else {
    conn->phase = FINISHING;
  }
}

static void take_greeting(struct client *client, struct conn *conn) {
  ssize_t n = conn_receive(conn, conn->head + conn->head_length, HELLO_SIZE - conn->head_length);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    fail(n == 0 ? FAIL_SHORT : FAIL_RESET, "client: no answer to the hello (%s)",
         n == 0 ? "closed" : strerror(errno));
    drop(client, conn);
    return;
  }
  conn->head_length += (unsigned)n;
  if (conn->head_length < HELLO_SIZE) return;
  if (memcmp(conn->head, conn->head + HELLO_SIZE, HELLO_SIZE) != 0) {
    fail(FAIL_MISMATCH, "client: the answer is not the hello sent");
    drop(client, conn);
    return;
  }
  greeted(client, conn);
}

// ---- bulk ----

static void end_source(struct client *client, struct conn *conn) {
  conn_end(conn);
  conn->fin_out = true;
  watch(&client->table, conn, conn->eof_in ? 0 : EPOLLIN);
}

static void stream_begin(struct client *client, struct conn *conn) {
  conn->phase = STREAMING;
  if (options.direction != DOWN) {
    conn->sent_target = options.bytes;
    watch(&client->table, conn, EPOLLIN | EPOLLOUT);
  } else if (conn_send(conn, "g", 1) != 1) {
    fail(FAIL_RESET, "client: asking for a download");
    drop(client, conn);
  }
}

static void stream(struct client *client, struct conn *conn, uint32_t ready) {
  struct tally *tally = client->tally;
  if (ready & (EPOLLIN | EPOLLERR | EPOLLHUP) && !conn->eof_in) {
    long n = discard(conn);
    if (n == MOVED_ERROR) {
      drop(client, conn);
      return;
    }
    if (n == MOVED_EOF) {
      conn->eof_in = true;
      if (options.direction == DOWN) end_source(client, conn);
      else watch(&client->table, conn, conn->fin_out ? 0 : EPOLLOUT);
    }
    if (n > 0) tally->sunk += (uint64_t)n;
  }
  if (ready & EPOLLOUT && !conn->fin_out) {
    long n = give(conn, options.bytes == 0 ? CHUNK : conn->sent_target - conn->sent);
    if (n == MOVED_ERROR) {
      drop(client, conn);
      return;
    }
    tally->sourced += (uint64_t)n;
    bool over = options.bytes != 0 ? conn->sent == conn->sent_target : now_ns() >= stop_ns;
    if (over) end_source(client, conn);
  }
  if (conn->eof_in && conn->fin_out) drop(client, conn);
}

static void stop_sources(struct client *client) {
  client->closing = true;
  for (unsigned i = 0; i < client->ready; i++) {
    struct conn *conn = conn_at(client, i);
    if (conn != NULL && conn->phase == STREAMING && !conn->fin_out && options.direction != DOWN) {
      end_source(client, conn);
      if (conn->eof_in) drop(client, conn);
    }
  }
}

// ---- round trips, closed and open loop ----

static void request_continue(struct client *client, struct conn *conn) {
  if (give(conn, conn->sent_target - conn->sent) == MOVED_ERROR) {
    drop(client, conn);
    return;
  }
  bool whole = conn->sent == conn->sent_target;
  conn->phase = whole ? RECEIVING : SENDING;
  watch(&client->table, conn, whole ? EPOLLIN : EPOLLOUT);
}

static void request_begin(struct client *client, struct conn *conn, uint64_t begun) {
  conn->begun_ns = begun;
  conn->sent_target = conn->sent + message_size();
  conn->got_target = conn->got + message_size();
  conn->phase = SENDING;
  client->outstanding++;
  request_continue(client, conn);
}

static void open_loop_next(struct client *client, struct conn *conn) {
  if (conn->phase != READY || conn->done == conn->due) return;
  uint64_t index = conn->position + conn->done * options.connections;
  request_begin(client, conn, scheduled(client, index));
}

static void reply_whole(struct client *client, struct conn *conn) {
  uint64_t now = now_ns();
  record(&client->result->latency, now - conn->begun_ns);
  client->result->count++;
  client->outstanding--;
  conn->done++;
  conn->phase = READY;
  if (options.workload == OPEN_LOOP)
    open_loop_next(client, conn);
  else if (options.workload != IDLE && now < stop_ns) request_begin(client, conn, now);
}

static void take_reply(struct client *client, struct conn *conn) {
  long n = take_checked(conn, conn->got_target - conn->got);
  if (n == MOVED_EOF) fail(FAIL_SHORT, "client: stream ended inside a reply");
  if (n < 0) drop(client, conn);
  else if (conn->got == conn->got_target) reply_whole(client, conn);
}

// Between requests nothing may come.
static void take_unexpected(struct client *client, struct conn *conn) {
  long n = discard(conn);
  if (n == MOVED_NONE) return;
  if (n > 0) fail(FAIL_EXTRA, "client: bytes on a connection at rest");
  if (n == MOVED_EOF) fail(FAIL_SHORT, "client: the end of a connection at rest");
  drop(client, conn);
}

static void issue_due(struct client *client) {
  uint64_t total = (uint64_t)((double)options.rate * options.seconds), now = now_ns();
  while (client->issued < total && scheduled(client, client->issued) <= now) {
    unsigned position = (unsigned)(client->issued++ % client->ready);
    struct conn *conn = conn_at(client, position);
    if (conn == NULL) continue;
    conn->due++;
    open_loop_next(client, conn);
  }
  if (client->issued == total) client->closing = true;
}

// ---- the loop ----

static void finish(struct client *client, struct conn *conn) {
  long n = discard(conn);
  if (n == MOVED_NONE) return;
  if (n == MOVED_EOF) {
    churn_over(client, conn);
    return;
  }
  if (n > 0) fail(FAIL_EXTRA, "client: bytes after the reply");
  drop(client, conn);
}

static void exchange(struct client *client, struct conn *conn, uint32_t ready) {
  if (exchange_step(&client->table, conn, ready, now_ns())) return;
  client->result->bytes += conn->got + conn->sent;
  if (conn->eof_in && conn->fin_out) client->result->count++;
  drop(client, conn);
}

static void dispatch(struct client *client, struct conn *conn, uint32_t ready) {
  switch (conn->phase) {
    case CONNECTING: connected(client, conn); return;
    case SECURING: secure(client, conn); return;
    case GREETING: take_greeting(client, conn); return;
    case READY: take_unexpected(client, conn); return;
    case SENDING: request_continue(client, conn); return;
    case RECEIVING: take_reply(client, conn); return;
    case STREAMING: stream(client, conn, ready); return;
    case EXCHANGING: exchange(client, conn, ready); return;
    case FINISHING: finish(client, conn); return;
  }
}

static void wait_and_dispatch(struct client *client, uint64_t until) {
  struct epoll_event events[EVENT_BATCH];
  uint64_t now = now_ns(), left = until > now ? until - now : 0;
  struct timespec pause = {.tv_sec = (time_t)(left / NS), .tv_nsec = (long)(left % NS)};
  int count = epoll_pwait2(client->table.epoll, events, EVENT_BATCH, &pause, NULL);
  for (int i = 0; i < count; i++) {
    struct conn *conn = table_get(&client->table, events[i].data.fd);
    if (conn != NULL) dispatch(client, conn, events[i].events);
  }
}

static bool out_of_time(void) { return now_ns() >= deadline_ns(); }

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

// Opens every lasting connection. False when some could not be opened or time ran out.
static bool open_all(struct client *client) {
  while (client->ready < options.connections) {
    if (out_of_time()) return false;
    while (client->started < options.connections && client->opening < OPENING_LIMIT)
      if (!open_connection(client)) return true;
    if (failure_count() > 0) return true;
    wait_and_dispatch(client, deadline_ns());
  }
  return true;
}

static void window_open(struct client *client) {
  client->cpu_before = proxy_cpu_ns();
  client->start_ns = now_ns();
  atomic_store(&stop_ns, client->start_ns + (uint64_t)(options.seconds * 1e9));
}

static void window_close(struct client *client) {
  uint64_t end = now_ns();
  client->result->elapsed_ns = end - client->start_ns;
  client->result->proxy_cpu_ns = proxy_cpu_ns() - client->cpu_before;
}

// The backend still has bytes to count and check when the client has closed. A proxy that does not
// pass on the end of a connection is found out here.
static bool await_backend(struct client *client) {
  while (atomic_load(&backend_open) > 0) {
    if (out_of_time()) return false;
    wait_and_dispatch(client, now_ns() + NS / 10000);
  }
  return true;
}

static bool run_bulk(struct client *client) {
  for (unsigned i = 0; i < client->ready; i++) stream_begin(client, conn_at(client, i));
  while (client->live > 0) {
    if (out_of_time()) return false;
    bool timed = options.bytes == 0 && !client->closing;
    if (timed && now_ns() >= stop_ns) {
      stop_sources(client);
      continue;
    }
    wait_and_dispatch(client, timed ? earlier(stop_ns, deadline_ns()) : deadline_ns());
  }
  return await_backend(client);
}

static bool run_round_trips(struct client *client) {
  for (unsigned i = 0; i < client->ready; i++)
    request_begin(client, conn_at(client, i), now_ns());
  while (client->outstanding > 0) {
    if (out_of_time()) return false;
    wait_and_dispatch(client, deadline_ns());
  }
  return true;
}

static bool run_open_loop(struct client *client) {
  for (;;) {
    if (out_of_time()) return false;
    issue_due(client);
    if (client->live == 0 || (client->closing && client->outstanding == 0)) return true;
    uint64_t next = client->closing ? deadline_ns() : scheduled(client, client->issued);
    wait_and_dispatch(client, earlier(next, deadline_ns()));
  }
  return true;
}

static bool is_due(const struct client *client) {
  return !options.paced || scheduled(client, client->started) <= now_ns();
}

static bool run_churn(struct client *client) {
  for (;;) {
    if (out_of_time()) return false;
    client->closing = client->closing || now_ns() >= stop_ns || failure_count() > FAILURES_ENOUGH;
    while (!client->closing && client->live < options.connections && is_due(client))
      client->closing = !open_connection(client);
    if (client->closing && client->live == 0) return true;
    bool waits = options.paced && !client->closing && client->live < options.connections;
    uint64_t next = waits ? scheduled(client, client->started) : deadline_ns();
    wait_and_dispatch(client, earlier(next, deadline_ns()));
  }
}

static bool run_integrity(struct client *client) {
  while (client->started < options.count || client->live > 0) {
    if (out_of_time()) return false;
    while (client->started < options.count && client->live < options.connections)
      if (!open_connection(client)) return true;
    wait_and_dispatch(client, now_ns() + NS / 1000);
    uint64_t now = now_ns();
    for (int fd = 0; fd <= client->table.highest_fd; fd++) {
      struct conn *conn = table_get(&client->table, fd);
      if (conn != NULL && conn->resume_ns != 0 && conn->resume_ns <= now)
        dispatch(client, conn, 0);
    }
  }
  return true;
}

// Holds the connections until told on standard input: "move" sends 64 KiB both ways on each, "end"
// or the end of input ends the run. Answers each with a line.
static bool run_idle(struct client *client) {
  char input[64];
  for (;;) {
    printf("{\"event\":\"ready\",\"connections\":%u}\n", client->live);
    fflush(stdout);
    ssize_t n = read(INPUT_FD, input, sizeof input);
    if (n <= 0 || strncmp(input, "move", 4) != 0) break;
    for (unsigned i = 0; i < client->ready; i++) {
      struct conn *conn = conn_at(client, i);
      if (conn != NULL) request_begin(client, conn, now_ns());
      // A few at a time, as if they were people.
      while (client->outstanding >= OPENING_LIMIT) {
        if (out_of_time()) return false;
        wait_and_dispatch(client, deadline_ns());
      }
    }
    while (client->outstanding > 0) {
      if (out_of_time()) return false;
      wait_and_dispatch(client, deadline_ns());
    }
  }
  // Whatever the proxy did to them meanwhile is known now.
  wait_and_dispatch(client, now_ns());
  client->result->count = client->live;
  return true;
}

static bool run_workload(struct client *client) {
  switch (options.workload) {
    case BULK: return run_bulk(client);
    case ROUND_TRIP: return run_round_trips(client);
    case OPEN_LOOP: return run_open_loop(client);
    case CHURN: return run_churn(client);
    case IDLE: return run_idle(client);
    case INTEGRITY: return run_integrity(client);
  }
  return true;
}

// So that two of these programs can begin at once.
static bool await_start(const struct client *client) {
  char input[64];
  printf("{\"event\":\"ready\",\"connections\":%u}\n", client->live);
  fflush(stdout);
  return read(INPUT_FD, input, sizeof input) > 0;
}

bool client_run(struct result *result, struct tally *tally) {
  struct client client = {.tally = tally, .result = result};
  table_open(&client.table);
  client.fds = calloc(options.connections, sizeof *client.fds);
  if (client.fds == NULL) exit(2);
  if (is_lasting()) {
    if (!open_all(&client)) return false;
    if (failure_count() > 0) return true;
  }
  if (options.waits && !await_start(&client)) return false;
  window_open(&client);
  bool finished = run_workload(&client);
  window_close(&client);
  for (unsigned i = 0; i < client.ready; i++) {
    struct conn *conn = conn_at(&client, i);
    if (conn != NULL) drop(&client, conn);
  }
  return finished && await_backend(&client);
}
