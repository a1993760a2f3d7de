// The same TLS without a socket: for health checks, which move their bytes themselves, and for the
// fuzzer.
#include "tls_openssl.h"

struct sluice_tls_stream {
  struct tls *tls;
};

struct sluice_tls_stream *sluice_tls_stream_create(struct sluice_tls_setup *setup,
                                                   struct sluice_bytes name) {
  struct sluice_tls_stream *stream = calloc(1, sizeof *stream);
  struct tls *t = stream ? tls_make(NULL, setup) : NULL;
  for (int i = 0; t && i < 2; i++) t->own[i].data = malloc(BUFFER_BYTES);
  if (!t || !t->own[0].data || !t->own[1].data || name.length >= NAME_BYTES) {
    if (t) tls_free(&t);
    free(stream);
    return NULL;
  }
  stream->tls = t;
  t->in = &t->own[0];
  t->out = &t->own[1];
  if (name.length > 0) memcpy(t->name, name.start, name.length);
  // With all that is known of the server, sessions are kept by its name alone.
  for (uint32_t i = 0; i < name.length; i++)
    t->session_key = t->session_key * 131 + name.start[i];
  if (tls_begin(t, sys_now_ns())) (void)tls_handshake(t, sys_now_ns());
  return stream;
}

void sluice_tls_stream_destroy(struct sluice_tls_stream *stream) {
  tls_free(&stream->tls);
  free(stream);
}

static enum sluice_tls_step stream_step(const struct tls *t) {
  if (t->stage == TLS_FAILED) return sluice_tls_step_failed;
  if (t->verdict == TLS_ENDED) return sluice_tls_step_ended;
  if (t->verdict == TLS_CUT) return sluice_tls_step_truncated;
  return t->stage == TLS_OPEN ? sluice_tls_step_open : sluice_tls_step_more;
}

enum sluice_tls_step sluice_tls_stream_receive(struct sluice_tls_stream *stream,
                                               struct sluice_bytes bytes, bool ended,
                                               uint32_t *taken) {
  struct tls *t = stream->tls;
  uint32_t room = BUFFER_BYTES - buffer_length(t->in);
  *taken = bytes.length < room ? bytes.length : room;
  (void)buffer_append(NULL, &t->in, bytes.start, *taken);
  if (ended && *taken == bytes.length) t->fin = true;
  if (t->stage == TLS_SHAKING) (void)tls_handshake(t, sys_now_ns());
  return stream_step(t);
}

enum sluice_tls_step sluice_tls_stream_read(struct sluice_tls_stream *stream, uint8_t *to,
                                            uint32_t most, uint32_t *count) {
  struct tls *t = stream->tls;
  size_t got = 0;
  *count = 0;
  // Records without bytes are no reason to stop: what was received is bounded.
  while (t->stage == TLS_OPEN && tls_read(t, to, most, &got) == TLS_AGAIN) continue;
  *count = (uint32_t)got;
  return got > 0 ? sluice_tls_step_open : stream_step(t);
}

enum sluice_tls_step sluice_tls_stream_write(struct sluice_tls_stream *stream,
                                             struct sluice_bytes bytes, uint32_t *taken) {
  struct tls *t = stream->tls;
  *taken = 0;
  if (t->stage == TLS_OPEN && buffer_length(t->out) == 0) {
    *taken = bytes.length < SEAL_BYTES ? bytes.length : SEAL_BYTES;
    if (!tls_seal(t, bytes.start, *taken)) *taken = 0;
  }
  return stream_step(t);
}

void sluice_tls_stream_end(struct sluice_tls_stream *stream) { (void)tls_say_end(stream->tls); }

struct sluice_bytes sluice_tls_stream_output(struct sluice_tls_stream *stream) {
  struct buffer *out = stream->tls->out;
  struct sluice_bytes output = {out->data + out->start, buffer_length(out)};
  out->start = out->end = 0;
  return output;
}

void sluice_tls_stream_facts(struct sluice_tls_stream *stream, struct sluice_tls_facts *facts) {
  tls_facts(stream->tls, facts);
}
