// In the place of OpenSSL: nothing speaks TLS here yet.
#include "tls.h"

struct tls *tls_make(struct sluice_worker *w, struct sluice_tls_setup *setup) {
  (void)w, (void)setup;
  return NULL;
}
bool tls_begin(struct tls *t, uint64_t now_ns) {
  (void)t, (void)now_ns;
  abort();
}
enum tls_step tls_handshake(struct tls *t, uint64_t now_ns) {
  (void)t, (void)now_ns;
  abort();
}
enum tls_step tls_read(struct tls *t, uint8_t *to, size_t most, size_t *got) {
  (void)t, (void)to, (void)most, (void)got;
  abort();
}
bool tls_seal(struct tls *t, const uint8_t *bytes, size_t length) {
  (void)t, (void)bytes, (void)length;
  abort();
}
bool tls_say_end(struct tls *t) {
  (void)t;
  abort();
}
bool tls_has_room(const struct tls *t) {
  (void)t;
  abort();
}
void tls_free(struct tls **slot) { INVARIANT(!*slot); }
void tls_drop_buffers(struct tls *t) {
  (void)t;
  abort();
}
