// The kernel's TLS (Documentation/networking/tls.rst), for what a side is told in bulk: it seals
// what is written to the socket, so that a half towards it moves its bytes as to a plain socket,
// from a pipe too. Shaking hands and reading stay OpenSSL's.
//
// OpenSSL offers its keys through the BIO whenever it takes new ones into use, and is told no. They
// are kept, and its records counted, until a half has moved enough to be worth the kernel's cipher.
// From then on what OpenSSL seals is dropped: what it says of its own accord, an alert, is said
// again as a record of that kind.
//
// Two things the kernel does not do: take its keys back, or (before 6.14) change them. Who asks for
// that with a KeyUpdate (RFC 8446 section 4.6.3) is sent away.
#include "tls_openssl.h"

#include <linux/tls.h>
#include <openssl/err.h>
#include <pthread.h>

enum {
  ALERT_WARNING = 1,
  ALERT_FATAL = 2,
  ALERT_INTERNAL_ERROR = 80,  // RFC 8446 section 6.2
  // What may wait in the kernel's TLS for room in TCP's queue: a record that went out in part, one
  // that was begun, and as much again for what they take more of memory than their bytes.
  KERNEL_HELD = 4 * 16384,
};

static const char ulp_name[] = "tls";

// ---- whether there is any ----------------------------------------------------------------------

static enum sluice_tls_kernel kernel_found = sluice_tls_kernel_not_built;

// A socket that is not connected is refused with ENOTCONN, after the kernel has found its TLS, and
// with ENOENT when it has none. With CAP_NET_ADMIN it loads the module.
static void kernel_ask(void) {
#ifndef OPENSSL_NO_KTLS
  kernel_found = sluice_tls_kernel_absent;
  int descriptor = sys_socket(AF_INET, SOCK_STREAM);
  if (descriptor < 0) return;
  if (sys_set_option(descriptor, IPPROTO_TCP, TCP_ULP, ulp_name, sizeof ulp_name) == 0 ||
      errno == ENOTCONN)
    kernel_found = sluice_tls_kernel_used;
  sys_close(descriptor);
#endif
}

enum sluice_tls_kernel sluice_tls_kernel_look(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, kernel_ask);
  return kernel_found;
}

// OpenSSL offers the keys of this setup's connections.
void tls_kernel_use(SSL_CTX *openssl) {
  if (sluice_tls_kernel_look() == sluice_tls_kernel_used)
    SSL_CTX_set_options(openssl, SSL_OP_ENABLE_KTLS);
}

// ---- keys --------------------------------------------------------------------------------------

// Their length, which the kernel wants exactly; 0: not taken. CCM is in no list of ours.
static uint32_t keys_length(const struct tls_crypto_info *info) {
  switch (info->cipher_type) {
    case TLS_CIPHER_AES_GCM_128:
      return sizeof(struct tls12_crypto_info_aes_gcm_128);
    case TLS_CIPHER_AES_GCM_256:
      return sizeof(struct tls12_crypto_info_aes_gcm_256);
    case TLS_CIPHER_CHACHA20_POLY1305:
      return sizeof(struct tls12_crypto_info_chacha20_poly1305);
    default:
      return 0;
  }
}

_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_256) == KEYS_BYTES, "the longest");
_Static_assert(sizeof(struct tls12_crypto_info_chacha20_poly1305) == KEYS_BYTES, "as long");

// From OpenSSL, whose struct begins with the kernel's. `number`: 0 for what is heard.
void tls_kernel_offer(struct tls *t, long number, const void *offered) {
  if (number == 0) return;
  t->keys_length = t->sealed ? 0 : keys_length(offered);
  memcpy(t->keys, offered, t->keys_length);
  t->records = 0;
}

void tls_kernel_forget(struct tls *t) {
  OPENSSL_cleanse(t->keys, sizeof t->keys);
  t->keys_length = 0;
}

static void number_add(uint8_t number[8], uint64_t more) {
  for (int i = 7; i >= 0; i--) {
    more += number[i];
    number[i] = (uint8_t)more;
    more >>= 8;
  }
}

