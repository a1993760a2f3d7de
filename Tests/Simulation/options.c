// The functions of sys.h that only look at a socket or set something on it. The rest is kernel.c.
#include "simulation.h"

#include <netinet/in.h>

int sys_bind(int fd, const struct sockaddr *address, socklen_t length) {
  (void)address;
  (void)length;
  (void)kernel_socket(fd);
  return 0;
}

int sys_listen(int fd, int backlog) {
  (void)backlog;
  kernel_socket(fd)->state = FAKE_LISTENING;
  return 0;
}

int sys_set_option(int fd, int level, int name, const void *value, socklen_t length) {
  struct fake_socket *s = kernel_socket(fd);
  (void)value;
  (void)length;
  if (level == SOL_SOCKET && name == SO_LINGER) s->linger = true;
  if (level == SOL_SOCKET && name == SO_KEEPALIVE) s->keepalive = true;
  return 0;
}

int sys_socket_error(int fd) {
  struct fake_socket *s = kernel_socket(fd);
  int number = s->error;
  s->error = 0;
  return number;
}

int sys_unsent(int fd) {
  struct fake_socket *s = kernel_socket(fd);
  return (int)s->send.length;
}

// One that is closed already would be found by kernel_socket.
void sys_path(int fd, uint32_t *rtt_us, uint32_t *retransmits) {
  (void)kernel_socket(fd);
  *rtt_us = 1000;
  *retransmits = 1;
}

static int name_of(int fd, uint16_t port, struct sockaddr *address, socklen_t *length) {
  if (kernel_socket(fd)->dead) {
    errno = ENOTCONN;
    return -1;
  }
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
  in.sin_addr.s_addr = htonl(0x7f000001);
  memcpy(address, &in, sizeof in);
  *length = sizeof in;
  return 0;
}

int sys_peer_name(int fd, struct sockaddr *address, socklen_t *length) {
  const struct fake_socket *s = kernel_socket(fd);
  const struct actor *a = s->peer ? s->peer->actor : NULL;
  return name_of(fd, (uint16_t)(a ? a->stream : 0), address, length);
}

int sys_own_name(int fd, struct sockaddr *address, socklen_t *length) {
  return name_of(fd, 25, address, length);
}

int sys_file_mode(int fd, uint32_t mode) {
  (void)mode;
  (void)kernel_socket(fd);
  return 0;
}
