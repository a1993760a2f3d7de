// The whole face of the data plane. C moves bytes, the caller decides.
//
// A worker is owned by one thread. That thread asks for a *turn*; the turn submits, waits, reaps,
// relays, and hands back a batch of events; the thread answers every event before the next turn.
// Nothing here calls back, takes a lock or allocates after the worker was made. The only call that
// another thread may make on a worker is `sluice_worker_wake`.
//
// Pointers that C lends (event bytes, summaries) are good until the next turn. Pointers that the
// caller lends (bytes to send, routes) are copied before the call returns.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLUICE_CLOSED_ENUM __attribute__((enum_extensibility(closed)))
#define SLUICE_SAFE __attribute__((swift_attr("@safe")))

#pragma clang assume_nonnull begin

// ---- names of things ---------------------------------------------------------------------------

// A connection, by value. A stale id (its connection is gone) is refused, never followed.
struct sluice_id {
  uint32_t slot;
  uint32_t generation;
};

enum SLUICE_CLOSED_ENUM sluice_side : uint8_t {
  sluice_side_client = 0,
  sluice_side_upstream = 1,
};

enum SLUICE_CLOSED_ENUM sluice_family : uint8_t {
  sluice_family_none = 0,
  sluice_family_ipv4 = 1,
  sluice_family_ipv6 = 2,
  sluice_family_unix = 3,
};

// An address. IPv6 is two words in host order; IPv4 stands in the low 32 bits of `low`; a Unix
// path is lent, not terminated, at most 107 bytes, a leading NUL naming the abstract namespace.
struct SLUICE_SAFE sluice_endpoint {
  uint64_t high;
  uint64_t low;
  const char *_Nullable path;
  uint32_t path_length;
  uint32_t scope;
  uint16_t port;
  enum sluice_family family;
};

// Bytes lent by whoever passes them.
struct SLUICE_SAFE sluice_bytes {
  const uint8_t *_Nullable start;
  uint32_t length;
};

// What failed, for a sentence to the operator: a call's name and its errno. See the man page of
// the call for all errnos.
struct SLUICE_SAFE sluice_error {
  const char *_Nullable call;
  int32_t number;
};

// Where events come from. `automatic` is the ring, and epoll where the ring is denied.
enum SLUICE_CLOSED_ENUM sluice_events : uint8_t {
  sluice_events_automatic = 0,
  sluice_events_ring = 1,
  sluice_events_epoll = 2,
};

// How the splice lane moves bytes: splice(2) on readiness, IORING_OP_SPLICE, or not at all.
enum SLUICE_CLOSED_ENUM sluice_splice : uint8_t {
  sluice_splice_inline = 0,
  sluice_splice_ring = 1,
  sluice_splice_off = 2,
};

// ---- events ------------------------------------------------------------------------------------

enum {
  SLUICE_EVENTS_PER_TURN = 256,  // a batch that fits the cache; the rest waits for the next turn
  SLUICE_LISTENERS_MAX = 4096,   // sockets one worker accepts from
};

enum SLUICE_CLOSED_ENUM sluice_event_kind : uint8_t {
  sluice_event_kind_ask = 0,     // what shall happen to this connection?
  sluice_event_kind_redial = 1,  // the dial failed with `error`; answer with a route or reject
  sluice_event_kind_closed = 2,  // it is over; `summary` says how; needs no answer
  // The dial has taken `race_ms`: sluice_worker_race may begin a second one beside it.
  sluice_event_kind_slow = 3,
  // Of two dials one goes on alone, `second` says which. The other is closed: it failed with
  // `error`, or was only slower (0).
  sluice_event_kind_raced = 4,
};

// Why no more bytes will come for this ask.
enum SLUICE_CLOSED_ENUM sluice_final : uint8_t {
  sluice_final_no = 0,
  sluice_final_half_closed = 1,  // the side sent its FIN
  sluice_final_timed_out = 2,    // the hold's deadline passed
  sluice_final_full = 3,         // the hold's cap is reached
  sluice_final_failed = 4,       // TLS came to nothing; sluice_worker_tls says why
};

// Who ended a connection and how. A connection keeps its first four.
enum SLUICE_CLOSED_ENUM sluice_end : uint8_t {
  sluice_end_none = 0,
  sluice_end_client_fin = 1,
  sluice_end_client_reset = 2,
  sluice_end_client_error = 3,
  sluice_end_upstream_fin = 4,
  sluice_end_upstream_reset = 5,
  sluice_end_upstream_error = 6,
  sluice_end_deadline_preface = 7,
  sluice_end_deadline_connect = 8,
  sluice_end_deadline_idle = 9,
  sluice_end_deadline_half_closed = 10,
  sluice_end_deadline_max_age = 11,
  sluice_end_deadline_drain = 12,
  sluice_end_killed = 13,
  sluice_end_rejected = 14,
  sluice_end_server_down = 15,
  sluice_end_client_truncated = 16,  // a FIN without the end that TLS has for it
  sluice_end_upstream_truncated = 17,
};

