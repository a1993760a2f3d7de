// One side's TLS. OpenSSL reads and writes through a BIO of ours that never blocks half-way: what
// it writes goes into `out`, which the caller empties, and it is given more to write only when
// there is room for all of it. So no write is ever repeated, and neither half waits for the other.
//
// It reads what came before TLS began, and then the socket itself. A short read proves the socket
// empty until the kernel is asked for events again.
#include "tls_openssl.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

// ---- the BIO -----------------------------------------------------------------------------------

static void in_give(struct tls *t) {
  if (buffer_length(t->in) > 0) return;
  if (!t->worker) {
    t->in->start = t->in->end = 0;
  } else {
    buffer_give(t->worker, &t->in);
  }
}

static ssize_t socket_read(struct tls *t, char *to, size_t most) {
  if (!t->worker || t->empty_at == t->worker->waits) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t n;
  do n = sys_recv(t->side->descriptor, to, most);
  while (n < 0 && errno == EINTR);
  bool all = n < 0 ? errno == EAGAIN : n > 0 && (size_t)n < most && !t->side->hung_up;
  if (all) t->empty_at = t->worker->waits;
  return n;
}

static int bio_read(BIO *bio, char *to, size_t most, size_t *got) {
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  *got = 0;
  size_t waiting = buffer_length(t->in);
  if (waiting > 0) {
    *got = most < waiting ? most : waiting;
    memcpy(to, t->in->data + t->in->start, *got);
    t->in->start += (uint32_t)*got;
    in_give(t);
    return 1;
  }
  if (t->fin) return 0;
  ssize_t n = socket_read(t, to, most);
  if (n > 0) {
    *got = (size_t)n;
    return 1;
  }
  if (n == 0) {
    t->fin = true;
  } else if (errno == EAGAIN) {
    t->blocked = true;
    BIO_set_retry_read(bio);
  } else {
    t->error = errno;
  }
  return 0;
}

// The pool's last buffer is the reader's. What OpenSSL says while it reads, such as the answer to
// a key update, is short and rare, and so has memory of its own then.
static void out_of_own(struct tls *t) {
  uint32_t left = t->worker->buffers_max - t->worker->buffers_used;
  if (left >= 2) return;
  t->own[1] = (struct buffer){.data = malloc(BUFFER_BYTES)};
  if (t->own[1].data) t->out = &t->own[1];
}

// `out` is empty, or is to be.
void tls_give_out(struct tls *t) {
  if (t->out != &t->own[1]) {
    buffer_give(t->worker, &t->out);
    return;
  }
  free(t->own[1].data);
  t->own[1].data = NULL;
  t->out = NULL;
}

// Takes all or nothing: what OpenSSL wants to say itself and finds no room for, it says with its
// next call.
static int bio_write(BIO *bio, const char *bytes, size_t length, size_t *done) {
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  *done = 0;
  if (t->sealed) {
    *done = length;
    return 1;
  }
  if (t->worker && t->reading && !t->out) out_of_own(t);
  enum sluice_result kept =
      buffer_append(t->worker, &t->out, (const uint8_t *)bytes, length);
  if (kept == sluice_result_done) {
    *done = length;
    return 1;
  }
  t->starved = kept == sluice_result_no_buffer;
  BIO_set_retry_write(bio);
  return 0;
}

// BIO_eof stays false: an end without close_notify is for us to judge, and no reason for OpenSSL
// to refuse what is still to be said.
static long bio_control(BIO *bio, int command, long number, void *data) {
  if (command == TLS_CONTROL_KEYS) tls_kernel_offer(BIO_get_data(bio), number, data);
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
  if (!method) return;
  (void)BIO_meth_set_read_ex(method, bio_read);
  (void)BIO_meth_set_write_ex(method, bio_write);
  (void)BIO_meth_set_ctrl(method, bio_control);
  bio_method = method;
}

static CRYPTO_ONCE bio_once = CRYPTO_ONCE_STATIC_INIT;

static BIO *bio_make(struct tls *t) {
  if (CRYPTO_THREAD_run_once(&bio_once, bio_method_make) != 1 || !bio_method) return NULL;
  BIO *bio = BIO_new(bio_method);
  if (!bio) return NULL;
  BIO_set_data(bio, t);
  BIO_set_init(bio, 1);
  return bio;
}

