// What the files of the data plane share. Start with connection.c.
#pragma once

#pragma clang diagnostic ignored "-Wnullability-completeness"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sluice.h"
#include "sys.h"

// A rule of our own that does not hold is a bug and ends the process at once; bytes from the
// network never get here.
#define INVARIANT(condition) \
  do {                       \
    if (!(condition)) abort(); \
  } while (0)

#ifdef SLUICE_CHECKS
#define CHECKED(condition) INVARIANT(condition)
#else
#define CHECKED(condition) ((void)0)
#endif

enum {
  EVENTS_PER_TURN = SLUICE_EVENTS_PER_TURN,
  LISTENERS_MAX = SLUICE_LISTENERS_MAX,
  ACCEPTS_PER_WAKE = 64,        // of one listener before others get their turn
  BUFFER_BYTES = 65536,         // one read, which most messages fit, and the longest ClientHello
  PROMOTE_FLOW = 16384,         // a read of this size behind another of its direction means bulk
  PROMOTE_REPLY = 32768,        // one that answers the other direction: below it copying is cheaper
  OFFLOAD_AFTER = 131072,       // and after so many the kernel is worth setting up to seal them
  REST_SMALL = 4096,            // with no more than this waiting, new bytes may join one send
  PIPE_WANTED = 262144,         // takes most of what 1 MiB pipes give, at a quarter of the quota
  PIPE_SMALLEST = 65536,        // below this a pipe costs more than it saves
  DEMOTE_BELOW = 8192,          // bytes in one wake-up that do not deserve the splice lane
  DEMOTE_AFTER = 3,             // such wake-ups in a row
  PUMP_ROUNDS = 16,             // per connection and run, then others get their turn
  PUMP_BYTES = 1048576,
  PUMP_SHARED = 131072,         // the same while others exchange messages
  LOOP_SHARED = 524288,         // then bulk moves so much before the kernel is asked again
  BURST_DIVISOR = 8,            // a bucket holds what comes in an eighth of a second,
  BURST_LEAST = PROMOTE_FLOW,   // or such a read: with less, no half would ever be promoted
  STALL_MS = 1000,              // a reset waits this long for the kernel to get rid of bytes
  FAREWELL_MS = 1000,           // a rejected client may take this long to read the reply
  TUNE_AFTER_MS = 4000,         // when a dialled socket gets its keepalive options
  MEASURED_US = 100000,         // TCP_INFO of connections that last this long, see stats_measure
  KEEPALIVE_IDLE_S = 60,
  KEEPALIVE_INTERVAL_S = 15,
  KEEPALIVE_COUNT = 5,
  USER_TIMEOUT_MS = 120000,     // unacknowledged bytes: the other end is gone
  ACCEPT_RETRY_MS = 50,         // accept paused: look again
  BUFFERS_KEPT = 16,            // accept pauses when less than this part of the pool is left
  LEAVE_MS = 1000,              // a listener that is given up waits this long for credit
  BATCH_QUIET_NS = 1000000,     // nothing interactive for this long: waits may be batched
  BATCH_WAIT_US = 50,           // measured: 50 to 150 us, 5 to 25 % less CPU per GB
  BATCH_EVENTS = 64,
  BURST = 4096,                 // connections one multishot accept may bring before we look
  RUNS_BEFORE_MAIL = 64,        // loops of one turn before the caller gets to its mailbox
  TURNS_UNREAPED = 8,           // turns that had something to say at once, then the kernel is asked
  RACES_MAX = 1024,             // second dials of one worker at once; beyond, dials wait alone
  RECORD_BYTES = 64,
  SEATS = 1024,                 // workers that there may be
  HANDED_MAX = 64,              // connections in an inbox; more stay where they came in
  LEAD_PART = 8,                // a worker hands over when it has an eighth more than another one,
  LEAD_LEAST = 4,               // and so many besides: a few are not worth a wake-up
  SPIN_MAX_US = 100,            // `latency: low`: a longer wait is worth being woken for
  SPIN_WEIGHT = 8,              // an eighth of each short wait goes into their average
  SPIN_VAIN = 4,                // looks in vain before a worker only sleeps
  SHAKES_PER_RUN = 4,           // steps of TLS handshakes before others relay: 1 ms each with RSA
};

#define NO_SLOT UINT32_MAX
#define NO_LIMIT UINT64_MAX

