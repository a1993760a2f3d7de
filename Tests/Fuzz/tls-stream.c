// Two ends of TLS, of which the input decides in what pieces the network brings each other's bytes,
// when who says how much, when who ends, and which bytes arrive as others. Whatever comes, what
// arrives is a beginning of what was said; and all of it when nothing was changed.
#include "sluice_tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_BYTES = 1 << 20, SAID_MOST = 1 << 18 };

struct end {
  struct sluice_tls_stream *stream;
  uint8_t *wire;  // on its way to this end
  uint32_t start;
  uint32_t filled;
  uint32_t said;
  uint32_t heard;
  bool ended;     // it has said its end
  bool over;      // it has heard the other's
};

static struct sluice_tls_setup *server_setup;
static struct sluice_tls_setup *client_setup;

static void must(bool holds) {
  if (!holds) abort();
}

static struct sluice_bytes text_of(BIO *bio) {
  char *start = NULL;
  long length = BIO_get_mem_data(bio, &start);
  return (struct sluice_bytes){(uint8_t *)start, (uint32_t)length};
}

static void make_setups(void) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *leaf = X509_new();
  must(key && leaf);
  ASN1_INTEGER_set(X509_get_serialNumber(leaf), 1);
  X509_gmtime_adj(X509_getm_notBefore(leaf), 0);
  X509_gmtime_adj(X509_getm_notAfter(leaf), 86400);
  X509_set_pubkey(leaf, key);
  must(X509_sign(leaf, key, EVP_sha256()) > 0);
  BIO *chain = BIO_new(BIO_s_mem());
  BIO *secret = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(chain, leaf);
  PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
  struct sluice_tls_identity identity = {.chain = text_of(chain), .key = text_of(secret)};
  struct sluice_tls_problem problem;
  struct sluice_tls_options options = {.min_version = 0x0303, .max_version = 0x0304};
  client_setup = sluice_tls_setup_create(&options, &problem);
  options.server = true;
  options.identities = &identity;
  options.identities_count = 1;
  options.tickets = sluice_ticket_keys_create();
  server_setup = sluice_tls_setup_create(&options, &problem);
  must(client_setup && server_setup);
  BIO_free(chain);
  BIO_free(secret);
  X509_free(leaf);
  EVP_PKEY_free(key);
}

static uint8_t word(uint32_t offset, int end) {
  return (uint8_t)(offset * 31 + offset / 251 + (uint32_t)end * 7);
}

// What an end has to send goes onto the wire.
static void post(struct end *from, struct end *to) {
  struct sluice_bytes output = sluice_tls_stream_output(from->stream);
  if (to->start == to->filled) to->start = to->filled = 0;
  must(to->filled + output.length <= WIRE_BYTES);
  if (output.length > 0) memcpy(to->wire + to->filled, output.start, output.length);
  to->filled += output.length;
}

static void hear(struct end *at, int other) {
  uint8_t bytes[4096];
  uint32_t count = 0;
  enum sluice_tls_step step;
  do {
    step = sluice_tls_stream_read(at->stream, bytes, sizeof bytes, &count);
    for (uint32_t i = 0; i < count; i++) must(bytes[i] == word(at->heard + i, other));
    at->heard += count;
  } while (count > 0);
  at->over = at->over || step == sluice_tls_step_ended;
}

static void deliver(struct end *at, uint32_t most) {
  uint32_t length = at->filled - at->start;
  if (length > most) length = most;
  uint32_t taken = 0;
  (void)sluice_tls_stream_receive(at->stream, (struct sluice_bytes){at->wire + at->start, length},
                                  false, &taken);
  at->start += taken;
}

static void speak(struct end *from, int end, uint32_t length) {
  uint8_t bytes[8192];
  if (from->ended || from->said + length > SAID_MOST) return;
  if (length > sizeof bytes) length = sizeof bytes;
  for (uint32_t i = 0; i < length; i++) bytes[i] = word(from->said + i, end);
  uint32_t taken = 0;
  (void)sluice_tls_stream_write(from->stream, (struct sluice_bytes){bytes, length}, &taken);
  from->said += taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!server_setup) make_setups();
  struct end ends[2] = {{0}};
  ends[0].stream = sluice_tls_stream_create(client_setup, (struct sluice_bytes){0});
  ends[1].stream = sluice_tls_stream_create(server_setup, (struct sluice_bytes){0});
  bool changed = false;
  for (int i = 0; i < 2; i++) ends[i].wire = malloc(WIRE_BYTES);
  post(&ends[0], &ends[1]);
  for (size_t at = 0; at + 1 < size; at += 2) {
    int end = data[at] & 1;
    struct end *one = &ends[end];
    switch (data[at] >> 1 & 7) {
      case 0: case 1: case 2: deliver(one, data[at + 1] + 1u); break;
      case 3: deliver(one, (data[at + 1] + 1u) * 64); break;
      case 4: speak(one, end, data[at + 1] * 32u); break;
      case 5: speak(one, end, data[at + 1]); break;
      case 6:
        if (data[at + 1] < 200 || one->start == one->filled) break;
        one->wire[one->start] ^= (uint8_t)(data[at + 1] - 199);
        changed = true;
        break;
      case 7:
        if (data[at + 1] < 240) break;
        sluice_tls_stream_end(one->stream);
        one->ended = true;
        break;
    }
    hear(one, 1 - end);
    post(one, &ends[1 - end]);
  }
  // Then all that is under way arrives.
  for (int round = 0; round < 4096 && (ends[0].start < ends[0].filled ||
                                       ends[1].start < ends[1].filled); round++) {
    for (int end = 0; end < 2; end++) {
      deliver(&ends[end], WIRE_BYTES);
      hear(&ends[end], 1 - end);
      post(&ends[end], &ends[1 - end]);
    }
  }
  for (int end = 0; end < 2; end++) {
    must(ends[end].heard <= ends[1 - end].said);
    if (!changed) must(ends[end].heard == ends[1 - end].said);
    struct sluice_tls_facts facts;
    sluice_tls_stream_facts(ends[end].stream, &facts);
    must(changed || !facts.failure);
  }
  for (int end = 0; end < 2; end++) {
    sluice_tls_stream_destroy(ends[end].stream);
    free(ends[end].wire);
  }
  return 0;
}
