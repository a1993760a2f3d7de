// What the files of the simulation share. README.md says what is simulated; kernel.c is the fake
// kernel, source.c the event source over it, world.c the clients, servers and the caller's
// answers, checks.c what must hold.
#pragma once

#include "internal.h"

enum {
  DESCRIPTORS_MAX = 4096,
  PIPE_SLOTS_MAX = 64,
  CROWD_MS = 60000,  // a crowd is held so long, then all are asked about at once
  SERVERS = 4,
  LISTENERS = 2,
  TICK_SLACK_MS = 3 * WHEEL_TICK_MS,  // a deadline may be this late
  VANISHED_MS = 135000,               // keepalive and user time-out of the data plane, together
  CONNECT_GIVES_UP_MS = 127000,       // tcp_syn_retries 6, tcp(7)
};

#define NS_PER_MS 1000000ull

// ---- what a seed decides -----------------------------------------------------------------------

struct profile {
  bool ring;            // completions come later, splices may run in the kernel; else like epoll
  bool crowd;           // more clients than one batch of events
  bool others;          // another worker takes part
  uint32_t clients;
  uint32_t steps;
  uint32_t slots;
  uint32_t buffers;
  uint32_t pipes;
  uint32_t descriptor_limit;   // of the fake process: EMFILE beyond
  uint32_t shared_descriptors;
  uint32_t shared_connections;
  int pipe_size;               // what F_GETPIPE_SZ says
  uint32_t pipe_slots;
  uint32_t slot_bytes;         // a slot takes at most so much of one segment
  uint32_t queue_bytes;        // of sockets, at most
  uint32_t amount;             // bytes that one side sends, at most
  uint32_t post, reap, run;    // per mille: how eagerly the fake kernel works
  uint32_t short_drains;  // per mille: out of a pipe in small pieces
  uint32_t interrupts;         // per mille: EINTR
  uint32_t self_ends;          // per mille: a multishot watch ends by itself
  uint32_t rough;              // per cent of clients and servers that misbehave
};

// ---- bytes -------------------------------------------------------------------------------------

struct queue {
  uint8_t *bytes;
  size_t start;
  size_t length;
  size_t room;  // allocated
};

// The bytes of a stream are a function of its name and the offset.
const uint8_t *pattern_at(uint32_t stream, uint64_t offset, size_t *_Nonnull length);

// What a receiver must see: parts of streams, one after the other. The last may be open: its end
// is not known yet.
struct segment {
  uint32_t stream;
  bool open;
  uint64_t from;
  uint64_t length;
};

struct script {
  struct segment *segments;
  uint32_t count;
  uint32_t room;
  uint32_t at;
  uint64_t done;   // of the segment `at`
  uint64_t total;  // received in all
};

// ---- the fake kernel ---------------------------------------------------------------------------

enum fake_state : uint8_t {
  FAKE_NEW,
  FAKE_LISTENING,
  FAKE_CONNECTING,
  FAKE_OPEN,
};

struct actor;

struct fake_socket {
  enum fake_state state;
  bool local;       // a Unix socket
  bool fin_out;     // shut down for writing, or closed
  bool fin_sent;    // the other end has it
  bool fin_in;
  bool rst_out;     // to be sent
  bool dead;        // reset, refused or timed out
  bool closed;      // nobody owns it
  bool nospace;     // somebody waits for room in `send`
  bool linger;      // SO_LINGER with 0 seconds
  bool keepalive;
  bool vanished;    // its host is gone
  bool edge;        // something happened since the last event
  bool watched;
  bool cancelled;   // the watch shall end
  int error;        // pending
  int outcome;      // connecting: 0, an errno, or -1 for never
  int descriptor;   // of the fake process; -1: an actor's end
  uint32_t slot, generation;  // of the watch
  enum sluice_side side;
  struct fake_socket *peer;
  struct actor *actor;
  struct queue receive, send;
  size_t receive_room, send_room;
  uint64_t read;     // by the owner
  uint64_t arrived;  // in the receive queue, ever
  uint64_t moved_ns;
  uint64_t fin_read_ns;
  uint64_t opened_ns;
  uint64_t vanished_ns;
  struct fake_socket *next_waiting;  // accept queue
  struct fake_socket *next;          // all of the seed
};

struct fake_pipe {
  struct queue bytes;
  uint32_t slots[PIPE_SLOTS_MAX];
  uint32_t slots_used;
  uint32_t slots_first;
  int ends;  // open
  struct fake_pipe *next;
};

enum descriptor_kind : uint8_t { NOTHING, SOCKET, PIPE_READ, PIPE_WRITE };

struct fake_descriptor {
  enum descriptor_kind kind;
  struct fake_socket *socket;
  struct fake_pipe *pipe;
};

struct kernel {
  struct fake_descriptor descriptors[DESCRIPTORS_MAX];
  uint32_t open;
  struct fake_socket *sockets;
  struct fake_pipe *pipes;
};
extern struct kernel kernel;

