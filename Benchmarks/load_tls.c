// TLS on the client's side of the load: to a proxy that ends it. The backend sees plain bytes.
#include "load.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *context;
// The newest session any connection was given. One thread opens all connections. A copy, as each
// that uses it gets one: OpenSSL marks a session as spent when its connection is given another.
static SSL_SESSION *newest;

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  SSL_SESSION_free(newest);
  newest = SSL_SESSION_dup(session);
  return 0;
}

void tls_prepare(void) {
  context = SSL_CTX_new(TLS_client_method());
  if (context == NULL) {
    fprintf(stderr, "load: no TLS context\n");
    exit(2);
  }
  // Whom it speaks to is the benchmark's own business; what a client spends on that is not its.
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  // nginx passes a server's FIN on without close_notify. Every byte is counted and compared here.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
}

bool tls_begin(struct conn *conn) {
  conn->ssl = SSL_new(context);
  if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1) return false;
  SSL_set_tlsext_host_name(conn->ssl, "edge.example");
  SSL_set_connect_state(conn->ssl);
  conn->offers_session = options.tls == TLS_RESUMED && newest != NULL;
  if (!conn->offers_session) return true;
  SSL_SESSION *own = SSL_SESSION_dup(newest);
  bool is_set = own != NULL && SSL_set_session(conn->ssl, own) == 1;
  SSL_SESSION_free(own);
  return is_set;
}

// A negative result of an OpenSSL call as an errno.
static int tls_errno(const struct conn *conn, int result) {
  int why = SSL_get_error(conn->ssl, result);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return EAGAIN;
  if (why == SSL_ERROR_SYSCALL && errno != 0) return errno;
  return EPROTO;
}

int tls_handshake(struct table *table, struct conn *conn) {
  ERR_clear_error();
  int result = SSL_do_handshake(conn->ssl);
  if (result == 1) {
    if (!conn->offers_session || SSL_session_reused(conn->ssl)) return 1;
    fail(FAIL_CONNECT, "the session was not resumed");
    return -1;
  }
  if (tls_errno(conn, result) == EAGAIN) {
    watch(table, conn, SSL_want_write(conn->ssl) ? EPOLLOUT : EPOLLIN);
    return 0;
  }
  unsigned long code = ERR_peek_error();
  fail(FAIL_CONNECT, "TLS handshake: %s", code ? ERR_reason_error_string(code) : "closed");
  return -1;
}

// As recv(2).
ssize_t tls_receive(struct conn *conn, void *to, size_t most) {
  ERR_clear_error();
  size_t n = 0;
  int result = SSL_read_ex(conn->ssl, to, most, &n);
  if (result == 1) return (ssize_t)n;
  if (SSL_get_error(conn->ssl, result) == SSL_ERROR_ZERO_RETURN) return 0;
  errno = tls_errno(conn, result);
  return -1;
}

ssize_t tls_send(struct conn *conn, const void *from, size_t length) {
  ERR_clear_error();
  size_t n = 0;
  int result = SSL_write_ex(conn->ssl, from, length, &n);
  if (result == 1) return (ssize_t)n;
  errno = tls_errno(conn, result);
  return -1;
}

bool tls_has_more(const struct conn *conn) { return conn->ssl && SSL_pending(conn->ssl) > 0; }

void tls_end(struct conn *conn) {
  ERR_clear_error();
  (void)SSL_shutdown(conn->ssl);
}

void tls_free(struct conn *conn) {
  // Otherwise its session would be marked as one not to be resumed: SSL_free(3).
  SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(conn->ssl);
  conn->ssl = NULL;
}