// A buffer of the pool: bytes [start, end) of `data`.
struct buffer {
  uint8_t *data;
  uint32_t start;
  uint32_t end;
  uint32_t touched;  // high-water mark: what giving the pages back would save
  uint32_t next;     // in the free list
};

static inline uint32_t buffer_length(const struct buffer *buffer) {
  return buffer ? buffer->end - buffer->start : 0;
}

struct pipe {
  int read_end;
  int write_end;
  uint32_t capacity;
  uint32_t next;  // in the free list
};

// A third socket beside both sides: a second dial, while it races the first. See race.c.
#define SIDE_RIVAL ((enum sluice_side)2)

// One socket of a connection. `readable` and `writable` are what we believe: set by events,
// cleared by EAGAIN and by short reads.
struct side {
  int descriptor;  // -1: none
  bool readable;
  bool writable;
  bool hung_up : 1;  // RDHUP, HUP or ERR was seen: behind a short read there is an end to be read
  bool ended : 1;    // RDHUP alone: that end is a FIN, in order behind all there is to read
  bool urgent : 1;   // PRI was seen: reads stop at the mark (tcp(7)), and short ones prove nothing
  bool reset : 1;    // dead: bytes for it are dropped
  bool plain : 1;    // its transport
  bool sealed : 1;   // TLS that the kernel seals: it is told plaintext; see tls_kernel.c
  bool local : 1;    // a Unix socket: no TCP options, no linger
  // Of a plain side: of an upstream that is being connected, or that failed, and why.
  struct tls *tls;
};

enum lane : uint8_t { LANE_COPY, LANE_SPLICE };

// One direction: from `sides[from]` to the other one. half[0] goes up.
struct half {
  uint64_t limit;       // hold: cap; relay: bytes until the next ask, or NO_LIMIT
  uint64_t bytes;       // read from the source for the destination
  uint64_t spliced;     // the part that went by pipe
  struct buffer *held;  // read, not released: what an ask shows
  struct buffer *rest;  // released, not sent
  struct pipe *pipe;    // only while it holds bytes or an operation is in the kernel
  uint32_t piped;       // bytes in the pipe
  enum sluice_mode mode;
  enum sluice_final final;
  uint8_t small_runs;  // wake-ups in a row that moved little by splice
  enum lane lane : 1;
  bool eof : 1;          // the source's FIN (or reset) was read
  bool shut : 1;         // the destination has our FIN, or will never get it
  bool ask : 1;          // an ask is due
  bool bulk : 1;         // the last read deserved the splice lane
  bool fresh_limit : 1;  // newer than the splice in the kernel, which does not use it up
  bool filling : 1;      // ring engine: which way the operation in the kernel goes
};

enum state : uint8_t {
  STATE_FREE,
  STATE_ASKING,
  STATE_HOLDING,
  STATE_DIALLING,
  STATE_OPEN,
  STATE_DELIVERING,
  STATE_FAREWELL,
  STATE_CLOSING,
  STATE_CLOSED,
};

// What the kernel still holds of a connection; it is freed only at zero.
enum in_kernel : uint8_t {
  KERNEL_WATCH_CLIENT = 1,
  KERNEL_WATCH_UPSTREAM = 2,
  KERNEL_SPLICE_UP = 4,
  KERNEL_SPLICE_DOWN = 8,
  KERNEL_WATCH_RIVAL = 16,
};

static inline enum in_kernel watch_bit(enum sluice_side side) {
  if (side == SIDE_RIVAL) return KERNEL_WATCH_RIVAL;
  return side == sluice_side_client ? KERNEL_WATCH_CLIENT : KERNEL_WATCH_UPSTREAM;
}

// How a race stands: both dials are under way, or one of them goes on alone.
enum race_stage : uint8_t { RACE_BOTH, RACE_FIRST, RACE_SECOND };

// A second dial beside that of a connection; few have one, and not for long.
struct race {
  struct side side;
  enum race_stage stage;
  bool told;          // its raced event was put
  int32_t error;      // of the dial that was given up, 0 when it was only slower
  uint64_t began_us;  // as summary.connect_us
  uint64_t until_ms;  // 0: for ever
  uint32_t next;      // in the free list
};

