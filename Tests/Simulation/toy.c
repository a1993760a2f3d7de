// In the place of OpenSSL: TLS whose sealed bytes are the bytes themselves, so that the scripts of
// actors that speak none hold. What is left of it is what transport.c has to do with it: handshakes
// that take several steps and may fail, bytes that it has read and not handed over, ends that are
// no FIN or not more than one, records that wait, and a pool without buffers.
//
// What it has read ahead does not count as read, for the model that knows nothing of it.
#include "simulation.h"
#include "tls.h"

struct sluice_tls_setup {
  bool server;
};

static struct sluice_tls_setup setups[2] = {{.server = true}, {.server = false}};

struct sluice_tls_setup *toy_setup(bool server) { return &setups[server ? 0 : 1]; }

struct tls *tls_make(struct sluice_worker *w, struct sluice_tls_setup *setup) {
  struct tls *t = calloc(1, sizeof *t);
  MUST(t, "out of memory");
  t->worker = w;
  t->setup = setup;
  return t;
}

void tls_give_out(struct tls *t) { buffer_give(t->worker, &t->out); }

void tls_drop_buffers(struct tls *t) {
  if (t->in == &t->own[0]) t->in = NULL;
  buffer_give(t->worker, &t->in);
  tls_give_out(t);
}

void tls_free(struct tls **slot) {
  if (!*slot) return;
  tls_drop_buffers(*slot);
  free((*slot)->own[0].data);
  free(*slot);
  *slot = NULL;
}

bool tls_begin(struct tls *t, uint64_t now_ns) {
  (void)now_ns;
  t->stage = TLS_SHAKING;
  coverage.tls_begun++;
  kernel_socket(t->side->descriptor)->read -= buffer_length(t->in);
  // What it reads ahead is in its own memory.
  t->own[0].data = malloc(BUFFER_BYTES);
  struct buffer *before = t->in;
  t->in = &t->own[0];
  if (before) {
    (void)buffer_append(t->worker, &t->in, before->data + before->start, buffer_length(before));
    buffer_give(t->worker, &before);
  }
  return true;
}

// One recv into what is read and not handed over.
static enum tls_step toy_fill(struct tls *t) {
  static uint8_t bytes[BUFFER_BYTES];
  size_t room = BUFFER_BYTES - buffer_length(t->in);
  ssize_t n = sys_recv(t->side->descriptor, bytes, room);
  if (n > 0) {
    kernel_socket(t->side->descriptor)->read -= (uint64_t)n;
    (void)buffer_append(t->worker, &t->in, bytes, (size_t)n);
    return TLS_DONE;
  }
  if (n == 0) return t->verdict = chance(200) ? TLS_CUT : TLS_ENDED;
  if (errno == EAGAIN || errno == EINTR) {
    t->blocked = errno == EAGAIN;
    return t->blocked ? TLS_NOTHING : TLS_AGAIN;
  }
  t->error = errno;
  return t->verdict = TLS_BROKEN;
}

enum tls_step tls_handshake(struct tls *t, uint64_t now_ns) {
  (void)now_ns;
  t->blocked = false;
  if (chance(300)) return TLS_AGAIN;
  if (chance(40)) {
    t->stage = TLS_FAILED;
    t->error = EBADMSG;
    coverage.tls_failed++;
    return TLS_BROKEN;
  }
  // A server waits for the client's word.
  enum tls_step step = TLS_DONE;
  if (t->setup->server && buffer_length(t->in) == 0 && chance(700)) step = toy_fill(t);
  if (step == TLS_DONE) t->stage = TLS_OPEN;
  if (t->verdict != TLS_DONE) t->stage = TLS_FAILED;
  coverage.tls_shaken += step == TLS_DONE;
  return step;
}

enum tls_step tls_read(struct tls *t, uint8_t *to, size_t most, size_t *got) {
  *got = 0;
  t->blocked = false;
  if (chance(50)) return TLS_AGAIN;
  if (buffer_length(t->in) == 0) {
    if (t->verdict != TLS_DONE) return t->verdict;
    enum tls_step step = toy_fill(t);
    if (step != TLS_DONE) return step;
  }
  size_t n = buffer_length(t->in);
  if (n > most) n = most;
  if (chance(300)) n = between(1, n);
  memcpy(to, t->in->data + t->in->start, n);
  t->in->start += (uint32_t)n;
  kernel_socket(t->side->descriptor)->read += n;
  *got = n;
  coverage.tls_ahead += buffer_length(t->in) > 0;
  if (buffer_length(t->in) > 0) return TLS_DONE;
  // Sometimes it knows at once that there is no more.
  const struct fake_socket *s = kernel_socket(t->side->descriptor);
  bool more = s->receive.length > 0 || s->fin_in || s->dead || s->error;
  t->blocked = !more && t->verdict == TLS_DONE && chance(500);
  return t->blocked ? TLS_NOTHING : TLS_DONE;
}

bool tls_seal(struct tls *t, const uint8_t *bytes, size_t length) {
  MUST(t->stage == TLS_OPEN && !t->said_end && !t->sealed, "bytes for a side that hears no more");
  MUST(buffer_append(t->worker, &t->out, bytes, length) == sluice_result_done,
       "no room for what is sealed");
  return true;
}

// The kernel seals as well as this does.
bool tls_offload(struct tls *t) {
  MUST(t->stage == TLS_OPEN && buffer_length(t->out) == 0, "what is sealed would come too late");
  t->sealed = chance(700);
  coverage.tls_offloaded += t->sealed;
  return t->sealed;
}

bool tls_kernel_end(struct tls *t, bool cut) {
  (void)cut;
  MUST(t->sealed, "the kernel is told the end of what it does not seal");
  return chance(500);
}

bool tls_say_end(struct tls *t) {
  t->said_end = t->stage == TLS_OPEN;
  return true;
}
