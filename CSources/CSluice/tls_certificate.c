// What there is to say of a certificate: read once into one piece of memory, whose parts are lent.
#include "tls_openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct part {
  uint32_t offset;
  uint32_t length;
  enum sluice_certificate_item item;
};

struct sluice_certificate {
  int64_t not_before;
  int64_t not_after;
  uint32_t chain;
  uint32_t count;
  uint8_t *bytes;
  uint32_t length;
  struct part parts[];
};

enum {
  PARTS_FIXED = 6,
  NAMES_MAX = 4096,  // of subjectAltName; the largest in use have a few hundred
};

// ---- read --------------------------------------------------------------------------------------

// No one is asked for a pass phrase: OpenSSL would ask the terminal.
static int no_phrase(char *phrase, int size, int writes, void *data) {
  (void)phrase, (void)size, (void)writes, (void)data;
  return -1;
}

// The next certificate of a PEM text, other blocks skipped; NULL at its end or when it is broken,
// with the reason in OpenSSL's queue.
X509 *certificate_parse(BIO *from) { return PEM_read_bio_X509(from, NULL, no_phrase, NULL); }

EVP_PKEY *certificate_key(struct sluice_bytes pem) {
  BIO *from = BIO_new_mem_buf(pem.start, (int)pem.length);
  if (!from) return NULL;
  EVP_PKEY *key = PEM_read_bio_PrivateKey(from, NULL, no_phrase, NULL);
  BIO_free(from);
  return key;
}