// What becomes of a connection with a bandwidth: by slot, touched by those alone. See pace.c.
struct pace {
  uint64_t bandwidth;
  uint64_t shared_bandwidth;
  uint32_t bucket;
  struct {
    uint64_t full_ns;  // when its bucket is full again
    uint64_t rest_ms;  // nothing is read until then; 0: it does not rest
  } halves[2];
};

// Of the summary (sluice.h), what cannot be worked out at the end.
struct notes {
  uint64_t accepted_ns;
  uint64_t connect_us : 48;  // until it is connected: when the dial began
  uint16_t tries;
  uint64_t first_byte_us : 48;
  int16_t error;
  uint32_t ends;
  uint32_t reason;
};

// Its size is most of what an idle connection costs: what few have stands elsewhere (races, paces),
// and times that 48 bits hold for 8 years in microseconds have them.
struct connection {
  enum state state;
  uint8_t in_kernel;
  uint8_t splice;     // enum sluice_splice, of the route
  uint8_t forgotten;  // watches that were asked to end
  uint8_t last_half;  // the half that moved bytes last
  bool queued : 1;    // in a run queue
  bool bulk : 1;      // which one: its last run spliced, or had to stop
  bool starved : 1;   // waits for a buffer
  bool parked : 1;
  bool redial : 1;    // a redial event is due
  bool tuned : 1;     // the dialled socket has its keepalive options
  bool linger : 1;    // close with a reset
  bool half_closed_filed : 1;  // its deadline, which may be earlier than the one before
  bool redial_reset : 1;  // of the route
  bool ask_open : 1;      // of the route
  bool outlived : 1;      // of the route
  bool tls_inside : 1;    // of the route, until it is opened
  bool paced : 1;         // has a bandwidth, of its own or shared
  bool rests : 1;         // a half has begun to rest, and is to be filed
  bool finishing : 1;     // a FIN waits until the kernel has sealed what is before it
  uint8_t ends_count : 3;
  enum sluice_side survivor : 1;  // delivering: the side that still gets bytes
  uint32_t generation;
  uint32_t listener;  // tag
  struct side sides[2];
  struct half halves[2];
  uint64_t active_ms : 48;
  uint16_t wheel_slot;
  uint64_t until_ms : 48;  // of the state: hold, dial, delivering, farewell
  uint16_t race_ms;  // dialling: a slow event is due after so long; 0: none, or it was put
  uint64_t hold_until_ms : 48;  // an ask in an open connection must be answered by then; 0: none
  uint16_t race;  // its place in the worker's races, plus one; 0: none
  uint64_t first_fin_ns;
  uint32_t idle_ms;
  uint32_t half_closed_ms;
  uint32_t max_age_ms;
  uint32_t asked_turn;  // the turn of the last ask
  union {
    uint32_t greet_ms;      // until it is delivering: hold_ms of the route
    int32_t stalled_bytes;  // from then on: what the kernel held when we looked last
  };
  uint32_t wheel_next;
  uint32_t wheel_previous;
  uint32_t next;  // free list, and the list of the starved
  struct notes summary;
};

_Static_assert(sizeof(struct connection) == 256, "four cache lines");

static inline struct side *half_from(struct connection *c, int half) { return &c->sides[half]; }
static inline struct side *half_to(struct connection *c, int half) { return &c->sides[1 - half]; }

// Whether the kernel takes a side's bytes as they are: from a pipe, too.
static inline bool side_takes_plain(const struct side *side) { return side->plain || side->sealed; }

struct listener {
  int descriptor;
  uint32_t tag;
  uint32_t generation;
  bool used;
  bool wanted;     // accept from it
  bool exclusive;
  bool armed;      // the event source has an operation on it
  bool careful;    // armed by readiness, not by multishot accept: descriptors are scarce
  bool cancelled;  // asked to end
  bool leaving;    // given up: what its queue still holds is accepted first
  uint64_t leave_until_ms;
};

enum { WHEEL_SLOTS = 256, WHEEL_TICK_MS = 8, WHEEL_LEVELS = 2 };

// Two levels of 256 slots: 8 ms to 2 s, 2 s to 9 min. What lies beyond waits in the last slot and
// is filed anew. Deadlines are moved lazily: filed once, looked at when the slot is due.
struct bucket;

// Why accepting pauses.
enum want : uint8_t {
  WANT_NOTHING,
  WANT_CONNECTIONS,
  WANT_DESCRIPTORS,
  WANT_MEMORY,
  WANT_BUFFERS,
  WANTS,
};

