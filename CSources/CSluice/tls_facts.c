// What came of a handshake, for whoever asks.
#include "tls_openssl.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

static struct sluice_bytes item_of(const struct sluice_certificate *certificate,
                                   enum sluice_certificate_item wanted) {
  enum sluice_certificate_item item;
  struct sluice_bytes bytes;
  for (uint32_t i = 0; certificate && sluice_certificate_next(certificate, i, &item, &bytes); i++)
    if (item == wanted) return bytes;
  return (struct sluice_bytes){0};
}

// A resumed session has chosen none: then it is the first.
static const struct sluice_certificate *own_certificate(const struct tls *t) {
  const struct sluice_tls_setup *setup = t->setup;
  const X509 *leaf = SSL_get_certificate(t->ssl);
  for (uint32_t i = 0; i < setup->identities_count; i++)
    if (setup->identities[i].leaf == leaf) return setup->identities[i].facts;
  return setup->identities_count > 0 ? setup->identities[0].facts : NULL;
}

static void signature_tell(const struct tls *t, struct sluice_tls_facts *facts) {
  int kind = 0;
  int digest = 0;
  if (t->setup->server) {
    (void)SSL_get_signature_type_nid(t->ssl, &kind);
    (void)SSL_get_signature_nid(t->ssl, &digest);
  } else {
    (void)SSL_get_peer_signature_type_nid(t->ssl, &kind);
    (void)SSL_get_peer_signature_nid(t->ssl, &digest);
  }
  facts->signature = kind;
  facts->digest = digest;
}

static void facts_tell(struct tls *t, struct sluice_tls_facts *facts) {
  facts->version = SSL_get_version(t->ssl);
  facts->cipher = SSL_get_cipher_name(t->ssl);
  facts->resumed = SSL_session_reused(t->ssl) == 1;
  facts->handshake_us = t->handshake_us;
  long group = SSL_get_negotiated_group(t->ssl);
  facts->group = group != 0 ? SSL_group_to_name(t->ssl, (int)group) : NULL;
  unsigned int length = 0;
  SSL_get0_alpn_selected(t->ssl, &facts->alpn.start, &length);
  facts->alpn.length = length;
  X509 *other = t->certificate ? NULL : SSL_get1_peer_certificate(t->ssl);
  if (other) t->certificate = certificate_of(other);
  X509_free(other);
  facts->certificate = t->certificate;
  facts->verify = t->certificate ? (int32_t)SSL_get_verify_result(t->ssl) : 0;
  const struct sluice_certificate *server =
      t->setup->server ? own_certificate(t) : t->certificate;
  facts->key_algorithm = item_of(server, sluice_certificate_item_key_algorithm);
  facts->signature_algorithm = item_of(server, sluice_certificate_item_signature_algorithm);
  if (!facts->resumed) signature_tell(t, facts);
  ERR_clear_error();
}

void tls_facts(struct tls *t, struct sluice_tls_facts *facts) {
  *facts = (struct sluice_tls_facts){.failure = t->failure[0] != 0 ? t->failure : NULL};
  facts->done = t->handshake_us > 0;
  if (facts->done) facts_tell(t, facts);
}

bool sluice_worker_tls(struct sluice_worker *w, struct sluice_id id, enum sluice_side side,
                       struct sluice_tls_facts *facts) {
  struct connection *c = worker_find(w, id.slot, id.generation);
  if (!c || !c->sides[side].tls) return false;
  tls_facts(c->sides[side].tls, facts);
  return true;
}

static const char *curve_of(int digest) {
  if (digest == NID_sha384) return "secp384r1";
  return digest == NID_sha512 ? "secp521r1" : "secp256r1";
}

void sluice_tls_scheme(const struct sluice_tls_facts *facts, char *name, uint32_t size) {
  const char *digest = facts->digest == NID_sha1     ? "sha1"
                       : facts->digest == NID_sha384 ? "sha384"
                       : facts->digest == NID_sha512 ? "sha512"
                                                     : "sha256";
  switch (facts->signature) {
    case EVP_PKEY_RSA:
      snprintf(name, size, "rsa_pkcs1_%s", digest);
      return;
    case EVP_PKEY_RSA_PSS:
      // Keys for PSS alone, whose schemes are rsa_pss_pss, nobody's certificates have.
      snprintf(name, size, "rsa_pss_rsae_%s", digest);
      return;
    case EVP_PKEY_EC:
      if (facts->digest == NID_sha1) {
        snprintf(name, size, "ecdsa_sha1");
      } else {
        snprintf(name, size, "ecdsa_%s_%s", curve_of(facts->digest), digest);
      }
      return;
    case EVP_PKEY_ED25519:
      snprintf(name, size, "ed25519");
      return;
    case EVP_PKEY_ED448:
      snprintf(name, size, "ed448");
      return;
    default:
      snprintf(name, size, "%s", "");
  }
}

const char *sluice_tls_verdict(int32_t verify) { return X509_verify_cert_error_string(verify); }
