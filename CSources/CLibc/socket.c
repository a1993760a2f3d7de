// Plain blocking sockets for the control plane: the demo's server, and checks before the start.
// The data plane has sockets of its own.
#include "CLibc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof(((struct system_address *)0)->storage) == sizeof(struct sockaddr_storage),
               "the storage of an address is the kernel's");

// ---- Addresses -----------------------------------------------------------------------------

// Copied in and out and never cast: `storage` has no alignment of its own.
static void address_store(struct system_address *out, const void *from, size_t length) {
  memset(out, 0, sizeof *out);
  memcpy(out->storage, from, length);
  out->length = (uint32_t)length;
}

void system_address_set_ipv4(struct system_address *out, uint32_t word, uint16_t port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
  in.sin_addr.s_addr = htonl(word);
  address_store(out, &in, sizeof in);
}

void system_address_set_ipv6(struct system_address *out, struct system_inet inet) {
  struct sockaddr_in6 in = {
      .sin6_family = AF_INET6, .sin6_port = htons(inet.port), .sin6_scope_id = inet.scope};
  for (int i = 0; i < 8; i++) {
    in.sin6_addr.s6_addr[i] = (uint8_t)(inet.high >> (56 - 8 * i));
    in.sin6_addr.s6_addr[8 + i] = (uint8_t)(inet.low >> (56 - 8 * i));
  }
  address_store(out, &in, sizeof in);
}

int system_address_set_unix(struct system_address *out, const uint8_t *path, size_t length) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  bool is_abstract = length > 0 && path[0] == 0;
  if (length > sizeof un.sun_path - (is_abstract ? 0 : 1)) return -ENAMETOOLONG;
  memcpy(un.sun_path, path, length);
  size_t closing = is_abstract || length == 0 ? 0 : 1;
  address_store(out, &un, offsetof(struct sockaddr_un, sun_path) + length + closing);
  return 0;
}

enum system_family system_address_family(const struct system_address *address) {
  sa_family_t family;
  if (address->length < sizeof family) return SYSTEM_FAMILY_OTHER;
  memcpy(&family, address->storage, sizeof family);
  switch (family) {
    case AF_INET: return SYSTEM_FAMILY_IPV4;
    case AF_INET6: return SYSTEM_FAMILY_IPV6;
    case AF_UNIX: return SYSTEM_FAMILY_UNIX;
    default: return SYSTEM_FAMILY_OTHER;
  }
}

void system_address_inet(const struct system_address *address, struct system_inet *out) {
  memset(out, 0, sizeof *out);
  if (system_address_family(address) == SYSTEM_FAMILY_IPV4) {
    struct sockaddr_in in;
    memcpy(&in, address->storage, sizeof in);
    out->low = ntohl(in.sin_addr.s_addr);
    out->port = ntohs(in.sin_port);
    return;
  }
  struct sockaddr_in6 in;
  memcpy(&in, address->storage, sizeof in);
  for (int i = 0; i < 8; i++) {
    out->high = out->high << 8 | in.sin6_addr.s6_addr[i];
    out->low = out->low << 8 | in.sin6_addr.s6_addr[8 + i];
  }
  out->port = ntohs(in.sin6_port);
  out->scope = in.sin6_scope_id;
}

size_t system_address_path(const struct system_address *address, uint8_t *into) {
  size_t start = offsetof(struct sockaddr_un, sun_path);
  if (address->length <= start) return 0;
  size_t length = address->length - start;
  if (length > 108) length = 108;
  const uint8_t *path = address->storage + start;
  // A path in the file system ends at its NUL; a name in the abstract namespace at the length.
  if (path[0] != 0) length = strnlen((const char *)path, length);
  memcpy(into, path, length);
  return length;
}

// ---- Listening and connecting --------------------------------------------------------------

static int socket_of_family(const struct system_address *address, int flags) {
  sa_family_t family;
  memcpy(&family, address->storage, sizeof family);
  int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  return descriptor < 0 ? -errno : descriptor;
}

static int closing_with(int descriptor, int code) {
  close(descriptor);
  return -code;
}

static int bound_and_listening(int descriptor, const struct system_address *address,
                               int backlog) {
  struct sockaddr_storage to;
  memcpy(&to, address->storage, sizeof to);
  if (bind(descriptor, (const struct sockaddr *)&to, address->length) != 0) return errno;
  return listen(descriptor, backlog) == 0 ? 0 : errno;
}

