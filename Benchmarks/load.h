// The load generator: a client and a checking backend in one process, each an epoll loop on a
// thread of its own. load.c holds what both need and the program's face, load_client.c the
// workloads as the client drives them, load_backend.c what answers them, load_tls.c its TLS.
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

// Prime, so that no power-of-two chunk or buffer size ever lines up with it: a lost, repeated or
// swapped chunk is seen at its first byte.
#define PATTERN_PERIOD 65521u
// Largest single send and checked receive.
#define CHUNK (256u * 1024u)
// A sink discards up to this much per call; no buffer stands behind it (MSG_TRUNC).
#define SINK_CHUNK (1024u * 1024u)
// Every connection opens with a hello of this size and an equally long reply.
#define HELLO_SIZE 64u
#define HELLO_MAGIC 0x53lu
// Longest PROXY header taken: 16 + 36 address bytes and some TLVs, or 107 bytes of text.
#define PROXY_HEADER_MAX 536u
// The ClientHello that stands before the hello when TLS is to be seen, and routed by its name.
#define CLIENT_HELLO_MAX 1024u
#define EVENT_BATCH 256
#define TABLE_LIMIT (1u << 17)
#define NS 1000000000ull

enum workload { BULK, ROUND_TRIP, OPEN_LOOP, CHURN, IDLE, INTEGRITY };
enum direction { UP, DOWN, DUPLEX };
enum proxy_header { PROXY_NONE, PROXY_V1, PROXY_V2 };
enum side { CLIENT, BACKEND };
enum tls_use { TLS_OFF, TLS_FULL, TLS_RESUMED };

enum failure {
  FAIL_CONNECT,
  FAIL_RESET,
  FAIL_SHORT,     // the stream ended early
  FAIL_EXTRA,     // more bytes than were sent
  FAIL_MISMATCH,  // a byte differs from the pattern, or a hello is wrong
  FAIL_PROXY,     // the PROXY header is malformed or names another client
  FAIL_DEADLINE,
  FAILURES
};

struct options {
  enum workload workload;
  enum direction direction;
  enum proxy_header proxy;
  enum side closes_first;
  enum tls_use tls;
  struct sockaddr_storage to, listen;
  socklen_t to_length, listen_length;
  unsigned addresses;  // that the backend listens at, from the first one on
  unsigned connections;
  double seconds, deadline;
  uint64_t bytes, size, rate, count;
  uint32_t seed;
  int client_core, backend_core;
  int processes[16];
  unsigned process_count;
  bool paced;  // churn: connections come at `rate`, however long the others take
  bool waits;  // the window opens when a line has come on standard input
};

// The same bytes both ways on purpose: the backend must send back what it was sent.
struct hello {
  uint32_t magic, seed;
  uint64_t up, down;   // integrity: bytes each way
  uint8_t first_fin;   // integrity: enum side that half-closes first
  uint8_t family;      // 4 or 6
  uint16_t port;       // the client's own, host order
  uint8_t address[16]; // the client's own, network order
  uint8_t filler[20];
};
_Static_assert(sizeof(struct hello) == HELLO_SIZE, "the hello has no padding");

enum phase {
  CONNECTING, SECURING, GREETING, READY, SENDING, RECEIVING, STREAMING, EXCHANGING, FINISHING
};

// One end of one connection.
struct conn {
  int fd;
  uint32_t events;
  enum phase phase;
  enum side side;
  uint32_t seed;
  uint64_t got, sent;            // bytes of the pattern so far, over the connection's life
  uint64_t got_target, sent_target;
  uint64_t begun_ns;             // a latency counts from here
  uint64_t due, done;            // open loop: requests whose time has come, requests answered
  uint64_t resume_ns;            // integrity: no reads or writes before this time
  uint32_t random;
  bool first_fin, eof_in, fin_out, slow, offers_session;
  struct ssl_st *ssl;            // NULL: plain
  unsigned position;             // its place among the client's lasting connections
  unsigned head_length;
  unsigned char head[PROXY_HEADER_MAX + CLIENT_HELLO_MAX + HELLO_SIZE];
};

// What one loop counted. Only its own thread writes it until that thread has been joined.
struct tally {
  uint64_t sourced, sunk, cpu_ns;
};

struct histogram {
  uint64_t count, largest;
  uint32_t buckets[64 * 64];
};

struct result {
  uint64_t count, bytes, elapsed_ns, proxy_cpu_ns;
  struct histogram latency;
};

extern struct options options;
extern unsigned char client_hello[CLIENT_HELLO_MAX]; // the same for all connections
extern unsigned client_hello_length;                 // 0: none
extern atomic_ullong stop_ns; // when sources end; 0 until the measured window is open
extern atomic_uint backend_open; // connections the backend has greeted and not yet closed
extern atomic_ulong failures[FAILURES];

uint64_t now_ns(void);
uint64_t deadline_ns(void);
void fail(enum failure kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned long failure_count(void);
void record(struct histogram *histogram, uint64_t ns);
uint64_t proxy_cpu_ns(void);
uint64_t thread_cpu_ns(void);
void pin(int core);

// A table of the connections of one loop, indexed by descriptor.
struct table {
  int epoll, highest_fd;
  struct conn **by_fd;
};
void table_open(struct table *table);
struct conn *table_add(struct table *table, int fd, enum side side, uint32_t events);
void table_close(struct conn *conn);
struct conn *table_get(const struct table *table, int fd); // NULL when it is not open
void watch(struct table *table, struct conn *conn, uint32_t events);
void tune(int fd);

// A socket's calls, through its TLS where it has one.
ssize_t conn_receive(struct conn *conn, void *to, size_t most);
ssize_t conn_send(struct conn *conn, const void *from, size_t length);
void conn_end(struct conn *conn); // close_notify and FIN

void tls_prepare(void);
bool tls_begin(struct conn *conn);
int tls_handshake(struct table *table, struct conn *conn); // 1: done, 0: later, -1: failed
ssize_t tls_receive(struct conn *conn, void *to, size_t most);
ssize_t tls_send(struct conn *conn, const void *from, size_t length);
bool tls_has_more(const struct conn *conn); // bytes that no event will tell of
void tls_end(struct conn *conn);
void tls_free(struct conn *conn);

// Results of the byte movers below; any positive value is a count of bytes.
enum { MOVED_NONE = 0, MOVED_EOF = -1, MOVED_ERROR = -2 };

// Receives at most `most` bytes and checks them against the pattern; sends at most `most` bytes of
// it; discards what is there. Failures are recorded here, an end of the stream is the caller's.
long take_checked(struct conn *conn, uint64_t most);
long give(struct conn *conn, uint64_t most);
long discard(struct conn *conn);

// One step of an integrity exchange. False when the connection is over (well or badly).
void exchange_begin(struct conn *conn, const struct hello *hello);
bool exchange_step(struct table *table, struct conn *conn, uint32_t ready, uint64_t now);

bool client_run(struct result *result, struct tally *tally);
enum { ADDRESSES_MAX = 16 };
struct listeners {
  int fds[ADDRESSES_MAX];
  unsigned count;
};
struct listeners backend_listen(void);
void backend_run(struct listeners listeners, int stop_event, struct tally *tally);

#endif