struct wheel {
  uint64_t tick;
  uint32_t heads[WHEEL_LEVELS * WHEEL_SLOTS];
  uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64];
};

// A connection on its way from the worker that accepted it to another one, with its credit.
struct handed {
  int descriptor;
  uint32_t tag;
};

// A worker's place among those that hand connections to each other. See handover.c.
struct seat {
  _Alignas(64) _Atomic uint32_t live;  // connections of the worker
  _Atomic uint32_t waiting;            // in its inbox; written under the lock
  _Atomic uint64_t version;            // 0: it takes none; written under the lock
  _Atomic bool paused;
  _Alignas(64) pthread_mutex_t lock;
  int wake_descriptor;
  struct handed inbox[HANDED_MAX];
};

struct sluice_shared {
  _Alignas(64) _Atomic uint32_t descriptors;
  _Alignas(64) _Atomic uint32_t connections;
  _Alignas(64) uint32_t descriptors_max;
  uint32_t connections_max;
  _Atomic bool pause;
  _Atomic bool spin;
  _Atomic uint32_t paused;           // workers that do not accept
  _Atomic uint64_t pauses[WANTS];
  struct seat *seats;      // SEATS, touched on first use
  struct bucket *buckets;  // SLUICE_BUCKETS; pages that none falls into cost nothing
};

// Of both directions: when it is full again, CLOCK_MONOTONIC.
struct bucket {
  _Alignas(64) _Atomic uint64_t full_ns[2];
};

// The seam of event sources: ring.c, epoll.c, and the simulation's. Sources call back into
// worker.c (`worker_ready` and friends), which only sets flags and queues: nothing is run inside
// a reaper.
struct source {
  enum sluice_events kind;
  bool (*open)(struct sluice_worker *w, struct sluice_error *error);
  void (*close)(struct sluice_worker *w);
  // Readiness of a socket, edge by edge, until forgotten; sets the connection's watch bit.
  void (*watch)(struct sluice_worker *w, struct connection *c, enum sluice_side side);
  void (*forget)(struct sluice_worker *w, struct connection *c, enum sluice_side side);
  void (*accept)(struct sluice_worker *w, struct listener *listener);
  void (*refuse)(struct sluice_worker *w, struct listener *listener);
  // Ring engine only; NULL elsewhere. Sets the half's splice bit.
  void (*splice)(struct sluice_worker *w, struct connection *c, int half, int from, int to,
                 uint32_t length);
  // Submits, waits at most `wait_ns`, reaps; returns how many events there were. `batch`: prefer
  // many events over early ones.
  uint32_t (*wait)(struct sluice_worker *w, uint64_t wait_ns, bool batch);
};

// What a worker knows of its waits. See spin.c.
struct spin {
  uint64_t gap_ns;  // those that were short took so long
  uint32_t vain;    // looks for events that found none, less what short waits took off
};

// A ring of slots, as long as there are slots.
struct run_queue {
  uint32_t *slots;
  uint32_t head;
  uint32_t count;
};

struct sluice_worker {
  const struct source *source;
  void *source_state;
  struct sluice_shared *shared;
  int wake_descriptor;
  bool woken;
  bool measures;  // TCP_INFO at the end
  uint32_t unreaped;  // turns in a row that did not come to ask the kernel
  uint64_t waits;     // times that the kernel was asked
  uint32_t shakes;    // steps of handshakes since then
  struct spin spin;

  struct connection *slots;
  uint8_t (*records)[RECORD_BYTES];
  struct pace *paces;  // one per slot; those that are not paced touch none
  uint32_t slots_max;
  uint32_t slots_touched;
  uint32_t free_slot;
  uint32_t live;

  struct run_queue quick;  // who has something to do
  struct run_queue bulk;   // the same, of those that moved bulk when they ran last
  uint32_t run_mask;
  uint64_t moved;       // bytes, of all connections, ever
  uint32_t pump_bytes;  // what one run of a half may move now

  struct buffer *buffers;
  uint8_t *buffer_bytes;
  uint32_t buffers_max;
  uint32_t buffers_touched;
  uint32_t buffers_used;
  uint32_t free_buffer;
  uint32_t warm_buffers;
  uint32_t starved_first;
  uint32_t starved_last;

