// Datagrams to a local service, such as the journal.
#include "CLibc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int system_datagram_connect(const struct system_address *to) {
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -errno;
  struct sockaddr_storage address;
  memcpy(&address, to->storage, sizeof address);
  if (connect(descriptor, (const struct sockaddr *)&address, to->length) == 0) return descriptor;
  int code = errno;
  close(descriptor);
  return -code;
}

int64_t system_datagram_send(int descriptor, const uint8_t *bytes, size_t count) {
  ssize_t sent;
  do {
    sent = send(descriptor, bytes, count, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}
