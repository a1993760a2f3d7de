// Setups: one SSL_CTX with what belongs to it. Made on a control thread; read by workers.
#include "tls_openssl.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { LIST_BYTES = 1024 };  // a list of ciphers or groups, its NUL included

// TLS 1.2 with forward secrecy and AEAD only: what RFC 9325 section 4.2 recommends.
static const char default_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
// Those of Mozilla's intermediate configuration. OpenSSL's own have X448 and P-521, too. Servers
// begin with the hybrid that current browsers send a share for, where OpenSSL (3.5) knows it.
static const char default_groups[] = "X25519:P-256:P-384";
static const char hybrid_groups[] = "X25519MLKEM768:X25519:P-256:P-384";

// ---- problems ----------------------------------------------------------------------------------

static const char *reason_of(unsigned long code, const char *otherwise) {
  if (code == 0) return otherwise;
  if (ERR_SYSTEM_ERROR(code)) return strerror(ERR_GET_REASON(code));
  // What is there is no PEM, or not of that kind.
  if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
    return otherwise;
  if (ERR_GET_LIB(code) == ERR_LIB_OSSL_DECODER) return otherwise;
  const char *words = ERR_reason_error_string(code);
  return words ? words : otherwise;
}

// The first reason in OpenSSL's queue, which is emptied.
void tls_reason(char reason[SLUICE_TLS_REASON], const char *otherwise) {
  snprintf(reason, SLUICE_TLS_REASON, "%s", reason_of(ERR_peek_error(), otherwise));
  ERR_clear_error();
}

static bool wrong(struct sluice_tls_problem *problem, enum sluice_tls_input input, uint32_t index,
                  const char *otherwise) {
  problem->input = input;
  problem->index = index;
  tls_reason(problem->reason, otherwise);
  return false;
}

// ---- a server's certificates -------------------------------------------------------------------

// The rest of a chain follows its leaf and belongs to the certificate that was set last.
static bool chain_add(struct sluice_tls_setup *setup, BIO *from, uint32_t index,
                      struct sluice_tls_problem *problem) {
  X509 *next;
  for (int count = 1; (next = certificate_parse(from)); count++) {
    if (count == CERTIFICATES_PER_CHAIN || SSL_CTX_add0_chain_cert(setup->openssl, next) != 1) {
      X509_free(next);
      return wrong(problem, sluice_tls_input_certificate, index, "too many certificates");
    }
  }
  unsigned long end = ERR_peek_last_error();
  if (ERR_GET_LIB(end) != ERR_LIB_PEM || ERR_GET_REASON(end) != PEM_R_NO_START_LINE)
    return wrong(problem, sluice_tls_input_certificate, index, "no certificate");
  ERR_clear_error();
  return true;
}

static bool staple_take(struct identity *identity, struct sluice_bytes staple, uint32_t index,
                        struct sluice_tls_problem *problem) {
  if (staple.length == 0) return true;
  const unsigned char *at = staple.start;
  OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)staple.length);
  bool good = response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
  OCSP_RESPONSE_free(response);
  ERR_clear_error();
  if (!good) return wrong(problem, sluice_tls_input_staple, index, "no successful OCSP response");
  identity->staple = malloc(staple.length);
  if (!identity->staple) return wrong(problem, sluice_tls_input_memory, 0, "out of memory");
  memcpy(identity->staple, staple.start, staple.length);
  identity->staple_length = staple.length;
  return true;
}

// OpenSSL keeps one certificate for each kind of key: a second one would take the first's place.
static bool kind_is_new(const struct sluice_tls_setup *setup, X509 *leaf) {
  int kind = EVP_PKEY_get_base_id(X509_get0_pubkey(leaf));
  for (uint32_t i = 0; i < setup->identities_count; i++)
    if (EVP_PKEY_get_base_id(X509_get0_pubkey(setup->identities[i].leaf)) == kind) return false;
  return true;
}