int system_listen(const struct system_address *address, int backlog) {
  int descriptor = socket_of_family(address, 0);
  if (descriptor < 0) return descriptor;
  int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (system_address_family(address) == SYSTEM_FAMILY_IPV6) {
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  int code = bound_and_listening(descriptor, address, backlog);
  return code == 0 ? descriptor : closing_with(descriptor, code);
}

static int connected_within(int descriptor, uint32_t timeout_ms) {
  struct pollfd waiting = {.fd = descriptor, .events = POLLOUT};
  int ready;
  do {
    ready = poll(&waiting, 1, timeout_ms == 0 ? -1 : (int)timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int code = 0;
  socklen_t length = sizeof code;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) != 0) return errno;
  return code;
}

int system_connect(const struct system_address *address, uint32_t timeout_ms) {
  int descriptor = socket_of_family(address, SOCK_NONBLOCK);
  if (descriptor < 0) return descriptor;
  struct sockaddr_storage to;
  memcpy(&to, address->storage, sizeof to);
  int code = 0;
  if (connect(descriptor, (const struct sockaddr *)&to, address->length) != 0) {
    // A Unix socket answers EAGAIN when the listener's queue is full, and does not go on alone.
    code = errno == EINPROGRESS ? connected_within(descriptor, timeout_ms) : errno;
  }
  if (code != 0) return closing_with(descriptor, code);
  int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return closing_with(descriptor, errno);
  }
  return descriptor;
}

int system_unix_alive(const struct system_address *address) {
  // A datagram socket cannot connect to a stream socket, and the kernel says so only when it has
  // found one behind the path: no connection comes to be. unix(7), EPROTOTYPE
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -errno;
  struct sockaddr_storage to;
  memcpy(&to, address->storage, sizeof to);
  int code = connect(descriptor, (const struct sockaddr *)&to, address->length) == 0 ? 0 : errno;
  close(descriptor);
  if (code == 0 || code == EPROTOTYPE) return 1;
  return code == ECONNREFUSED ? 0 : -code;
}

bool system_has_way(const struct system_address *address) {
  struct sockaddr_storage to;
  memcpy(&to, address->storage, sizeof to);
  // A datagram socket connects by choosing a route and a source address, and no more. ip(7)
  int descriptor = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return false;
  bool has_way = connect(descriptor, (const struct sockaddr *)&to, address->length) == 0;
  close(descriptor);
  return has_way;
}

int system_accept(int listener, struct system_address *from) {
  struct sockaddr_storage address;
  socklen_t length;
  int descriptor;
  do {
    length = sizeof address;
    descriptor = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
  } while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (descriptor < 0) return -errno;
  address_store(from, &address, length);
  return descriptor;
}

int system_local_address(int descriptor, struct system_address *out) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getsockname(descriptor, (struct sockaddr *)&address, &length) != 0) return -errno;
  address_store(out, &address, length);
  return 0;
}

int system_remote_address(int descriptor, struct system_address *out) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getpeername(descriptor, (struct sockaddr *)&address, &length) != 0) return -errno;
  address_store(out, &address, length);
  return 0;
}

int system_shutdown_writing(int descriptor) {
  return shutdown(descriptor, SHUT_WR) == 0 ? 0 : -errno;
}

int system_shutdown_both(int descriptor) {
  return shutdown(descriptor, SHUT_RDWR) == 0 ? 0 : -errno;
}

static int option_of(int descriptor, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(descriptor, level, name, &value, &length) == 0 ? value : -errno;
}

int system_adopt_listener(int descriptor, bool *dual) {
  int type = option_of(descriptor, SOL_SOCKET, SO_TYPE);
  if (type < 0) return type;
  if (type != SOCK_STREAM || option_of(descriptor, SOL_SOCKET, SO_ACCEPTCONN) != 1) return -EINVAL;
  *dual = option_of(descriptor, SOL_SOCKET, SO_DOMAIN) == AF_INET6 &&
          option_of(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
  int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0)
    return -errno;
  return 0;
}

int system_try_congestion(const char *name) {
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -errno;
  int result = 0;
  if (setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0)
    result = -errno;
  close(descriptor);
  return result;
}
