// Many non-blocking sockets on one thread: health checks.
#include "CLibc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 128 };

int system_poller_open(void) {
  int descriptor = epoll_create1(EPOLL_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

int system_poller_watch(int poller, int descriptor, uint64_t token) {
  struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = token}};
  return epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : -errno;
}

int system_poller_wait(int poller, struct system_ready *into, int capacity, int timeout_ms) {
  struct epoll_event events[EVENTS_PER_WAIT];
  int most = capacity < EVENTS_PER_WAIT ? capacity : EVENTS_PER_WAIT;
  int count = epoll_wait(poller, events, most, timeout_ms);
  if (count < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < count; i++) {
    uint32_t bits = events[i].events;
    bool has_ended = bits & (EPOLLERR | EPOLLHUP);
    into[i] = (struct system_ready){.token = events[i].data.u64,
                                    .is_readable = has_ended || bits & (EPOLLIN | EPOLLRDHUP),
                                    .is_writable = has_ended || bits & EPOLLOUT};
  }
  return count;
}

static int connect_begin(int descriptor, const struct system_address *address,
                         const struct system_address *source) {
  struct sockaddr_storage raw;
  int on = 1;
  if (system_address_family(address) != SYSTEM_FAMILY_UNIX)
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (source) {
    memcpy(&raw, source->storage, sizeof raw);
    // The port is chosen at connect, so that one address serves every destination. ip(7)
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(descriptor, (const struct sockaddr *)&raw, source->length) != 0) return -errno;
  }
  memcpy(&raw, address->storage, sizeof raw);
  if (connect(descriptor, (const struct sockaddr *)&raw, address->length) == 0) return 0;
  return errno == EINPROGRESS ? 0 : -errno;
}

int system_connect_start(const struct system_address *address,
                         const struct system_address *source, int *descriptor) {
  sa_family_t family;
  memcpy(&family, address->storage, sizeof family);
  int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return -errno;
  int result = connect_begin(made, address, source);
  if (result != 0) {
    close(made);
    return result;
  }
  *descriptor = made;
  return 0;
}

int system_socket_error(int descriptor) {
  int code = 0;
  socklen_t length = sizeof code;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) != 0) return -errno;
  return -code;
}

int64_t system_send(int descriptor, const uint8_t *bytes, size_t count) {
  ssize_t sent;
  do {
    sent = send(descriptor, bytes, count, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}