static bool identity_use(struct sluice_tls_setup *setup, BIO *from,
                         const struct sluice_tls_identity *given, uint32_t index,
                         struct sluice_tls_problem *problem) {
  struct identity *identity = &setup->identities[index];
  identity->leaf = certificate_parse(from);
  if (!identity->leaf)
    return wrong(problem, sluice_tls_input_certificate, index, "there is no certificate in it");
  bool is_new = X509_get0_pubkey(identity->leaf) && kind_is_new(setup, identity->leaf);
  setup->identities_count = index + 1;
  if (!is_new)
    return wrong(problem, sluice_tls_input_certificate, index,
                 "there is one with the same kind of key already");
  identity->facts = certificate_of(identity->leaf);
  if (!identity->facts) return wrong(problem, sluice_tls_input_memory, 0, "out of memory");
  if (SSL_CTX_use_certificate(setup->openssl, identity->leaf) != 1)
    return wrong(problem, sluice_tls_input_certificate, index, "refused");
  if (!chain_add(setup, from, index, problem)) return false;
  EVP_PKEY *key = certificate_key(given->key);
  bool fits = key && X509_check_private_key(identity->leaf, key) == 1 &&
              SSL_CTX_use_PrivateKey(setup->openssl, key) == 1;
  EVP_PKEY_free(key);
  if (!fits) return wrong(problem, sluice_tls_input_key, index, "there is no private key in it");
  return staple_take(identity, given->staple, index, problem);
}

static bool identities_use(struct sluice_tls_setup *setup,
                           const struct sluice_tls_options *options,
                           struct sluice_tls_problem *problem) {
  if (options->server && options->identities_count == 0)
    return wrong(problem, sluice_tls_input_certificate, 0, "there is no certificate");
  if (options->identities_count > SLUICE_TLS_IDENTITIES)
    return wrong(problem, sluice_tls_input_certificate, SLUICE_TLS_IDENTITIES, "too many");
  for (uint32_t i = 0; i < options->identities_count; i++) {
    const struct sluice_tls_identity *given = &options->identities[i];
    BIO *from = BIO_new_mem_buf(given->chain.start, (int)given->chain.length);
    if (!from) return wrong(problem, sluice_tls_input_memory, 0, "out of memory");
    bool used = identity_use(setup, from, given, i, problem);
    BIO_free(from);
    if (!used) return false;
  }
  return true;
}

// ---- whom the other side's certificate is checked against --------------------------------------

static bool authorities_use(struct sluice_tls_setup *setup, struct sluice_bytes pem,
                            struct sluice_tls_problem *problem) {
  if (setup->verify == sluice_tls_verify_off) return true;
  if (pem.length == 0) {
    if (!setup->server && SSL_CTX_set_default_verify_paths(setup->openssl) == 1) return true;
    return wrong(problem, sluice_tls_input_authorities, 0, "there is no certificate in it");
  }
  BIO *from = BIO_new_mem_buf(pem.start, (int)pem.length);
  if (!from) return wrong(problem, sluice_tls_input_memory, 0, "out of memory");
  X509_STORE *store = SSL_CTX_get_cert_store(setup->openssl);
  bool good = true;
  int count = 0;
  X509 *authority;
  while (good && (authority = certificate_parse(from))) {
    good = X509_STORE_add_cert(store, authority) == 1 &&
           (!setup->server || SSL_CTX_add_client_CA(setup->openssl, authority) == 1);
    X509_free(authority);
    count++;
  }
  BIO_free(from);
  unsigned long end = ERR_peek_last_error();
  bool ended = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  if (!good || !ended || count == 0)
    return wrong(problem, sluice_tls_input_authorities, 0, "there is no certificate in it");
  ERR_clear_error();
  return true;
}

// Whatever is wrong with it is for the facts.
static int let_in(int good, X509_STORE_CTX *store) {
  (void)good, (void)store;
  return 1;
}

