// The seam to the kernel: every system call of the data plane stands here and nowhere else, so
// that a seeded simulation can stand in for the kernel (SLUICE_SIMULATION, Tests/Simulation).
// Each returns what the call returns, with errno set.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

// Zeroed memory whose pages cost nothing until they are touched; NULL: none. Goes by munmap(2).
static inline void *sys_reserve(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

#ifdef SLUICE_SIMULATION

uint64_t sys_now_ns(void);
ssize_t sys_recv(int fd, void *to, size_t length);
ssize_t sys_send(int fd, const struct iovec *parts, size_t count);
ssize_t sys_splice(int from, int to, size_t length);
int sys_socket(int domain, int type);
int sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int sys_bind(int fd, const struct sockaddr *address, socklen_t length);
int sys_listen(int fd, int backlog);
int sys_accept(int fd);
int sys_shutdown_write(int fd);
int sys_close(int fd);
int sys_set_option(int fd, int level, int name, const void *value, socklen_t length);
int sys_socket_error(int fd);
int sys_unsent(int fd);
void sys_path(int fd, uint32_t *rtt_us, uint32_t *retransmits);
int sys_pipe(int ends[2]);
int sys_pipe_size(int fd, int wanted);
int sys_peer_name(int fd, struct sockaddr *address, socklen_t *length);
int sys_own_name(int fd, struct sockaddr *address, socklen_t *length);
int sys_file_mode(int fd, uint32_t mode);
void sys_relax(void);
static inline int sys_path_mode(const char *path, uint32_t mode) {
  (void)path, (void)mode;
  return 0;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tls.h>

static inline uint64_t sys_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline ssize_t sys_recv(int fd, void *to, size_t length) {
  return recv(fd, to, length, MSG_DONTWAIT);
}

static inline ssize_t sys_send(int fd, const struct iovec *parts, size_t count) {
  if (count == 1) return send(fd, parts->iov_base, parts->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
  struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// To a socket whose TLS the kernel speaks: a record of another kind than data.
static inline ssize_t sys_send_record(int fd, uint8_t kind, const void *bytes, size_t length) {
  struct iovec part = {(void *)(uintptr_t)bytes, length};
  _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof kind)] = {0};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_TLS;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(sizeof kind);
  *CMSG_DATA(header) = kind;
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// What a socket's send queue takes of memory, and may take. False when unknown.
static inline bool sys_send_memory(int fd, uint32_t *used, uint32_t *most) {
  uint32_t memory[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof memory;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0) return false;
  *used = memory[SK_MEMINFO_WMEM_QUEUED];
  *most = memory[SK_MEMINFO_SNDBUF];
  return true;
}

// Never SPLICE_F_MORE: it holds the last bytes back for 200 ms. SPLICE_F_NONBLOCK covers only the
// pipe; the socket is O_NONBLOCK by itself.
static inline ssize_t sys_splice(int from, int to, size_t length) {
  return splice(from, NULL, to, NULL, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

static inline int sys_socket(int domain, int type) {
  return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static inline int sys_connect(int fd, const struct sockaddr *address, socklen_t length) {
  return connect(fd, address, length);
}

static inline int sys_bind(int fd, const struct sockaddr *address, socklen_t length) {
  return bind(fd, address, length);
}

static inline int sys_listen(int fd, int backlog) { return listen(fd, backlog); }

static inline int sys_accept(int fd) {
  return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int sys_shutdown_write(int fd) { return shutdown(fd, SHUT_WR); }

static inline int sys_close(int fd) { return close(fd); }

static inline int sys_set_option(int fd, int level, int name, const void *value,
                                 socklen_t length) {
  return setsockopt(fd, level, name, value, length);
}

// The pending error of a socket, as an errno, cleared by being read.
static inline int sys_socket_error(int fd) {
  int number = 0;
  socklen_t length = sizeof number;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) == 0 ? number : errno;
}

// Bytes accepted by the kernel and not yet acknowledged by the other end; -1 when unknown.
static inline int sys_unsent(int fd) {
  int bytes = 0;
  return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}

// What TCP_INFO says of the way to the other end; leaves both alone where it is no TCP.
static inline void sys_path(int fd, uint32_t *rtt_us, uint32_t *retransmits) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return;
  *rtt_us = info.tcpi_rtt;
  *retransmits = info.tcpi_total_retrans;
}

static inline int sys_pipe(int ends[2]) { return pipe2(ends, O_NONBLOCK | O_CLOEXEC); }

// Asks for a size and returns the one the pipe has.
static inline int sys_pipe_size(int fd, int wanted) {
  if (wanted > 0) (void)fcntl(fd, F_SETPIPE_SZ, wanted);
  return fcntl(fd, F_GETPIPE_SZ);
}

static inline int sys_peer_name(int fd, struct sockaddr *address, socklen_t *length) {
  return getpeername(fd, address, length);
}

static inline int sys_own_name(int fd, struct sockaddr *address, socklen_t *length) {
  return getsockname(fd, address, length);
}

static inline int sys_file_mode(int fd, uint32_t mode) { return fchmod(fd, (mode_t)mode); }

static inline int sys_path_mode(const char *path, uint32_t mode) {
  return chmod(path, (mode_t)mode);
}

// Between two looks for events: leaves the core to its other hardware thread for a moment.
static inline void sys_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