  struct pipe *pipes;
  uint32_t pipes_max;
  uint32_t pipes_made;
  uint32_t free_pipe;
  uint64_t pipes_denied_until_ms;

  struct race *races;  // RACES_MAX, touched on first use
  uint32_t races_touched;
  uint32_t free_race;
  uint32_t races_live;

  struct listener *listeners;
  uint32_t listeners_count;
  uint32_t listeners_leaving;
  bool leaving_blocked;  // for want of credit
  uint32_t workers;
  struct seat *seat;  // NULL: it does not hand over, nor take
  uint32_t place;     // of the seat
  uint32_t draws;     // of random numbers, so far
  bool accept_paused;
  enum want want;  // paused: for this
  uint64_t accept_retry_ms;

  struct wheel wheel;
  uint64_t now_ns;
  uint64_t now_ms;
  uint64_t bulk_ns;         // when bytes were spliced last
  uint64_t interactive_ns;  // when anything else happened last

  struct sluice_event events[EVENTS_PER_TURN];
  struct sluice_summary summaries[EVENTS_PER_TURN];  // of those that tell of an end
  uint32_t events_count;
  struct sluice_stats stats;
  uint8_t *scratch;  // BUFFER_BYTES, shared by all copying halves
  uint64_t room;     // what the bandwidth lets the half that is run read, or NO_LIMIT
};

// connection.c
void connection_accepted(struct sluice_worker *w, uint32_t tag, int descriptor);
void connection_run(struct sluice_worker *w, struct connection *c);
void connection_due(struct sluice_worker *w, struct connection *c);
void connection_move(struct sluice_worker *w, struct connection *c, enum state to);
void connection_end(struct connection *c, enum sluice_end end);
void connection_close(struct sluice_worker *w, struct connection *c, bool reset);
void connection_broken(struct sluice_worker *w, struct connection *c, enum sluice_side side,
                       int number);
void connection_gave(struct sluice_worker *w, struct connection *c, enum in_kernel bit);
void connection_took(struct connection *c, enum in_kernel bit);
void connection_tidy_buffers(struct sluice_worker *w, struct connection *c);
void connection_drop_half(struct sluice_worker *w, struct connection *c, int half);
void connection_file(struct sluice_worker *w, struct connection *c);

// stats.c
void stats_sum_up(struct sluice_worker *w, const struct connection *c,
                  struct sluice_summary *summary);

// pace.c
void pace_set(struct sluice_worker *w, struct connection *c, const struct sluice_route *route);
uint64_t pace_begin(struct sluice_worker *w, const struct connection *c, int half);
void pace_charge(struct sluice_worker *w, struct connection *c, int half, uint64_t bytes);
void pace_end(struct sluice_worker *w, struct connection *c, int half);
uint64_t pace_next_ms(const struct sluice_worker *w, const struct connection *c);

// worker.c
struct connection *worker_find(const struct sluice_worker *w, uint32_t slot, uint32_t generation);
uint32_t worker_slot(const struct sluice_worker *w, const struct connection *c);
struct connection *worker_take_slot(struct sluice_worker *w);
void worker_give_slot(struct sluice_worker *w, struct connection *c);
void worker_queue(struct sluice_worker *w, struct connection *c);
static inline bool worker_is_idle(const struct sluice_worker *w) {
  return w->quick.count == 0 && w->bulk.count == 0;
}
struct sluice_event *_Nullable worker_event(struct sluice_worker *w, struct connection *c,
                                            enum sluice_event_kind kind);
void worker_ready(struct sluice_worker *w, uint32_t slot, uint32_t generation,
                  enum sluice_side side, uint32_t poll_mask);
void worker_unwatched(struct sluice_worker *w, uint32_t slot, uint32_t generation,
                      enum sluice_side side);
void worker_spliced(struct sluice_worker *w, uint32_t slot, uint32_t generation, int half,
                    int32_t result);
void worker_woken(struct sluice_worker *w);

// listen.c
void listen_took(struct sluice_worker *w, struct listener *listener, int descriptor);
void listen_born(struct sluice_worker *w, uint32_t tag, int descriptor);
void listen_failed(struct sluice_worker *w, struct listener *listener, int number);
void listen_some(struct sluice_worker *w, struct listener *listener);
void listen_review(struct sluice_worker *w);
void listen_look(struct sluice_worker *w);
void listen_leave(struct sluice_worker *w);
void listen_ended(struct sluice_worker *w, struct listener *listener);
bool listen_scarce(const struct sluice_worker *w);
struct listener *_Nullable listen_find(struct sluice_worker *w, uint32_t index,
                                       uint32_t generation);