static int64_t seconds_of(const ASN1_TIME *time) {
  struct tm parts = {0};
  return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

// ---- told --------------------------------------------------------------------------------------

static void tell(struct sluice_certificate *c, BIO *text, enum sluice_certificate_item item,
                 const void *bytes, int length) {
  if (length <= 0) return;
  c->parts[c->count++] = (struct part){.offset = c->length, .length = (uint32_t)length,
                                       .item = item};
  c->length += (uint32_t)length;
  (void)BIO_write(text, bytes, length);
}

static void tell_string(struct sluice_certificate *c, BIO *text,
                        enum sluice_certificate_item item, const char *string) {
  tell(c, text, item, string, (int)strlen(string));
}

static void tell_name(struct sluice_certificate *c, BIO *text, enum sluice_certificate_item item,
                      const X509_NAME *name) {
  BIO *line = BIO_new(BIO_s_mem());
  if (!line) return;
  char *start = NULL;
  if (X509_NAME_print_ex(line, name, 0, XN_FLAG_RFC2253) >= 0) {
    long length = BIO_get_mem_data(line, &start);
    tell(c, text, item, start, (int)length);
  }
  BIO_free(line);
}

// The last one is the most specific, as RFC 6125 section 6.4.4 has it.
static void tell_common_name(struct sluice_certificate *c, BIO *text, const X509_NAME *name) {
  int last = -1;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) last = at;
  if (last < 0) return;
  unsigned char *utf8 = NULL;
  int length = ASN1_STRING_to_UTF8(
      &utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
  if (length < 0) return;
  tell(c, text, sluice_certificate_item_common_name, utf8, length);
  OPENSSL_free(utf8);
}

// As HAProxy has it in its header: the kind and the bits, and of those with one size the name.
static void tell_key(struct sluice_certificate *c, BIO *text, X509 *leaf) {
  EVP_PKEY *key = X509_get0_pubkey(leaf);
  if (!key) return;
  char name[32];
  int bits = EVP_PKEY_get_bits(key);
  int kind = EVP_PKEY_get_base_id(key);
  if (kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS) {
    snprintf(name, sizeof name, "RSA%d", bits);
  } else if (kind == EVP_PKEY_EC) {
    snprintf(name, sizeof name, "EC%d", bits);
  } else if (kind == EVP_PKEY_DSA) {
    snprintf(name, sizeof name, "DSA%d", bits);
  } else {
    const char *known = OBJ_nid2sn(kind);
    snprintf(name, sizeof name, "%s", known ? known : "unknown");
  }
  tell_string(c, text, sluice_certificate_item_key_algorithm, name);
}

static void tell_alternatives(struct sluice_certificate *c, BIO *text, const GENERAL_NAMES *names,
                              int count) {
  for (int i = 0; i < count; i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    enum sluice_certificate_item item;
    if (name->type == GEN_DNS) {
      item = sluice_certificate_item_name;
    } else if (name->type == GEN_EMAIL) {
      item = sluice_certificate_item_mail;
    } else if (name->type == GEN_IPADD) {
      item = sluice_certificate_item_address;
    } else {
      continue;
    }
    const ASN1_STRING *value = name->d.ia5;
    tell(c, text, item, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
  }
}

static void tell_all(struct sluice_certificate *c, BIO *text, X509 *leaf,
                     const GENERAL_NAMES *names, int count) {
  unsigned char *der = NULL;
  int length = i2d_X509(leaf, &der);
  tell(c, text, sluice_certificate_item_der, der, length);
  OPENSSL_free(der);
  tell_name(c, text, sluice_certificate_item_subject, X509_get_subject_name(leaf));
  tell_name(c, text, sluice_certificate_item_issuer, X509_get_issuer_name(leaf));
  tell_common_name(c, text, X509_get_subject_name(leaf));
  tell_key(c, text, leaf);
  const char *signature = OBJ_nid2sn(X509_get_signature_nid(leaf));
  if (signature) tell_string(c, text, sluice_certificate_item_signature_algorithm, signature);
  tell_alternatives(c, text, names, count);
}

// NULL without memory.
struct sluice_certificate *certificate_of(X509 *leaf) {
  GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
  int count = names ? sk_GENERAL_NAME_num(names) : 0;
  if (count > NAMES_MAX) count = NAMES_MAX;
  struct sluice_certificate *c =
      calloc(1, sizeof *c + (size_t)(PARTS_FIXED + count) * sizeof(struct part));
  BIO *text = BIO_new(BIO_s_mem());
  if (c && text) {
    c->chain = 1;
    c->not_before = seconds_of(X509_get0_notBefore(leaf));
    c->not_after = seconds_of(X509_get0_notAfter(leaf));
    tell_all(c, text, leaf, names, count);
    char *start = NULL;
    long length = BIO_get_mem_data(text, &start);
    c->bytes = length == (long)c->length && length > 0 ? malloc((size_t)length) : NULL;
    if (c->bytes) memcpy(c->bytes, start, (size_t)length);
  }
  BIO_free(text);
  GENERAL_NAMES_free(names);
  ERR_clear_error();  // extensions that cannot be read are none
  if (c && c->bytes) return c;
  free(c);
  return NULL;
}

void sluice_certificate_destroy(struct sluice_certificate *certificate) {
  if (!certificate) return;
  free(certificate->bytes);
  free(certificate);
}

void sluice_certificate_validity(const struct sluice_certificate *certificate, int64_t *not_before,
                                 int64_t *not_after) {
  *not_before = certificate->not_before;
  *not_after = certificate->not_after;
}

uint32_t sluice_certificate_chain(const struct sluice_certificate *certificate) {
  return certificate->chain;
}

bool sluice_certificate_next(const struct sluice_certificate *certificate, uint32_t index,
                             enum sluice_certificate_item *item, struct sluice_bytes *bytes) {
  if (index >= certificate->count) return false;
  const struct part *part = &certificate->parts[index];
  *item = part->item;
  *bytes = (struct sluice_bytes){certificate->bytes + part->offset, part->length};
  return true;
}

// ---- inspected ---------------------------------------------------------------------------------

static void problem_set(struct sluice_tls_problem *problem, enum sluice_tls_input input,
                        const char *otherwise) {
  problem->input = input;
  problem->index = 0;
  tls_reason(problem->reason, otherwise);
}

static bool key_fits(X509 *leaf, struct sluice_bytes pem, struct sluice_tls_problem *problem) {
  if (pem.length == 0) return true;
  EVP_PKEY *key = certificate_key(pem);
  bool fits = key && X509_check_private_key(leaf, key) == 1;
  if (!fits) problem_set(problem, sluice_tls_input_key, "there is no private key in it");
  EVP_PKEY_free(key);
  return fits;
}

static struct sluice_certificate *certificate_inspect(BIO *from, struct sluice_bytes key,
                                                      struct sluice_tls_problem *problem) {
  X509 *leaf = certificate_parse(from);
  if (!leaf) {
    problem_set(problem, sluice_tls_input_certificate, "there is no certificate in it");
    return NULL;
  }
  struct sluice_certificate *c = key_fits(leaf, key, problem) ? certificate_of(leaf) : NULL;
  X509_free(leaf);
  if (!c) return NULL;
  while ((leaf = certificate_parse(from))) {
    c->chain++;
    X509_free(leaf);
  }
  ERR_clear_error();
  return c;
}

struct sluice_certificate *sluice_certificate_read(struct sluice_bytes chain,
                                                   struct sluice_bytes key,
                                                   struct sluice_tls_problem *problem) {
  ERR_clear_error();
  *problem = (struct sluice_tls_problem){.input = sluice_tls_input_memory,
                                         .reason = "out of memory"};
  BIO *from = BIO_new_mem_buf(chain.start, (int)chain.length);
  if (!from) return NULL;
  struct sluice_certificate *c = certificate_inspect(from, key, problem);
  BIO_free(from);
  ERR_clear_error();
  return c;
}
