// What a service manager and the process it started say to each other: the environment at the
// start, and datagrams to the manager from then on.
#include "CLibc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int64_t system_environment_take(const char *name, uint8_t *into, size_t capacity) {
  const char *value = getenv(name);
  if (value == NULL) return -ENOENT;
  size_t length = strlen(value);
  if (length <= capacity) memcpy(into, value, length);
  unsetenv(name);
  return length <= capacity ? (int64_t)length : -ENAMETOOLONG;
}

int system_notify_open(uint32_t timeout_ms) {
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -errno;
  // A manager that does not read must not stop us: sending gives up after a while. socket(7)
  struct timeval wait = {
      .tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
  if (setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0) {
    int code = errno;
    close(descriptor);
    return -code;
  }
  return descriptor;
}

int64_t system_notify_send(int descriptor, const struct system_address *to, const uint8_t *bytes,
                           size_t count) {
  struct sockaddr_storage address;
  memcpy(&address, to->storage, sizeof address);
  ssize_t sent;
  do {
    sent = sendto(descriptor, bytes, count, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                  to->length);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

int system_listen_descriptors(void) {
  const char *process = getenv("LISTEN_PID");
  const char *count = getenv("LISTEN_FDS");
  int descriptors = 0;
  if (process && count && strtol(process, NULL, 10) == getpid()) {
    long parsed = strtol(count, NULL, 10);
    descriptors = parsed > 0 && parsed <= 1024 ? (int)parsed : 0;
  }
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
  return descriptors;
}