void kernel_reset(void);
struct fake_socket *kernel_socket(int descriptor);
int kernel_descriptor(struct fake_socket *socket);
void kernel_clock(void);
ssize_t kernel_splice(int from, int to, size_t length);
uint32_t socket_poll(struct fake_socket *s);
bool socket_writable(const struct fake_socket *s);
ssize_t socket_receive(struct fake_socket *s, void *to, size_t length);
ssize_t socket_send(struct fake_socket *s, const struct iovec *parts, size_t count);
void socket_finish(struct fake_socket *s);
void socket_close(struct fake_socket *s);
void socket_reset(struct fake_socket *s);
struct fake_socket *socket_connect(int listener, struct actor *actor);
bool network_move(struct fake_socket *s, size_t most);
bool network_move_any(void);
bool connect_complete(struct fake_socket *s);

// ---- the event source --------------------------------------------------------------------------

void source_step(void);
bool source_quiet(void);
void source_flush(bool on);
bool source_holds_watch(uint32_t slot, uint32_t generation, enum sluice_side side);
bool source_holds_splice(uint32_t slot, uint32_t generation, int half);
bool source_will_fill(uint32_t slot, uint32_t generation, int half);
void source_descriptor_closed(const struct fake_socket *s);
uint32_t source_accepted_unseen(void);

// ---- the world ---------------------------------------------------------------------------------

enum actor_end : uint8_t { ACTOR_GOES_ON, ACTOR_SAW_FIN, ACTOR_SAW_RESET, ACTOR_QUIT };

struct actor {
  struct fake_socket *socket;
  struct deal *deal;  // NULL until the data plane asked about it
  struct actor *next;
  struct script expects;
  uint32_t stream;    // name of what it sends
  bool server;
  bool finished;      // sent its FIN
  bool steady;        // neither resets, closes early nor vanishes
  enum actor_end end;
  uint64_t to_send;
  uint64_t sent;
  uint32_t reads;     // per mille of its turns
  uint32_t writes;
  uint64_t read_most; // then it stops reading
  uint64_t reset_at, close_at, vanish_at;  // after so many bytes sent and received
  bool waits_for_fin; // before its own
  bool stays;         // never sends a FIN by itself
};

// Bytes of the caller's own.
struct said {
  uint32_t stream, length;
};

// A connection, as the caller knows it.
struct deal {
  struct sluice_id id;
  struct actor *client;
  struct actor *server;
  struct fake_socket *socket[2];  // the data plane's ends
  struct deal *next;
  bool live;
  bool parked;
  bool exempt;       // bytes may be lost: killed, rejected, a deadline
  bool delivering;
  bool stalled;
  bool replied;      // rejected with a reply that must arrive
  bool discards[2];
  bool limited[2];   // relays up to a limit, then an ask is due
  bool asked;
  bool released;     // its upstream was: a redial event follows
  bool facts;        // a fact was given: the next ask is about it
  bool opened;
  bool judged[2];
  bool pending[2];   // the end of an open segment is known when a splice has run
  uint32_t pending_at[2];
  uint64_t allowed[2];  // offset of the source that may have been passed on
  uint64_t granted[2];  // pending: what is allowed beyond the splice's bytes
  uint64_t bound[2];    // offset of the source that must arrive even if the source is reset
  uint64_t answered_at;  // batch
  uint64_t answered_ns;
  uint64_t hold_until_ns;
  uint64_t dialled_ns;
  uint64_t opened_ns;
  uint64_t accepted_ns;
  uint64_t rejected_ns;
  uint64_t closed_ns;
  uint64_t fact_ns;
  uint32_t connect_ms, idle_ms, half_closed_ms, max_age_ms;
  // The dial, as long as another may be begun beside it, and that other one.
  struct said said[2];  // upstream first: the prefix, and what was sent with the route
  uint64_t client_from; // offset of the client's bytes behind that
  uint32_t race_ms;     // 0: no slow event is due
  bool races;
  bool one_failed;      // of two dials
  struct actor *rival;
  struct fake_socket *rival_socket;
  uint64_t rival_ns;
  uint32_t rival_connect_ms;
  bool lets_go;         // of one of two dials, when we looked last
  uint64_t let_go_ns;   // a deadline that is over by then is due after it
  struct sluice_summary summary;
};

struct world {
  uint64_t seed;
  uint64_t now_ns;
  uint64_t step;
  uint64_t random;
  struct profile profile;
  struct sluice_worker *worker;
  struct sluice_shared *shared;
  struct actor *actors;
  struct deal *deals;
  struct deal *dealing;  // whose answer is being given
  bool racing;           // the dial that it begins is a second one
  uint32_t streams;
  uint32_t clients_begun;
  int listeners[LISTENERS];
  bool listening[LISTENERS];
  bool ending;
  bool settling;
  uint64_t ending_ns;
  uint64_t batch;    // of events
  uint32_t excused;  // turns in a row that did not get to the deadlines
  uint32_t moves;    // of actors and network, to see whether anything goes on
};
extern struct world world;

uint64_t draw(void);
uint64_t below(uint64_t limit);
uint64_t between(uint64_t least, uint64_t most);
bool chance(uint64_t per_mille);
uint64_t amount(uint64_t most);  // mostly small, sometimes large