// The next record is that behind those that OpenSSL has sealed. Its number ends each of the
// kernel's structs; in TLS 1.2, AES-GCM's explicit nonce (RFC 5288 section 3) goes with it.
static void keys_advance(struct tls *t) {
  const struct tls_crypto_info *info = (const void *)t->keys;
  if (info->version == TLS_1_2_VERSION && info->cipher_type != TLS_CIPHER_CHACHA20_POLY1305)
    number_add(t->keys + sizeof *info, t->records);
  number_add(t->keys + t->keys_length - 8, t->records);
}

// The kernel seals from here on. False: it does not (nor later), and OpenSSL goes on. All that was
// sealed must have gone out.
bool tls_offload(struct tls *t) {
  if (t->keys_length == 0 || t->stage != TLS_OPEN || t->said_end || t->side->local ||
      SSL_in_init(t->ssl) || SSL_want_write(t->ssl))
    return false;
  int descriptor = t->side->descriptor;
  keys_advance(t);
  t->sealed =
      sys_set_option(descriptor, IPPROTO_TCP, TCP_ULP, ulp_name, sizeof ulp_name) == 0 &&
      sys_set_option(descriptor, SOL_TLS, TLS_TX, t->keys, t->keys_length) == 0;
  tls_kernel_forget(t);
  return t->sealed;
}

// ---- what OpenSSL says -------------------------------------------------------------------------

// Its alerts come here once it has sealed them, which does not go out. One for which there is no
// room is not waited for: the connection is over, or goes on in spite of it.
static void alert_say(struct tls *t, uint8_t level, uint8_t what) {
  const uint8_t alert[] = {level, what};
  (void)sys_send_record(t->side->descriptor, SSL3_RT_ALERT, alert, sizeof alert);
}

// New keys are asked for, and OpenSSL will say so before its next data, or it has. From 3.2 on it
// then offers those, too; before that nobody knows them.
static void keys_changed(struct tls *t) {
  if (t->sealed) {
    t->stuck = true;
    alert_say(t, ALERT_FATAL, ALERT_INTERNAL_ERROR);
  }
  tls_kernel_forget(t);
}

static void told(int writes, int version, int kind, const void *bytes, size_t length, SSL *ssl,
                 void *data) {
  (void)version, (void)ssl;
  struct tls *t = data;
  const uint8_t *first = bytes;
  if (kind == SSL3_RT_HEADER && writes) {
    t->records++;
  } else if (kind == SSL3_RT_ALERT && writes && t->sealed && length == 2) {
    alert_say(t, first[0], first[1]);
  } else if (kind == SSL3_RT_HANDSHAKE && length == 5 && first[0] == SSL3_MT_KEY_UPDATE &&
             (writes || first[4] == SSL_KEY_UPDATE_REQUESTED)) {
    keys_changed(t);
  }
}

void tls_kernel_watch(struct tls *t) {
  if (!(SSL_get_options(t->ssl) & SSL_OP_ENABLE_KTLS)) return;
  SSL_set_msg_callback(t->ssl, told);
  (void)SSL_set_msg_callback_arg(t->ssl, t);
}

// ---- the end -----------------------------------------------------------------------------------

// The kernel's TLS keeps what TCP has no room for, and a FIN cuts it off. With an empty queue, or
// room for all that it may keep, it has handed everything over when it takes another record.
static bool kernel_has_room(const struct tls *t) {
  uint32_t used = 0;
  uint32_t most = 0;
  if (!sys_send_memory(t->side->descriptor, &used, &most)) return true;
  return used == 0 || (most > used && most - used >= KERNEL_HELD);
}

// Says close_notify; without, where the side is to find out that it was `cut` off. True when the
// FIN may follow; else it is to be asked again in a moment.
bool tls_kernel_end(struct tls *t, bool cut) {
  if (t->said_end) return true;
  if (!kernel_has_room(t)) return false;
  if (cut) {
    // Nothing makes it hand over what it keeps but its own work, which an empty queue set going.
    bool was = t->drained;
    t->drained = true;
    return was;
  }
  const uint8_t end[] = {ALERT_WARNING, SSL3_AD_CLOSE_NOTIFY};
  ssize_t sent =
      sys_send_record(t->side->descriptor, SSL3_RT_ALERT, end, sizeof end);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  t->said_end = true;
  return true;
}