// What the kernel has measured of a TCP connection. tcp(7), TCP_INFO
struct sluice_path {
  uint32_t rtt_us;       // smoothed round trip; 0: not asked for, no TCP, or shorter than 100 ms
  uint32_t retransmits;  // segments sent again
};

struct SLUICE_SAFE sluice_summary {
  uint64_t accepted_ns;  // CLOCK_MONOTONIC
  // Client to upstream. Not counted: bytes that were consumed or held to the end, the prefix, and
  // what the caller sent.
  uint64_t bytes_up;
  uint64_t bytes_down;
  uint64_t spliced_up;  // the part of bytes_up that was never copied to user space
  uint64_t spliced_down;
  uint64_t duration_us;
  uint64_t connect_us;      // of the dial that worked; 0 when none did
  uint64_t first_byte_us;   // accept to the first upstream byte; 0 when none came
  uint64_t half_closed_us;  // between the two FINs
  uint32_t ends;            // four sluice_end, the first in the low byte
  uint32_t tries;           // dials begun
  uint32_t reason;          // the caller's own, given with reject
  int32_t error;            // errno of the last failed dial or socket, 0 when none
  struct sluice_path client_path;
  struct sluice_path upstream_path;
};

struct SLUICE_SAFE sluice_event {
  struct sluice_id id;
  uint32_t listener;  // the tag given to sluice_worker_listen
  int32_t error;      // redial, raced: why, as errno
  // ask: all bytes held of that side so far. Empty at accept.
  const uint8_t *_Nullable bytes;
  uint32_t length;
  enum sluice_event_kind kind;
  enum sluice_side side;
  enum sluice_final final;
  bool second;  // raced: sluice_worker_settle may say what it is told first
  const struct sluice_summary *_Nullable summary;  // closed
};

// ---- answers -----------------------------------------------------------------------------------

enum {
  SLUICE_BUCKETS = 4096,
};

// 64 GiB.
#define SLUICE_BANDWIDTH_MAX (UINT64_C(1) << 36)

enum SLUICE_CLOSED_ENUM sluice_mode : uint8_t {
  sluice_mode_keep = 0,     // as it was
  sluice_mode_hold = 1,     // read and keep up to `limit` bytes, ask at every arrival
  sluice_mode_relay = 2,    // forward `limit` bytes, then ask again; 0: until the end
  sluice_mode_discard = 3,  // read and drop
};

struct sluice_half_answer {
  uint64_t limit;
  enum sluice_mode mode;
};

struct sluice_tls_setup;  // sluice_tls.h

// Where to go and what to say first. Times are milliseconds, 0 is off.
struct SLUICE_SAFE sluice_route {
  struct sluice_endpoint address;
  struct sluice_endpoint source;  // family none: the kernel chooses
  struct sluice_bytes prefix;     // sent upstream before any client byte, once connected
  struct sluice_bytes congestion; // TCP_CONGESTION of the upstream socket; empty: the system's
  uint32_t connect_ms;
  uint32_t idle_ms;
  uint32_t half_closed_ms;
  uint32_t max_age_ms;
  enum sluice_splice splice;
  // A slow event is due when the dial has taken so long, up to 65,535; once, and only then.
  uint32_t race_ms;
  // A server that resets the connection before it has said a byte or got one of the client's is as
  // good as one that refused it: a redial event follows, with that errno.
  bool redial_reset;
  // Deadline for the next ask, from when it is connected, in place of the answer's; 0: none. Until
  // then a server that has said things which all are held counts as one that has said nothing.
  uint32_t hold_ms;
  // An ask about the upstream is due as soon as it is connected, before it has said anything.
  bool ask_open;
  // An upstream that breaks off while all it says is held ends alone: a redial event follows, with
  // that errno. What was meant for it is dropped.
  bool outlived;
  // Bytes a second in each direction, up to SLUICE_BANDWIDTH_MAX; 0: no limit. Bytes that were held
  // before are not counted.
  uint64_t bandwidth;
  // The same for all connections with this number of a bucket, over all workers.
  uint64_t shared_bandwidth;
  uint32_t bucket;  // modulo SLUICE_BUCKETS
  // The server is spoken to in TLS, behind the prefix; it is not reached before the handshake is
  // done. NULL: plainly.
  struct sluice_tls_setup *_Nullable tls;
  // What it is called, and whose certificate it must have: a host name or an address, 253 bytes at
  // most.
  struct sluice_bytes tls_name;
  // TLS only from an answer on that says `opened`: the server is behind whoever is dialled.
  bool tls_inside;
};

