// The keys of session tickets (RFC 5077 section 4, and the same for TLS 1.3): shared by all setups
// and workers, so that whichever worker a client comes back to can resume. A ticket carries its
// key's name; what an older key encrypted is taken and given anew.
#include "tls_openssl.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

struct ticket_key {
  uint8_t name[16];
  uint8_t cipher[32];
  uint8_t mac[32];
};

// A handshake takes the lock for as long as it takes to copy one key.
struct sluice_ticket_keys {
  pthread_mutex_t lock;
  uint32_t count;
  struct ticket_key keys[SLUICE_TICKET_KEYS];  // the newest first
};

struct sluice_ticket_keys *sluice_ticket_keys_create(void) {
  struct sluice_ticket_keys *keys = calloc(1, sizeof *keys);
  if (!keys) return NULL;
  (void)pthread_mutex_init(&keys->lock, NULL);
  if (sluice_ticket_keys_rotate(keys)) return keys;
  sluice_ticket_keys_destroy(keys);
  return NULL;
}

void sluice_ticket_keys_destroy(struct sluice_ticket_keys *keys) {
  (void)pthread_mutex_destroy(&keys->lock);
  OPENSSL_cleanse(keys, sizeof *keys);
  free(keys);
}

bool sluice_ticket_keys_rotate(struct sluice_ticket_keys *keys) {
  struct ticket_key fresh;
  if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 ||
      RAND_priv_bytes(fresh.cipher, sizeof fresh.cipher) != 1 ||
      RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1)
    return false;
  pthread_mutex_lock(&keys->lock);
  memmove(&keys->keys[1], &keys->keys[0], (SLUICE_TICKET_KEYS - 1) * sizeof fresh);
  keys->keys[0] = fresh;
  if (keys->count < SLUICE_TICKET_KEYS) keys->count++;
  pthread_mutex_unlock(&keys->lock);
  OPENSSL_cleanse(&fresh, sizeof fresh);
  return true;
}

// Returns the key's place, or `count` when it is forgotten.
static uint32_t ticket_find(struct sluice_ticket_keys *keys, const unsigned char *name,
                            struct ticket_key *found) {
  pthread_mutex_lock(&keys->lock);
  uint32_t place = 0;
  while (name && place < keys->count &&
         memcmp(keys->keys[place].name, name, sizeof keys->keys[place].name) != 0)
    place++;
  bool forgotten = place == keys->count;
  if (!forgotten) *found = keys->keys[place];
  pthread_mutex_unlock(&keys->lock);
  return forgotten ? UINT32_MAX : place;
}

static bool ticket_mac(EVP_MAC_CTX *mac, struct ticket_key *key) {
  char digest[] = "SHA256";
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

// See SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 goes on, 2 also gives a new ticket, 0 knows no
// such key, so that the handshake is a full one.
int ticket_key(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
               EVP_MAC_CTX *mac, int encrypts) {
  struct sluice_tls_setup *setup = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
  struct ticket_key key;
  uint32_t place = ticket_find(setup->tickets, encrypts ? NULL : name, &key);
  if (place == UINT32_MAX) return 0;
  const EVP_CIPHER *kind = EVP_aes_256_cbc();
  bool done;
  if (encrypts) {
    memcpy(name, key.name, sizeof key.name);
    done = RAND_bytes(iv, EVP_CIPHER_get_iv_length(kind)) == 1 &&
           EVP_EncryptInit_ex(cipher, kind, NULL, key.cipher, iv) == 1;
  } else {
    done = EVP_DecryptInit_ex(cipher, kind, NULL, key.cipher, iv) == 1;
  }
  done = done && ticket_mac(mac, &key);
  OPENSSL_cleanse(&key, sizeof key);
  if (!done) return -1;
  // In TLS 1.3 a client uses each ticket once (RFC 8446 appendix C.4), so it needs another.
  bool renews = !encrypts && (place > 0 || SSL_version(ssl) == TLS1_3_VERSION);
  return renews ? 2 : 1;
}