// ---- made and unmade ---------------------------------------------------------------------------

// Waits to begin. NULL without memory.
struct tls *tls_make(struct sluice_worker *w, struct sluice_tls_setup *setup) {
  struct tls *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->worker = w;
  tls_setup_retain(setup);
  t->setup = setup;
  t->empty_at = UINT64_MAX;
  return t;
}

// Gives its buffers back to the pool; nothing more is said.
void tls_drop_buffers(struct tls *t) {
  if (!t->worker) return;
  buffer_give(t->worker, &t->in);
  tls_give_out(t);
}

void tls_free(struct tls **slot) {
  struct tls *t = *slot;
  if (!t) return;
  *slot = NULL;
  tls_drop_buffers(t);
  tls_kernel_forget(t);
  // Else OpenSSL takes a connection that ended in another way for a reason to resume it never more.
  if (t->ssl && t->stage == TLS_OPEN)
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(t->ssl);
  sluice_certificate_destroy(t->certificate);
  sluice_tls_setup_release(t->setup);
  for (int i = 0; i < 2; i++) free(t->own[i].data);
  free(t);
}

static bool failed(struct tls *t, const char *otherwise) {
  tls_reason(t->failure, otherwise);
  t->stage = TLS_FAILED;
  t->error = EBADMSG;
  return false;
}

// What a server is called, and whose certificate it must have. An address is not sent (RFC 6066
// section 3) and stands in another kind of name.
static bool name_use(struct tls *t) {
  bool verifies = t->setup->verify != sluice_tls_verify_off;
  if (t->name[0] == 0) return !verifies || failed(t, "there is no name to verify");
  X509_VERIFY_PARAM *parameters = SSL_get0_param(t->ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, t->name) == 1) return true;
  ERR_clear_error();
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (SSL_set_tlsext_host_name(t->ssl, t->name) == 1 &&
      (!verifies || X509_VERIFY_PARAM_set1_host(parameters, t->name, 0) == 1))
    return true;
  return failed(t, "no host name");
}

static void session_use(struct tls *t) {
  SSL_SESSION *session = tls_session_take(t->setup, t->session_key);
  if (!session) return;
  (void)SSL_set_session(t->ssl, session);
  SSL_SESSION_free(session);
}

// From here on the socket speaks TLS. False, with `failure`, when nothing came of it.
bool tls_begin(struct tls *t, uint64_t now_ns) {
  ERR_clear_error();
  t->began_ns = now_ns;
  t->ssl = SSL_new(t->setup->openssl);
  BIO *bio = t->ssl ? bio_make(t) : NULL;
  if (!bio) return failed(t, "out of memory");
  SSL_set_bio(t->ssl, bio, bio);
  (void)SSL_set_app_data(t->ssl, t);
  tls_kernel_watch(t);
  t->stage = TLS_SHAKING;
  if (t->setup->server) {
    SSL_set_accept_state(t->ssl);
    return true;
  }
  SSL_set_connect_state(t->ssl);
  if (!name_use(t)) return false;
  session_use(t);
  return true;
}

// A client got a session: it keeps it for the next connection to that server.
int tls_stream_got_session(SSL *ssl, SSL_SESSION *session) {
  struct tls *t = SSL_get_app_data(ssl);
  tls_session_keep(t->setup, t->session_key, session);
  return 1;
}

// ---- what a call came to -----------------------------------------------------------------------

static void tell_failure(struct tls *t) {
  unsigned long code = ERR_peek_error();
  long verdict = SSL_get_verify_result(t->ssl);
  bool unverified = ERR_GET_LIB(code) == ERR_LIB_SSL &&
                    ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  tls_reason(t->failure, "broken TLS");
  if (!unverified) return;
  size_t length = strlen(t->failure);
  snprintf(t->failure + length, sizeof t->failure - length, ": %s",
           X509_verify_cert_error_string(verdict));
}