struct SLUICE_SAFE sluice_answer {
  struct sluice_half_answer up;    // client to upstream
  struct sluice_half_answer down;  // upstream to client
  enum sluice_side side;           // whose ask this answers
  uint32_t consumed;               // drop this many of the bytes that were asked about
  uint32_t hold_ms;                // deadline for the next ask, from now; 0: unchanged
  // No further asks until sluice_worker_fact or the deadline. Meanwhile, without a route, a client
  // that leaves before it has said anything ends its connection.
  bool park;
  const struct sluice_route *_Nullable route;
  // The client's side speaks TLS from here on, in answer to its own ask and without a route: what
  // is held behind the consumed bytes is TLS already. The next ask is about the handshake: without
  // bytes when it is done, final when it came to nothing. Hold its bytes meanwhile.
  struct sluice_tls_setup *_Nullable tls;
  // In answer to the upstream's ask: all it has said up to the consumed bytes was said on the way
  // to the server, which has not said anything. With `tls_inside` it is shaken hands with behind
  // what is sent to it with this answer, within what is left of the hold: it is dialled until that
  // is done, and `hold_ms` begins then; 0: the hold is over.
  bool opened;
  struct sluice_bytes send_client;  // sent to that side, after what was sent before
  struct sluice_bytes send_upstream;
};

// What came of an answer.
enum SLUICE_CLOSED_ENUM sluice_result : uint8_t {
  sluice_result_done = 0,
  sluice_result_stale = 1,       // the connection is gone
  sluice_result_no_buffer = 2,   // the pool is empty: answer with a reject
  sluice_result_too_long = 3,    // bytes to send do not fit a buffer: answer with a reject
  sluice_result_not_dialled = 4, // the dial failed at once: a redial event follows
};

// ---- counts ------------------------------------------------------------------------------------

// How many of each identity are in flight, for the whole process: a server, a source address or
// network, a user, as 128 bits that the caller makes unique. Any thread may call; nobody waits.
struct sluice_counts;

enum SLUICE_CLOSED_ENUM sluice_count : uint8_t {
  sluice_count_taken = 0,
  sluice_count_over_limit = 1,
  sluice_count_full = 2,  // no room for one more identity where this one belongs
};

// `entries` (a power of two, 16 at least) identities at most, at 68 bytes each, and none is ever
// added. The hash words must be random and secret. NULL without memory.
struct sluice_counts *_Nullable sluice_counts_create(uint32_t entries, uint64_t hash_high,
                                                     uint64_t hash_low);
void sluice_counts_destroy(struct sluice_counts *counts);
// Adds one unless `limit` (0: none) are in flight already. When taken, `entry` is what gives it
// back. An identity of which nothing is in flight may lose its place to another one, the oldest
// first; one in flight never does.
enum sluice_count sluice_counts_take(struct sluice_counts *counts, uint64_t key_high,
                                     uint64_t key_low, uint32_t limit, uint32_t *entry);
void sluice_counts_give(struct sluice_counts *counts, uint32_t entry);
// One more of an identity that the caller has in flight: false when it comes sooner than one in
// `interval_ns` allows, of which `burst` (1 at least) may come at once. CLOCK_MONOTONIC. An
// identity that loses its place is forgotten, so that it may begin with a burst again.
bool sluice_counts_pace(struct sluice_counts *counts, uint32_t entry, uint64_t now_ns,
                        uint64_t interval_ns, uint32_t burst);
// In flight now.
uint32_t sluice_counts_read(struct sluice_counts *counts, uint64_t key_high, uint64_t key_low);

// ---- a worker ----------------------------------------------------------------------------------

struct sluice_worker;
struct sluice_shared;

// Made once for the process, before the workers: the counts that all of them keep together.
// `descriptors`: how many the workers may open in all, pipes included.
struct sluice_shared *_Nullable sluice_shared_create(uint32_t descriptors, uint32_t connections);
void sluice_shared_destroy(struct sluice_shared *shared);
// Connections open now, in all workers.
uint32_t sluice_shared_connections(struct sluice_shared *shared);
// While it is wanted no worker accepts; clients wait in the kernel's queue. For want of memory.
void sluice_shared_pause(struct sluice_shared *shared, bool wanted);

