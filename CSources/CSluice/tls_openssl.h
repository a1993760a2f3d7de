// What the files that know OpenSSL share: tls_setup.c makes what tls_stream.c speaks with.
#pragma once

#include "tls.h"

#include <openssl/ssl.h>

enum {
  SESSIONS_KEPT = 64,           // of a client's setup, for as many servers
  TICKET_LIFETIME_S = 7200,     // a session is resumed for so long
  CERTIFICATES_PER_CHAIN = 16,  // more than any verifier follows
};

// A server's certificate, and what is told of it.
struct identity {
  X509 *leaf;
  struct sluice_certificate *facts;
  uint8_t *staple;
  uint32_t staple_length;
};

// A session to be resumed, by which server (and name) gave it.
struct kept_session {
  uint64_t key;
  SSL_SESSION *session;
};

struct sluice_tls_setup {
  _Atomic uint32_t users;
  bool server;
  enum sluice_tls_verify verify;
  SSL_CTX *openssl;
  struct sluice_ticket_keys *tickets;
  uint8_t *alpn;
  uint32_t alpn_length;
  struct identity identities[SLUICE_TLS_IDENTITIES];
  uint32_t identities_count;
  // Whoever takes one out has it alone, so no lock is needed.
  struct kept_session *_Atomic sessions[SESSIONS_KEPT];
};

// tls_setup.c
void tls_setup_retain(struct sluice_tls_setup *setup);
SSL_SESSION *_Nullable tls_session_take(struct sluice_tls_setup *setup, uint64_t key);
void tls_session_keep(struct sluice_tls_setup *setup, uint64_t key, SSL_SESSION *session);
void tls_reason(char reason[SLUICE_TLS_REASON], const char *otherwise);
int tls_stream_got_session(SSL *ssl, SSL_SESSION *session);  // tls_stream.c

// tls_kernel.c
void tls_kernel_use(SSL_CTX *openssl);
void tls_kernel_watch(struct tls *tls);
void tls_kernel_offer(struct tls *tls, long number, const void *offered);
void tls_kernel_forget(struct tls *tls);
enum { TLS_CONTROL_KEYS = 72 };  // BIO_CTRL_SET_KTLS_SEND, which openssl/bio.h only speaks of

// tls_certificate.c
struct sluice_certificate *_Nullable certificate_of(X509 *leaf);
X509 *_Nullable certificate_parse(BIO *from);
EVP_PKEY *_Nullable certificate_key(struct sluice_bytes pem);

// tls_ticket.c
int ticket_key(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
               EVP_MAC_CTX *mac, int encrypts);