static enum tls_step step_of(struct tls *t, int result) {
  switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return t->blocked ? TLS_NOTHING : TLS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
      return t->starved ? TLS_ROOM : TLS_NOTHING;
    case SSL_ERROR_ZERO_RETURN:
      return t->verdict = TLS_ENDED;
    case SSL_ERROR_SYSCALL:
      if (t->fin && t->error == 0) return t->verdict = TLS_CUT;
      if (t->error != 0) return t->verdict = TLS_BROKEN;
      break;
    default:
      break;
  }
  t->stage = TLS_FAILED;
  t->error = EBADMSG;
  tell_failure(t);
  return t->verdict = TLS_BROKEN;
}

static void before_call(struct tls *t) {
  t->blocked = t->starved = false;
  ERR_clear_error();
}

static void handshake_done(struct tls *t, uint64_t now_ns) {
  t->stage = TLS_OPEN;
  t->handshake_us = (now_ns - t->began_ns) / 1000 + 1;
  bool keeps = !t->setup->server && SSL_session_reused(t->ssl) &&
               SSL_version(t->ssl) < TLS1_3_VERSION;
  SSL_SESSION *session = keeps ? SSL_get1_session(t->ssl) : NULL;
  if (session) tls_session_keep(t->setup, t->session_key, session);
}

// Goes on with the handshake as far as the bytes reach. TLS_ENDED and TLS_CUT are failures of it.
enum tls_step tls_handshake(struct tls *t, uint64_t now_ns) {
  if (t->stage == TLS_FAILED) return TLS_BROKEN;
  enum tls_step step = TLS_AGAIN;
  for (int call = 0; step == TLS_AGAIN && call < HANDSHAKE_STEPS; call++) {
    before_call(t);
    int result = SSL_do_handshake(t->ssl);
    step = result == 1 ? TLS_DONE : step_of(t, result);
  }
  if (step == TLS_DONE) handshake_done(t, now_ns);
  if (step == TLS_ENDED || step == TLS_CUT || (step == TLS_BROKEN && t->error != EBADMSG)) {
    t->stage = TLS_FAILED;
    if (t->failure[0] == 0)
      snprintf(t->failure, sizeof t->failure, "%s",
               step == TLS_BROKEN ? strerror(t->error) : "the connection ended in the handshake");
  }
  return step;
}

// ---- bytes -------------------------------------------------------------------------------------

// Reads up to `most` bytes, of several records where they are there. With TLS_DONE and TLS_NOTHING
// there may be some.
enum tls_step tls_read(struct tls *t, uint8_t *to, size_t most, size_t *got) {
  *got = 0;
  if (t->verdict != TLS_DONE) return t->verdict;
  for (int record = 0; record < RECORDS_PER_READ && *got < most; record++) {
    size_t n = 0;
    before_call(t);
    t->reading = true;
    int result = SSL_read_ex(t->ssl, to + *got, most - *got, &n);
    t->reading = false;
    if (t->stuck) {
      (void)failed(t, "the other side wants new keys, which the kernel cannot change");
      return t->verdict = TLS_BROKEN;
    }
    if (result == 1) {
      *got += n;
      continue;
    }
    enum tls_step step = step_of(t, result);
    if (step == TLS_AGAIN) continue;
    // How it ended is told with the next call.
    return *got > 0 && step != TLS_NOTHING ? TLS_DONE : step;
  }
  return *got > 0 ? TLS_DONE : TLS_AGAIN;
}

// Puts at most SEAL_BYTES into `out`, which was empty and has a buffer to be had. False when
// OpenSSL refuses, which ends the side.
bool tls_seal(struct tls *t, const uint8_t *bytes, size_t length) {
  if (length == 0) return true;
  size_t done = 0;
  before_call(t);
  int result = SSL_write_ex(t->ssl, bytes, length, &done);
  if (result == 1 && done == length) return true;
  (void)step_of(t, result);
  t->stage = TLS_FAILED;
  t->verdict = TLS_BROKEN;
  if (t->error == 0) t->error = EBADMSG;
  return false;
}

// Puts close_notify into `out`. False when there is no buffer for it.
bool tls_say_end(struct tls *t) {
  if (t->said_end || t->stage != TLS_OPEN) return true;
  before_call(t);
  int result = SSL_shutdown(t->ssl);
  if (result < 0 && t->starved) return false;
  t->said_end = true;
  ERR_clear_error();
  return true;
}