uint32_t listen_index(const struct sluice_worker *w, const struct listener *listener);
void listen_give_credit(struct sluice_worker *w);

// handover.c
bool handover_give(struct sluice_worker *w, const struct listener *listener, int descriptor);
void handover_take(struct sluice_worker *w);
void handover_tell(const struct sluice_worker *w);
void handover_pause(const struct sluice_worker *w);

// preface.c
bool buffers_open(struct sluice_worker *w);
void buffers_close(struct sluice_worker *w);
struct buffer *_Nullable buffer_take(struct sluice_worker *w);
void buffer_give(struct sluice_worker *w, struct buffer *_Nullable *_Nonnull buffer);
void buffers_feed(struct sluice_worker *w);
bool buffers_left(const struct sluice_worker *w);
enum sluice_result buffer_append(struct sluice_worker *w,
                                 struct buffer *_Nullable *_Nonnull buffer,
                                 const uint8_t *bytes, size_t length);
void preface_drop(struct sluice_worker *w, struct half *half);
void preface_read(struct sluice_worker *w, struct connection *c, int half);
bool preface_ask(struct sluice_worker *w, struct connection *c, int half);
void preface_starve(struct sluice_worker *w, struct connection *c);
bool preface_left(struct sluice_worker *w, struct connection *c);

// dial.c
void dial_opened(struct sluice_worker *w, struct connection *c, uint64_t until_ms,
                 uint32_t hold_ms);
enum sluice_result dial_start(struct sluice_worker *w, struct connection *c,
                              const struct sluice_route *route, struct sluice_bytes send);
void dial_check(struct sluice_worker *w, struct connection *c);
void dial_failed(struct sluice_worker *w, struct connection *c, int number);
bool dial_undone(struct sluice_worker *w, struct connection *c, int number);
bool dial_outlived(struct sluice_worker *w, struct connection *c, int number);
int dial_begin(struct side *side, const struct sluice_route *route);
int dial_error(const struct side *side);
void dial_tune(struct connection *c);
socklen_t endpoint_encode(const struct sluice_endpoint *endpoint,
                          struct sockaddr_storage *address);
void endpoint_decode(const struct sockaddr_storage *address, struct sluice_endpoint *endpoint);

// race.c
struct side *race_side(const struct sluice_worker *w, struct connection *c,
                       enum sluice_side side);
void race_ask(struct sluice_worker *w, struct connection *c);
bool race_run(struct sluice_worker *w, struct connection *c);
uint64_t race_next_ms(const struct sluice_worker *w, const struct connection *c);
void race_close(struct sluice_worker *w, struct connection *c);
void race_retire(struct sluice_worker *w, struct connection *c);

// relay.c
enum pump { PUMP_BLOCKED, PUMP_AGAIN, PUMP_CLOSED };
enum pump relay_discard(struct sluice_worker *w, struct connection *c, int half);
enum pump relay_half_pump(struct sluice_worker *w, struct connection *c, int half);
void relay_spliced(struct sluice_worker *w, struct connection *c, int half, int32_t result);
bool relay_end_unsure(const struct connection *c, int half);
bool relay_half_empty(const struct connection *c, int half);

// pipe.c
bool pipes_open(struct sluice_worker *w, uint32_t wanted);
void pipes_close(struct sluice_worker *w);
struct pipe *_Nullable pipe_take(struct sluice_worker *w);
void pipe_give(struct sluice_worker *w, struct pipe *pipe, bool empty);
void pipe_let_go(struct sluice_worker *w, struct connection *c, int half);

// spin.c
bool spin_wanted(const struct sluice_worker *w);
void spin_wait(struct sluice_worker *w, uint64_t wait_ns);

// deadline.c
void deadline_set(struct sluice_worker *w, struct connection *c, uint64_t at_ms);
void deadline_clear(struct sluice_worker *w, struct connection *c);
void deadline_run(struct sluice_worker *w);
uint64_t deadline_wait_ns(const struct sluice_worker *w);

#include "transport.h"

#ifndef SLUICE_SIMULATION
extern const struct source source_ring;
extern const struct source source_epoll;
#else
extern const struct source source_simulated;
#endif
