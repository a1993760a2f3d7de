// Starting a program under a chosen set of limits, for tests.
//
// posix_spawn(3) can't set limits, drop capabilities or install a seccomp filter between fork and
// exec, and Swift can't safely run code there; so this is C.
#ifndef SLUICE_TEST_LAUNCH_H
#define SLUICE_TEST_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct launch_request {
  const char *_Nonnull path;                // absolute, or found along PATH
  char *_Nullable const *_Nonnull arguments;    // argv, ended by NULL
  char *_Nullable const *_Nonnull environment;  // ended by NULL
  int input, output, error;                 // become descriptors 0, 1 and 2
  uint64_t descriptor_limit;                // RLIMIT_NOFILE, soft and hard; 0 leaves it alone
  bool deny_io_uring;                       // io_uring_setup(2) fails with EPERM
  bool drop_bind_service;                   // without CAP_NET_BIND_SERVICE
  bool killed_with_us;                      // SIGKILL when this process ends in whatever way
};

// Starts the program. Returns its process id, or a negated errno (also when exec or a limit failed
// in the child).
pid_t launch_start(const struct launch_request *_Nonnull request);

// RLIMIT_NOFILE of another process of ours, soft and hard: prlimit(2). 0 or a negated errno.
int launch_limit_descriptors(pid_t pid, uint64_t soft, uint64_t hard);

// Bytes accepted by the kernel that the other end has not acknowledged yet: SIOCOUTQ, tcp(7).
int launch_unsent_bytes(int descriptor);

// The calling thread, and no other, becomes this user and the group of the same number, without
// further groups: the kernel shows what it connects from then on as that user's. For root; 0 or a
// negated errno.
int launch_become(uid_t user);

// accept4(2), which Swift doesn't see: non-blocking and close-on-exec. -1 and errno on failure.
int launch_accept(int descriptor);

#endif