// While it is wanted, workers look for events for a bounded time before they sleep: what comes soon
// is seen sooner, for more processor time. Off at first.
void sluice_shared_spin(struct sluice_shared *shared, bool wanted);

// How often workers stopped accepting, by what was wanting, and how many do not accept now.
struct sluice_pauses {
  uint64_t connections;  // as many as the process may have
  uint64_t descriptors;  // what is left is kept back
  uint64_t memory;       // sluice_shared_pause, ENOMEM or ENOBUFS
  uint64_t buffers;      // nearly all are in use
  uint32_t workers;
};
void sluice_shared_pauses(const struct sluice_shared *shared, struct sluice_pauses *pauses);

struct SLUICE_SAFE sluice_options {
  struct sluice_shared *shared;
  uint32_t slots;            // connections this worker can hold
  uint32_t buffers;          // prefaces and remainders, 64 KiB each, touched on first use
  uint32_t pipes;            // cap of the pool; 0: from the user's pipe page quota
  uint32_t workers;          // how many share that quota
  enum sluice_events events;
};

// To be called on the thread that will own the worker. NULL with `error` set when the kernel
// refuses (memory, io_uring, epoll).
struct sluice_worker *_Nullable sluice_worker_create(const struct sluice_options *options,
                                                     struct sluice_error *error);
// Ends what is still open without ceremony, and frees everything.
void sluice_worker_destroy(struct sluice_worker *worker);

// Which source the worker got: ring or epoll.
enum sluice_events sluice_worker_source(const struct sluice_worker *worker);

// One turn: waits at most `wait_ms` (-1: for ever) for something to say. Returns the number of
// events. 0 is normal: time passed, or another thread woke it.
uint32_t sluice_worker_turn(struct sluice_worker *worker, int32_t wait_ms);
const struct sluice_event *sluice_worker_events(const struct sluice_worker *worker);

// From now on the kernel is asked about both sides' paths when a connection is over, for its
// summary: two system calls more per connection. Off at first.
void sluice_worker_measure(struct sluice_worker *worker, bool wanted);

// From now on new connections are handed over between this worker and those that share the totals
// and have the same version, by who has many more of them to who has fewer; 0: they are not. What
// it was given under its former version is its own when this returns. `place` is the worker's own,
// below `workers`, and the same in each call. A connection keeps the tag that it came in by.
void sluice_worker_share(struct sluice_worker *worker, uint32_t place, uint64_t version);

// The only call for other threads: ends the wait of the running or the next turn.
void sluice_worker_wake(struct sluice_worker *worker);

enum sluice_result sluice_worker_answer(struct sluice_worker *worker, struct sluice_id id,
                                        const struct sluice_answer *answer);
// Dials a second server beside the one that is being dialled; whichever connects first gets the
// connection. Of the route only the address, source, congestion and connect_ms count. A raced
// event follows, at once where the dial fails at once (not_dialled), unless the connection is
// closed before. no_buffer: there are too many, or too few descriptors.
enum sluice_result sluice_worker_race(struct sluice_worker *worker, struct sluice_id id,
                                      const struct sluice_route *route);
// In answer to a raced event: what the second server is told before any client byte, in place of
// the prefix and what else was sent upstream with the first one's route.
enum sluice_result sluice_worker_settle(struct sluice_worker *worker, struct sluice_id id,
                                        struct sluice_bytes first);
// Sends `reply` (may be empty), then closes, without losing the reply to a reset.
enum sluice_result sluice_worker_reject(struct sluice_worker *worker, struct sluice_id id,
                                        struct sluice_bytes reply, uint32_t reason);
// Gives up an upstream that got nothing of what the client said, and of whose words none were let
// go or consumed: they are dropped, and a redial event follows with this errno. Stale for others.
enum sluice_result sluice_worker_redial(struct sluice_worker *worker, struct sluice_id id,
                                        int32_t error);
// Lets go of the upstream of an open connection while all it says is held: that is dropped, and so
// is what was on its way to it; what was let go still gets to the client. A redial event follows
// with errno 0, the client's half then holds. Stale for others, and where an end was passed on.
enum sluice_result sluice_worker_release(struct sluice_worker *worker, struct sluice_id id);
// A parked connection is asked about again.
enum sluice_result sluice_worker_fact(struct sluice_worker *worker, struct sluice_id id);
// Ends a connection now, for this reason. A closed event follows.
enum sluice_result sluice_worker_kill(struct sluice_worker *worker, struct sluice_id id,
                                      enum sluice_end end);
// Ends every connection of a listener (UINT32_MAX: of all), at most `most` per call, from the
// slot `*cursor` on, which is moved. Returns how many were ended.
uint32_t sluice_worker_kill_all(struct sluice_worker *worker, uint32_t listener,
                                enum sluice_end end, uint32_t *cursor, uint32_t most);

