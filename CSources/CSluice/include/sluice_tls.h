// TLS: what a side of a connection speaks beneath its bytes, and what it needs for that.
//
// A *setup* is made once from bytes, never from files, on any thread; workers share it, and each
// connection keeps it alive. Nothing here chooses: the caller reads the ClientHello and says which
// setup a client gets.
#pragma once

#include "sluice.h"

#pragma clang assume_nonnull begin

// ---- setups ------------------------------------------------------------------------------------

enum {
  SLUICE_TLS_REASON = 256,     // bytes of a reason in words, its NUL included
  SLUICE_TLS_IDENTITIES = 8,   // certificates of one setup, each with a key of another kind
  SLUICE_TICKET_KEYS = 3,      // accepted at once; the newest encrypts
};

// What of the input is wrong.
enum SLUICE_CLOSED_ENUM sluice_tls_input : uint8_t {
  sluice_tls_input_none = 0,
  sluice_tls_input_certificate = 1,
  sluice_tls_input_key = 2,
  sluice_tls_input_staple = 3,
  sluice_tls_input_versions = 4,
  sluice_tls_input_ciphers = 5,
  sluice_tls_input_suites = 6,
  sluice_tls_input_groups = 7,
  sluice_tls_input_alpn = 8,
  sluice_tls_input_authorities = 9,
  sluice_tls_input_name = 10,
  sluice_tls_input_memory = 11,
};

struct sluice_tls_problem {
  enum sluice_tls_input input;
  uint32_t index;                  // of the identity, for the first three
  char reason[SLUICE_TLS_REASON];  // OpenSSL's words
};

// A certificate with its key.
struct SLUICE_SAFE sluice_tls_identity {
  struct sluice_bytes chain;   // PEM, the leaf first; blocks of other kinds are skipped
  struct sluice_bytes key;     // PEM, not encrypted
  struct sluice_bytes staple;  // an OCSP response, DER; empty: none
};

// Of the other side's certificate.
enum SLUICE_CLOSED_ENUM sluice_tls_verify : uint8_t {
  sluice_tls_verify_off = 0,      // a client is asked for none; a server's is not looked at
  sluice_tls_verify_request = 1,  // a client may have one, good or bad: the facts say which
  sluice_tls_verify_require = 2,  // it must have one, and a good one
};

// Random keys for the tickets of all setups.
struct sluice_ticket_keys;
struct sluice_ticket_keys *_Nullable sluice_ticket_keys_create(void);
// No setup may have them any more.
void sluice_ticket_keys_destroy(struct sluice_ticket_keys *keys);
// A new one encrypts from now on, and the oldest is forgotten. False without randomness.
bool sluice_ticket_keys_rotate(struct sluice_ticket_keys *keys);

struct SLUICE_SAFE sluice_tls_options {
  const struct sluice_tls_identity *_Nullable identities;
  uint32_t identities_count;
  uint16_t min_version;  // 0x0303 or 0x0304
  uint16_t max_version;
  struct sluice_bytes ciphers;      // TLS 1.2, OpenSSL's list; empty: ECDHE with AEAD
  struct sluice_bytes suites;       // TLS 1.3; empty: OpenSSL's
  struct sluice_bytes groups;       // empty: X25519, P-256 and P-384
  struct sluice_bytes alpn;         // as in the extension: each name behind its length
  struct sluice_bytes authorities;  // PEM; for a client's setup empty means the system's
  struct sluice_bytes name;         // server: whose sessions these are; others resume none of them
  struct sluice_ticket_keys *_Nullable tickets;  // server; NULL: nothing is resumed
  enum sluice_tls_verify verify;
  bool server;
};

struct sluice_tls_setup;
// NULL with the problem set.
struct sluice_tls_setup *_Nullable sluice_tls_setup_create(
    const struct sluice_tls_options *options, struct sluice_tls_problem *problem);
// Connections that have it keep it until they are over.
void sluice_tls_setup_release(struct sluice_tls_setup *setup);

// Who seals what is told in bulk.
enum SLUICE_CLOSED_ENUM sluice_tls_kernel : uint8_t {
  sluice_tls_kernel_used = 0,
  sluice_tls_kernel_not_built = 1,  // OpenSSL was built without
  sluice_tls_kernel_absent = 2,     // the kernel has no TLS, or may not load it for this user
};

// Looked at once, by whoever comes first.
enum sluice_tls_kernel sluice_tls_kernel_look(void);

// ---- certificates ------------------------------------------------------------------------------

struct sluice_certificate;

enum SLUICE_CLOSED_ENUM sluice_certificate_item : uint8_t {
  sluice_certificate_item_der = 0,
  sluice_certificate_item_subject = 1,              // RFC 2253
  sluice_certificate_item_issuer = 2,
  sluice_certificate_item_common_name = 3,          // UTF-8; none, or the last one
  sluice_certificate_item_key_algorithm = 4,        // "RSA2048", "EC256", "ED25519"
  sluice_certificate_item_signature_algorithm = 5,  // "RSA-SHA256"
  sluice_certificate_item_name = 6,                 // a DNS name of subjectAltName
  sluice_certificate_item_mail = 7,
  sluice_certificate_item_address = 8,              // 4 or 16 bytes
};