static void verify_use(struct sluice_tls_setup *setup) {
  switch (setup->verify) {
    case sluice_tls_verify_off:
      SSL_CTX_set_verify(setup->openssl, SSL_VERIFY_NONE, NULL);
      return;
    case sluice_tls_verify_request:
      SSL_CTX_set_verify(setup->openssl, SSL_VERIFY_PEER, let_in);
      return;
    case sluice_tls_verify_require:
      SSL_CTX_set_verify(setup->openssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
      return;
  }
}

// ---- versions, ciphers, groups, protocols ------------------------------------------------------

static bool list_copy(char list[LIST_BYTES], struct sluice_bytes given) {
  if (given.length >= LIST_BYTES || memchr(given.start ? given.start : (const uint8_t *)"", 0,
                                           given.length))
    return false;
  if (given.length > 0) memcpy(list, given.start, given.length);
  list[given.length] = 0;
  return true;
}

static bool groups_use(struct sluice_tls_setup *setup, struct sluice_bytes groups) {
  char list[LIST_BYTES];
  if (!list_copy(list, groups)) return false;
  if (groups.length > 0) return SSL_CTX_set1_groups_list(setup->openssl, list) == 1;
  if (setup->server && SSL_CTX_set1_groups_list(setup->openssl, hybrid_groups) == 1) return true;
  ERR_clear_error();
  return SSL_CTX_set1_groups_list(setup->openssl, default_groups) == 1;
}

static bool lists_use(struct sluice_tls_setup *setup, const struct sluice_tls_options *options,
                      struct sluice_tls_problem *problem) {
  char list[LIST_BYTES];
  SSL_CTX *openssl = setup->openssl;
  if (SSL_CTX_set_min_proto_version(openssl, options->min_version) != 1 ||
      SSL_CTX_set_max_proto_version(openssl, options->max_version) != 1 ||
      options->min_version > options->max_version)
    return wrong(problem, sluice_tls_input_versions, 0, "no such version");
  const char *ciphers = options->ciphers.length > 0 ? list : default_ciphers;
  if (!list_copy(list, options->ciphers) || SSL_CTX_set_cipher_list(openssl, ciphers) != 1)
    return wrong(problem, sluice_tls_input_ciphers, 0, "no cipher match");
  if (!list_copy(list, options->suites) ||
      (options->suites.length > 0 && SSL_CTX_set_ciphersuites(openssl, list) != 1))
    return wrong(problem, sluice_tls_input_suites, 0, "no cipher match");
  if (!groups_use(setup, options->groups))
    return wrong(problem, sluice_tls_input_groups, 0, "no such group");
  return true;
}

static int alpn_select(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                       const unsigned char *offered, unsigned int offered_length, void *data) {
  (void)ssl;
  const struct sluice_tls_setup *setup = data;
  unsigned char *found = NULL;
  int result = SSL_select_next_proto(&found, length, setup->alpn, setup->alpn_length, offered,
                                     offered_length);
  *chosen = found;
  // RFC 7301 section 3.2: a server that supports none of them SHALL respond with this alert.
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool alpn_whole(struct sluice_bytes alpn) {
  uint32_t at = 0;
  while (at < alpn.length && alpn.start[at] > 0) at += 1u + alpn.start[at];
  return at == alpn.length;
}

static bool alpn_use(struct sluice_tls_setup *setup, struct sluice_bytes alpn,
                     struct sluice_tls_problem *problem) {
  if (alpn.length == 0) return true;
  if (!alpn_whole(alpn)) return wrong(problem, sluice_tls_input_alpn, 0, "a name of no length");
  if (!setup->server) {
    if (SSL_CTX_set_alpn_protos(setup->openssl, alpn.start, alpn.length) == 0) return true;
    return wrong(problem, sluice_tls_input_alpn, 0, "refused");
  }
  setup->alpn = malloc(alpn.length);
  if (!setup->alpn) return wrong(problem, sluice_tls_input_memory, 0, "out of memory");
  memcpy(setup->alpn, alpn.start, alpn.length);
  setup->alpn_length = alpn.length;
  SSL_CTX_set_alpn_select_cb(setup->openssl, alpn_select, setup);
  return true;
}

// ---- staples and sessions ----------------------------------------------------------------------

static int staple_give(SSL *ssl, void *data) {
  const struct sluice_tls_setup *setup = data;
  const X509 *leaf = SSL_get_certificate(ssl);
  for (uint32_t i = 0; i < setup->identities_count; i++) {
    const struct identity *identity = &setup->identities[i];
    if (identity->leaf != leaf || !identity->staple) continue;
    uint8_t *copy = OPENSSL_memdup(identity->staple, identity->staple_length);
    if (!copy) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)identity->staple_length);
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// Whose sessions these are: what else decides about the client's certificate goes in, too, or a
// session would carry a verdict from where it does not count.
static bool session_context_use(struct sluice_tls_setup *setup,
                                const struct sluice_tls_options *options) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  uint8_t verify = (uint8_t)options->verify;
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  bool done = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(hash, &verify, 1) == 1 &&
              EVP_DigestUpdate(hash, &options->name.length, sizeof options->name.length) == 1 &&
              EVP_DigestUpdate(hash, options->name.start, options->name.length) == 1 &&
              EVP_DigestUpdate(hash, options->authorities.start, options->authorities.length) == 1
              && EVP_DigestFinal_ex(hash, digest, &length) == 1;
  EVP_MD_CTX_free(hash);
  return done && SSL_CTX_set_session_id_context(setup->openssl, digest, length) == 1;
}

static bool sessions_use(struct sluice_tls_setup *setup, const struct sluice_tls_options *options,
                         struct sluice_tls_problem *problem) {
  SSL_CTX *openssl = setup->openssl;
  if (!setup->server) {
    SSL_CTX_set_session_cache_mode(openssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(openssl, tls_stream_got_session);
    return true;
  }
  SSL_CTX_set_session_cache_mode(openssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(openssl, TICKET_LIFETIME_S);
  if (!session_context_use(setup, options))
    return wrong(problem, sluice_tls_input_memory, 0, "no session context");
  setup->tickets = options->tickets;
  if (options->tickets) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(openssl, ticket_key);
  } else {
    SSL_CTX_set_options(openssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(openssl, 0);
  }
  return true;
}

static uint32_t session_place(uint64_t key) { return (uint32_t)(key % SESSIONS_KEPT); }

static void session_free(struct kept_session *kept) {
  if (!kept) return;
  SSL_SESSION_free(kept->session);
  free(kept);
}

// A session is used once: RFC 8446 appendix C.4. Another connection's may come in its place.
SSL_SESSION *tls_session_take(struct sluice_tls_setup *setup, uint64_t key) {
  struct kept_session *kept = atomic_exchange(&setup->sessions[session_place(key)], NULL);
  if (!kept) return NULL;
  SSL_SESSION *session = kept->key == key ? kept->session : NULL;
  if (session) kept->session = NULL;
  session_free(kept);
  return session;
}

// Takes the session over.
void tls_session_keep(struct sluice_tls_setup *setup, uint64_t key, SSL_SESSION *session) {
  struct kept_session *kept = malloc(sizeof *kept);
  if (!kept) {
    SSL_SESSION_free(session);
    return;
  }
  *kept = (struct kept_session){.key = key, .session = session};
  session_free(atomic_exchange(&setup->sessions[session_place(key)], kept));
}

// ---- made and unmade ---------------------------------------------------------------------------

static void flags_use(SSL_CTX *openssl) {
  SSL_CTX_set_options(openssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // What is idle has no buffers, and what is sent is what was read from the chain's file.
  SSL_CTX_set_mode(openssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  // Each call does one record's work: records without data must not keep a worker.
  SSL_CTX_clear_mode(openssl, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(openssl, 1);
  tls_kernel_use(openssl);
}

static bool setup_fill(struct sluice_tls_setup *setup, const struct sluice_tls_options *options,
                       struct sluice_tls_problem *problem) {
  flags_use(setup->openssl);
  (void)SSL_CTX_set_app_data(setup->openssl, setup);
  if (!lists_use(setup, options, problem) || !identities_use(setup, options, problem) ||
      !authorities_use(setup, options->authorities, problem) ||
      !alpn_use(setup, options->alpn, problem) || !sessions_use(setup, options, problem))
    return false;
  verify_use(setup);
  if (setup->server) {
    SSL_CTX_set_tlsext_status_cb(setup->openssl, staple_give);
    (void)SSL_CTX_set_tlsext_status_arg(setup->openssl, setup);
  }
  return true;
}

struct sluice_tls_setup *sluice_tls_setup_create(const struct sluice_tls_options *options,
                                                 struct sluice_tls_problem *problem) {
  *problem = (struct sluice_tls_problem){.input = sluice_tls_input_none};
  // The process ends without OpenSSL's own clearing up, while workers may still be at it.
  (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
  ERR_clear_error();
  struct sluice_tls_setup *setup = calloc(1, sizeof *setup);
  if (setup) {
    setup->server = options->server;
    setup->verify = options->verify;
    atomic_init(&setup->users, 1);
    setup->openssl = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
  }
  if (!setup || !setup->openssl) {
    (void)wrong(problem, sluice_tls_input_memory, 0, "out of memory");
  } else if (setup_fill(setup, options, problem)) {
    return setup;
  }
  if (setup) sluice_tls_setup_release(setup);
  return NULL;
}

void tls_setup_retain(struct sluice_tls_setup *setup) {
  atomic_fetch_add_explicit(&setup->users, 1, memory_order_relaxed);
}

void sluice_tls_setup_release(struct sluice_tls_setup *setup) {
  if (atomic_fetch_sub_explicit(&setup->users, 1, memory_order_acq_rel) > 1) return;
  for (int i = 0; i < SESSIONS_KEPT; i++) session_free(atomic_load(&setup->sessions[i]));
  SSL_CTX_free(setup->openssl);
  for (uint32_t i = 0; i < setup->identities_count; i++) {
    X509_free(setup->identities[i].leaf);
    sluice_certificate_destroy(setup->identities[i].facts);
    free(setup->identities[i].staple);
  }
  free(setup->alpn);
  free(setup);
}
