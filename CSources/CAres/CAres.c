#include "CAres.h"

#include <ares.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

// c-ares has one UDP and one TCP socket for each server; resolv.conf names three servers at most,
// the configuration eight.
#define SOCKETS_MAX 32
#define CLASS_INTERNET 1
// A datagram that no path fragments: DNS Flag Day 2020.
#define DATAGRAM_MAX 1232

struct result {
  struct result *_Nullable next;
  uint64_t token;
  enum names_end end;
  uint32_t length;
  uint8_t bytes[];
};

// One question on its way; it belongs to c-ares until its callback ran, which it always does.
struct question {
  struct names *owner;
  uint64_t token;
};

struct names {
  ares_channel channel;
  struct pollfd sockets[SOCKETS_MAX];
  nfds_t socket_count;
  struct result *_Nullable first, *_Nullable last;
  // The one whose bytes the caller may be reading.
  struct result *_Nullable lent;
  bool has_servers;
};

static enum names_end end_of(int status) {
  switch (status) {
    case ARES_SUCCESS: return NAMES_REPLY;
    case ARES_ENODATA: return NAMES_NO_DATA;
    case ARES_ENOTFOUND: return NAMES_NO_NAME;
    case ARES_ESERVFAIL: return NAMES_SERVER_FAILED;
    case ARES_EREFUSED: return NAMES_REFUSED;
    case ARES_ETIMEOUT: return NAMES_TIMED_OUT;
    case ARES_ECONNREFUSED: return NAMES_UNREACHABLE;
    case ARES_EFORMERR:
    case ARES_EBADRESP: return NAMES_BAD_REPLY;
    default: return NAMES_OTHER;
  }
}

static void results_add(struct names *n, uint64_t token, enum names_end end, const uint8_t *bytes,
                        int length) {
  size_t count = end == NAMES_REPLY && bytes && length > 0 ? (size_t)length : 0;
  struct result *made = malloc(sizeof *made + count);
  if (!made) abort();  // a question without an end would be waited for for ever
  made->next = NULL;
  made->token = token;
  made->end = end;
  made->length = (uint32_t)count;
  if (count > 0) memcpy(made->bytes, bytes, count);
  if (n->last) n->last->next = made;
  else n->first = made;
  n->last = made;
}

static void question_ended(void *argument, int status, int timeouts, unsigned char *bytes,
                           int length) {
  (void)timeouts;
  struct question *q = argument;
  if (status != ARES_EDESTRUCTION)
    results_add(q->owner, q->token, end_of(status), bytes, length);
  free(q);
}

// c-ares tells which of its sockets wait for what; neither means that it closes the socket.
static void socket_changed(void *argument, ares_socket_t socket, int readable, int writable) {
  struct names *n = argument;
  short events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
  for (nfds_t i = 0; i < n->socket_count; i++) {
    if (n->sockets[i].fd != socket) continue;
    if (events) n->sockets[i].events = events;
    else n->sockets[i] = n->sockets[--n->socket_count];
    return;
  }
  // One too many is not heard of, and its questions time out.
  if (events && n->socket_count < SOCKETS_MAX)
    n->sockets[n->socket_count++] = (struct pollfd){.fd = socket, .events = events};
}

struct names *names_open(const struct names_settings *settings) {
  if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) return NULL;
  struct names *n = calloc(1, sizeof *n);
  if (!n) {
    ares_library_cleanup();
    return NULL;
  }
  struct ares_options options = {
      // Aliases of HOSTALIASES are a person's, not a server's.
      .flags = ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
      .timeout = settings->timeout_ms,
      .tries = settings->attempts,
      .ednspsz = DATAGRAM_MAX,
      .sock_state_cb = socket_changed,
      .sock_state_cb_data = n,
  };
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
             ARES_OPT_SOCK_STATE_CB;
  if (ares_init_options(&n->channel, &options, mask) != ARES_SUCCESS) {
    free(n);
    ares_library_cleanup();
    return NULL;
  }
  n->has_servers = settings->servers != NULL;
  if (n->has_servers && ares_set_servers_ports_csv(n->channel, settings->servers) != 0) {
    names_close(n);
    return NULL;
  }
  return n;
}

static void results_free(struct result *first) {
  while (first) {
    struct result *next = first->next;
    free(first);
    first = next;
  }
}

void names_close(struct names *n) {
  ares_destroy(n->channel);
  results_free(n->first);
  free(n->lent);
  free(n);
  ares_library_cleanup();
}

void names_ask(struct names *n, uint64_t token, const char *name, uint16_t type, bool searched) {
  struct question *q = malloc(sizeof *q);
  if (!q) abort();
  *q = (struct question){.owner = n, .token = token};
  if (searched && !n->has_servers)
    ares_search(n->channel, name, CLASS_INTERNET, type, question_ended, q);
  else
    ares_query(n->channel, name, CLASS_INTERNET, type, question_ended, q);
}

static int shorter_wait(struct names *n, int timeout_ms) {
  struct timeval most = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
  struct timeval room;
  struct timeval *next = ares_timeout(n->channel, timeout_ms < 0 ? NULL : &most, &room);
  if (!next) return timeout_ms;
  // Rounded up, lest the last millisecond be spent in a busy loop.
  return (int)(next->tv_sec * 1000 + (next->tv_usec + 999) / 1000);
}

void names_wait(struct names *n, int wake, int timeout_ms) {
  if (n->first) return;
  // A copy: what is processed changes the list.
  struct pollfd ready[SOCKETS_MAX + 1];
  nfds_t count = n->socket_count;
  memcpy(ready, n->sockets, count * sizeof *ready);
  ready[count] = (struct pollfd){.fd = wake, .events = POLLIN};
  int answered = poll(ready, count + 1, shorter_wait(n, timeout_ms));
  for (nfds_t i = 0; answered > 0 && i < count; i++) {
    if (ready[i].revents == 0) continue;
    bool readable = ready[i].revents & (POLLIN | POLLERR | POLLHUP);
    bool writable = ready[i].revents & POLLOUT;
    ares_process_fd(n->channel, readable ? ready[i].fd : ARES_SOCKET_BAD,
                    writable ? ready[i].fd : ARES_SOCKET_BAD);
  }
  // Time-outs, whatever else there was.
  ares_process_fd(n->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

bool names_take(struct names *n, struct names_result *out) {
  free(n->lent);
  n->lent = n->first;
  if (!n->lent) return false;
  n->first = n->lent->next;
  if (!n->first) n->last = NULL;
  *out = (struct names_result){.token = n->lent->token,
                               .end = n->lent->end,
                               .bytes = n->lent->length > 0 ? n->lent->bytes : NULL,
                               .length = n->lent->length};
  return true;
}