// The client's address, and the address it reached unless `local` is NULL. A system call for each.
enum sluice_result sluice_worker_endpoints(const struct sluice_worker *worker, struct sluice_id id,
                                           struct sluice_endpoint *client,
                                           struct sluice_endpoint *_Nullable local);

// The caller's own memory of a connection: 64 bytes per slot, zeroed at accept.
void *_Nullable sluice_worker_record(struct sluice_worker *worker, struct sluice_id id);

// One live connection, as `list` sees it.
struct sluice_session {
  struct sluice_id id;
  uint64_t age_us;
  uint64_t idle_us;
  uint64_t bytes_up;
  uint64_t bytes_down;
  uint32_t listener;
  bool dialled;
};
// Fills up to `most` sessions from the slot `*cursor` on and moves it; 0 when there are no more.
uint32_t sluice_worker_list(struct sluice_worker *worker, uint32_t *cursor,
                            struct sluice_session *sessions, uint32_t most);

struct sluice_stats {
  uint64_t accepted;
  uint64_t closed;
  uint64_t dialled;
  uint64_t dial_failures;
  uint64_t bytes_up;
  uint64_t bytes_down;
  uint64_t bytes_spliced;
  uint64_t turns;
  uint64_t promotions;   // halves that went from the copy lane to the splice lane
  uint64_t demotions;
  uint64_t pipe_misses;  // a half wanted a pipe and none was to be had
  uint64_t accept_pauses;
  uint64_t overflows;    // the event source lost its place and was re-armed
  uint64_t handed_over;  // of those accepted, to other workers
  uint64_t received;     // from other workers
  uint64_t spins;        // waits that began with a look for events, see sluice_shared_spin
  uint64_t spin_hits;    // those that needed no sleep
  uint32_t connections;  // now
  uint32_t buffers;      // in use now
  uint32_t pipes;        // made and kept now
  bool accept_paused;
};
void sluice_worker_stats(const struct sluice_worker *worker, struct sluice_stats *stats);

// ---- listeners ---------------------------------------------------------------------------------

struct SLUICE_SAFE sluice_listen_options {
  uint32_t backlog;
  uint32_t mode;          // Unix only: permission bits of the socket file
  bool shared_port;       // SO_REUSEPORT: one socket per worker
  struct sluice_bytes congestion;
};

// Opens a listening socket with the options that accepted sockets inherit (no delay, keepalive,
// user time-out, congestion). Returns the descriptor, or -1 with `error` set: EADDRINUSE, EACCES,
// EADDRNOTAVAIL, EAFNOSUPPORT (no IPv6 here), ENOENT (congestion not known) and what
// socket(2), bind(2) and listen(2) list.
int32_t sluice_listener_open(const struct sluice_endpoint *address,
                             const struct sluice_listen_options *options,
                             struct sluice_error *error);

// Gives a listening socket that somebody else opened the options that accepted sockets inherit.
// False with `error` set: ENOENT (congestion not known), ENOTSOCK.
bool sluice_listener_adopt(int32_t descriptor, enum sluice_family family,
                           const struct sluice_listen_options *options,
                           struct sluice_error *error);

// Gives a socket that listens already another backlog and, unless it is empty, another congestion
// control, for connections that come from now on. A control that is not known changes nothing.
void sluice_listener_tune(int32_t descriptor, enum sluice_family family,
                          const struct sluice_listen_options *options);

// The worker accepts from a descriptor, which stays the caller's. `exclusive` is false when other
// workers accept from the same one (Unix, inherited). The tag comes back in every event. False
// when the worker has no room for another listener.
bool sluice_worker_listen(struct sluice_worker *worker, int32_t descriptor, uint32_t tag,
                          bool exclusive);
// Stops accepting, once those that wait in the socket's queue were accepted, since closing would
// reset them; only who finds no room within a second is left there. The caller may close the
// descriptor when `sluice_worker_listening` says false; all that was accepted is asked about as
// usual, at the latest in the next turn that has fewer than SLUICE_EVENTS_PER_TURN events.
void sluice_worker_unlisten(struct sluice_worker *worker, uint32_t tag);
bool sluice_worker_listening(const struct sluice_worker *worker, uint32_t tag);

// Whether the kernel lets this process have a ring with all that the ring source needs. False
// sets `error`: EPERM (denied by sysctl or seccomp), ENOSYS, ENOMEM, EOPNOTSUPP (an opcode).
bool sluice_ring_probe(struct sluice_error *error);

#pragma clang assume_nonnull end