// Reads the leaf of a chain. With a key (not empty) it must be the leaf's. NULL with the problem
// set.
struct sluice_certificate *_Nullable sluice_certificate_read(struct sluice_bytes chain,
                                                             struct sluice_bytes key,
                                                             struct sluice_tls_problem *problem);
void sluice_certificate_destroy(struct sluice_certificate *certificate);

// Seconds since 1970.
void sluice_certificate_validity(const struct sluice_certificate *certificate, int64_t *not_before,
                                 int64_t *not_after);
// Certificates in the chain that it was read from.
uint32_t sluice_certificate_chain(const struct sluice_certificate *certificate);
// What there is to say of it, one after the other; false behind the last. Bytes from outside, lent
// until it is destroyed.
bool sluice_certificate_next(const struct sluice_certificate *certificate, uint32_t index,
                             enum sluice_certificate_item *item, struct sluice_bytes *bytes);

// ---- what came of it ---------------------------------------------------------------------------

// Of one side. Strings and bytes are lent until the next turn, or the stream's next call.
struct SLUICE_SAFE sluice_tls_facts {
  const char *_Nullable version;              // "TLSv1.3"
  const char *_Nullable cipher;               // OpenSSL's name
  const char *_Nullable group;                // "x25519"
  const char *_Nullable failure;              // why it failed, in words; NULL: it did not
  struct sluice_bytes alpn;                   // the protocol agreed on
  struct sluice_bytes key_algorithm;          // of the server's certificate, whoever the server is
  struct sluice_bytes signature_algorithm;
  const struct sluice_certificate *_Nullable certificate;  // the other end's
  uint64_t handshake_us;
  int32_t verify;         // of the other end's certificate: X509_V_*, 0 is good, or there is none
  int32_t signature;      // of the server's handshake: the NID of its kind, 0 when resumed
  int32_t digest;         // and of its digest
  bool done;              // the handshake was
  bool resumed;
};

// False when that side speaks no TLS. A failed dial's are there until the next one begins; those of
// both sides are still there when the connection is closed.
bool sluice_worker_tls(struct sluice_worker *worker, struct sluice_id id, enum sluice_side side,
                       struct sluice_tls_facts *facts);

// The name of a signature scheme, as in RFC 8446 section 4.2.3, into `name`; "" when there is none.
void sluice_tls_scheme(const struct sluice_tls_facts *facts, char *name, uint32_t size);

// Why OpenSSL takes no certificate: X509_verify_cert_error_string(3).
const char *sluice_tls_verdict(int32_t verify);

// ---- without a socket --------------------------------------------------------------------------

// The same TLS for who moves the bytes itself. For one thread at a time.
struct sluice_tls_stream;

enum SLUICE_CLOSED_ENUM sluice_tls_step : uint8_t {
  sluice_tls_step_more = 0,       // the handshake goes on
  sluice_tls_step_open = 1,
  sluice_tls_step_ended = 2,      // the other side's close_notify
  sluice_tls_step_truncated = 3,  // its FIN without that
  sluice_tls_step_failed = 4,     // the facts say why
};

// As a client of a server with this name, or as a server (whose name is not looked at). NULL
// without memory.
struct sluice_tls_stream *_Nullable sluice_tls_stream_create(struct sluice_tls_setup *setup,
                                                             struct sluice_bytes name);
void sluice_tls_stream_destroy(struct sluice_tls_stream *stream);
// Bytes from the other side, of which as many are taken as there is room for; `ended`: its FIN is
// behind them. Goes on with the handshake.
enum sluice_tls_step sluice_tls_stream_receive(struct sluice_tls_stream *stream,
                                               struct sluice_bytes bytes, bool ended,
                                               uint32_t *taken);
// Fills up to `most` bytes with what the other side said.
enum sluice_tls_step sluice_tls_stream_read(struct sluice_tls_stream *stream, uint8_t *to,
                                            uint32_t most, uint32_t *count);
// Seals as much of the bytes as there is room for.
enum sluice_tls_step sluice_tls_stream_write(struct sluice_tls_stream *stream,
                                             struct sluice_bytes bytes, uint32_t *taken);
// Says close_notify.
void sluice_tls_stream_end(struct sluice_tls_stream *stream);
// What is to be sent, lent until the next call; it counts as sent.
struct sluice_bytes sluice_tls_stream_output(struct sluice_tls_stream *stream);
void sluice_tls_stream_facts(struct sluice_tls_stream *stream, struct sluice_tls_facts *facts);

#pragma clang assume_nonnull end
