// The seam to TLS: transport.c drives connections through it, tls_stream.c is OpenSSL behind it,
// and the simulation has a toy in its place.
#pragma once

#include "internal.h"
#include "sluice_tls.h"

enum {
  SEAL_BYTES = 3 * 16384,       // at once: three full records, which with theirs fit a buffer
  RECORDS_PER_READ = 8,         // of which one may bring no bytes
  HANDSHAKE_STEPS = 8,          // calls, each of which may bring no news
  NAME_BYTES = 256,             // a host name has 253
  KEYS_BYTES = 56,              // the longest that the kernel takes
};

// How it stands with one side's TLS.
enum tls_stage : uint8_t {
  TLS_WAITING,  // for the socket to be connected
  TLS_SHAKING,
  TLS_OPEN,
  TLS_FAILED,   // nothing more is read or sealed; what is in `out` still goes out
};

enum tls_step : uint8_t {
  TLS_DONE,     // bytes, or the handshake
  TLS_NOTHING,  // the socket has no more
  TLS_AGAIN,    // there is more to be done, after others had their turn
  TLS_ROOM,     // no buffer for what is to be said
  TLS_ENDED,    // close_notify
  TLS_CUT,      // a FIN without it
  TLS_BROKEN,   // `error`, and `failure` in words where it is the protocol's
};

// One side's TLS, of a connection (`worker`, `side`) or of nobody's socket (both NULL).
struct tls {
  struct ssl_st *ssl;
  struct sluice_tls_setup *setup;
  struct sluice_worker *worker;
  struct side *side;
  struct buffer *in;   // came before TLS began, or from the caller: OpenSSL's first bytes
  struct buffer *out;  // said, and not taken by the kernel
  struct buffer own[2];     // what `in` and `out` are: detached, or `out` without the pool
  struct sluice_certificate *certificate;  // the other side's, once it was asked for
  uint64_t began_ns;
  uint64_t handshake_us;
  uint64_t session_key;
  uint64_t empty_at;   // the wait since which the socket is known to be empty
  int error;
  enum tls_stage stage;
  enum tls_step verdict;  // how the other side's bytes ended; TLS_DONE: they have not
  bool blocked;   // the last read found nothing
  bool fin;       // the other side's FIN was read, or the caller's word for it
  bool said_end;  // close_notify stands in `out` or went out
  bool starved;   // no buffer was left
  bool reading;   // what is said meanwhile takes no buffer that the reader may need
  bool sealed;    // by the kernel: what OpenSSL seals is dropped
  bool drained;   // by the kernel, when it was looked at last
  bool stuck;     // the kernel has no new keys to go on with
  uint32_t keys_length;  // 0: none were offered, or the kernel was asked
  uint64_t records;      // sealed with them
  uint8_t keys[KEYS_BYTES];  // for what is said: a struct tls12_crypto_info_* of linux/tls.h
  char name[NAME_BYTES];
  char failure[SLUICE_TLS_REASON];
};

// tls_stream.c
struct tls *_Nullable tls_make(struct sluice_worker *_Nullable w, struct sluice_tls_setup *setup);
bool tls_begin(struct tls *tls, uint64_t now_ns);
enum tls_step tls_handshake(struct tls *tls, uint64_t now_ns);
enum tls_step tls_read(struct tls *tls, uint8_t *to, size_t most, size_t *got);
bool tls_seal(struct tls *tls, const uint8_t *bytes, size_t length);
bool tls_say_end(struct tls *tls);
void tls_free(struct tls *_Nullable *_Nonnull slot);
void tls_drop_buffers(struct tls *tls);
void tls_give_out(struct tls *tls);

// tls_kernel.c
bool tls_offload(struct tls *tls);
bool tls_kernel_end(struct tls *tls, bool cut);

void tls_facts(struct tls *tls, struct sluice_tls_facts *facts);  // tls_facts.c