void world_begin(void);
void world_run(void);
void world_finish(void);
void world_connected(struct fake_socket *s);
void world_dial(struct fake_socket *s, uint32_t server);
void world_splice_ran(uint32_t slot, uint32_t generation, int half);
void world_splice_reaped(uint32_t slot, uint32_t generation, int half, int32_t result);
struct deal *_Nullable deal_find(uint32_t slot, uint32_t generation);

// others.c
void other_choose(struct profile *p);
void other_begin(void);
uint32_t other_unborn(void);
void other_step(void);
void other_end(void);

// model.c: what answers mean
// An answer in the making, with the names of the bytes in it.
struct draft {
  struct sluice_answer answer;
  struct sluice_route route;
  uint32_t prefix, to_client, to_upstream;
};

// What stood before an answer was given.
struct before {
  struct fake_socket *from[2];
  uint64_t cut[2];   // offset of the source: all before it is decided
  uint32_t held[2];
  bool fills[2];     // a splice that has not run will read more
};

struct before before_of(const struct deal *d, struct connection *c);
void model_insert(struct deal *d, int half, const struct before *b, uint64_t skip,
                  uint32_t stream, uint32_t length);
void model_answer(struct deal *d, const struct draft *draft, const struct before *b);
void model_second(struct deal *d, const struct said *_Nullable first);

// answers.c: the caller's side
void answer_events(uint32_t count);
void answer_unasked(void);
void answer_facts(void);

// toy.c
struct sluice_tls_setup *toy_setup(bool server);

void answer_kill_all(uint32_t tag);
struct connection *connection_of(const struct deal *d);
void give_kill(struct deal *d);
struct sluice_bytes literal(uint8_t *bytes, uint64_t length, uint32_t *stream);
uint64_t literal_length(void);
void draft_address(struct sluice_route *route);

// races.c
void race_answer_slow(const struct sluice_event *e);
void race_answer_raced(const struct sluice_event *e);
void race_forget(struct deal *d);

// actors.c
void actor_step(struct actor *a);
struct actor *actor_make(bool server);
void actor_finish_up(struct actor *a);
void script_cut(struct script *script, uint64_t at);
void script_add(struct script *script, uint32_t stream, uint64_t from, uint64_t length, bool open);

// checks.c
void check_step(void);
void check_deadlines(void);
void check_quiet(void);
void check_closed(struct deal *d);
void check_judge(struct deal *d);
void check_end(void);

// ---- what happened -----------------------------------------------------------------------------

#define COVERAGE(X) \
  X(receive_again) X(receive_short) X(send_again) X(send_short) X(fill_again) X(pipe_full) \
  X(drain_again) X(interrupted) X(inline_splices) X(ring_splices) X(ring_splice_again) \
  X(watch_ended_itself) X(cancelled_late) X(accept_multishot) X(accept_careful) \
  X(accept_aborted) X(out_of_descriptors) X(pipe_denied) X(dial_now) X(dial_later) \
  X(dial_refused) X(dial_never) X(reset_sent) X(reset_received) X(timed_out) X(vanished) \
  X(promotions) X(demotions) X(pipe_misses) X(accept_pauses) X(starved) X(asked_first) \
  X(handed_over) X(received) \
  X(asked_limit) X(asked_bytes) X(asked_full) X(asked_half_closed) X(asked_timed_out) \
  X(tls_begun) X(tls_failed) X(tls_shaken) X(tls_ahead) X(tls_offloaded) \
  X(tls_first) X(tls_second) X(asked_open) X(redialled) X(released) X(outlived) \
  X(routed) X(held) X(parked) X(facts) X(sent_client) X(sent_upstream) \
  X(discarded) X(rejected) X(killed) X(killed_all) X(unlistened) X(stale) X(no_buffer) \
  X(too_long) X(not_dialled) X(batch_full) X(delivering) X(stalled) X(farewell) \
  X(end_client_fin) X(end_client_reset) X(end_upstream_fin) X(end_upstream_reset) \
  X(end_upstream_error) X(end_preface) X(end_connect) X(end_idle) X(end_half_closed) \
  X(end_max_age) X(undone) X(given_up) X(rested) X(left_parked) X(judged_complete) X(judged_reset) \
  X(judged_reply) X(quiet_checks) X(slow) X(race_begun) X(race_not_dialled) X(race_denied) \
  X(race_first_won) X(race_second_won) X(race_first_failed) X(race_second_failed) \
  X(race_both_failed) X(race_both_stand) X(race_settled) X(race_broken_off)

struct coverage {
#define X(name) uint64_t name;
  COVERAGE(X)
#undef X
  uint64_t connections;
  uint64_t bytes;
  uint64_t steps;
};
extern struct coverage coverage;

// A line of the trace: kept as a format and four numbers, printed when something fails.
void note(const char *format, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define MUST(condition, ...) \
  do {                       \
    if (!(condition)) fail(__VA_ARGS__); \
  } while (0)
