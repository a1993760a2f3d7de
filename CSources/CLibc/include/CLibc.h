#pragma once
// The part of libc and Linux that Swift does not see well (GNU extensions, variadic calls, errno).
//
// One rule for results: zero or more is success, less than zero is -errno. errno itself never
// crosses into Swift, where a retain between the call and the look at it could change it.
// Calls interrupted by a signal are repeated here; EINTR never reaches Swift.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// ---- Descriptors and files -----------------------------------------------------------------

int system_close(int descriptor);
// At most `capacity` bytes; 0 is the end. [read(2): all errnos]
int64_t system_read(int descriptor, uint8_t *into, size_t capacity);
int64_t system_write(int descriptor, const uint8_t *bytes, size_t count);
// Only for reading, O_CLOEXEC.
int system_open_reading(const char *path);
// Created with `mode` when absent, O_APPEND, O_CLOEXEC, and never the controlling terminal.
int system_open_appending(const char *path, uint32_t mode);
// A copy of `descriptor` with FD_CLOEXEC.
int system_duplicate(int descriptor);

enum __attribute__((enum_extensibility(closed))) system_file_kind : uint8_t {
  SYSTEM_FILE_REGULAR __attribute__((swift_name("regular"))) = 0,
  SYSTEM_FILE_PIPE __attribute__((swift_name("pipe"))) = 1,
  SYSTEM_FILE_SOCKET __attribute__((swift_name("socket"))) = 2,
  SYSTEM_FILE_OTHER __attribute__((swift_name("other"))) = 3,
  SYSTEM_FILE_DIRECTORY __attribute__((swift_name("directory"))) = 4,
};
struct system_file {
  uint64_t device, inode, size;
  uint32_t mode;  // the permission bits
  enum system_file_kind kind;
};
int system_file_of(int descriptor, struct system_file *out);
int system_file_at(const char *path, struct system_file *out);
int system_remove(const char *path);
// Writes a new file beside `path` with these bytes and `mode`, gets it onto the disk, and gives it
// the name. A reader finds the former file or this one, whole, whatever happens meanwhile.
// [open(2), write(2), fsync(2), rename(2): ENOENT, EACCES, ENOSPC, EROFS, …; -ENAMETOOLONG]
int system_replace_file(const char *path, const uint8_t *bytes, size_t count, uint32_t mode);
// The names in a directory but "." and "..", each ended by a NUL; returns their bytes. -EFBIG when
// they do not fit. [opendir(3), readdir(3)]
int64_t system_directory_names(const char *path, uint8_t *into, size_t capacity);
// The value of an environment variable; nil when it is not set. Good until the environment changes.
const char *_Nullable system_environment(const char *name);
// The machine's name, with a NUL at the end. 0, or -1 when it does not fit. gethostname(2)
int system_host_name(char *name, size_t capacity);
// Lets the kernel take the program's own code and constants out of this process's memory until they
// are used again; nothing is lost, they are mapped from its file. [madvise(2), MADV_DONTNEED]
void system_let_go_of_code(void);

// Waits for `events` (poll(2) bits POLLIN and POLLOUT as below) on one or two descriptors; a
// negative descriptor is left out. Returns how many are ready; `ready` gets one bit each.
enum { SYSTEM_POLL_IN = 1, SYSTEM_POLL_OUT = 4 };
int system_poll_two(int first, int first_events, int second, int second_events,
                    int timeout_ms, uint32_t *ready);

// ---- Events, signals, time -----------------------------------------------------------------

int system_eventfd(void);  // non-blocking, close-on-exec
// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1 in the calling thread (and every thread it starts
// from now on) and ignores SIGPIPE in the whole process.
int system_signals_block(void);
int system_signals_open(void);           // signalfd of the same four; non-blocking
int system_signals_next(int descriptor);  // the signal's number, or -EAGAIN
// A child's disposition and mask as they were at start; for tests that start programs.
int system_signals_unblock(void);

uint64_t system_monotonic_ns(void);
uint64_t system_wall_ms(void);  // since 1970-01-01 UTC, without leap seconds
int system_sleep_ms(uint32_t ms);
int system_random(uint8_t *into, size_t count);

// ---- Threads, processors, limits -----------------------------------------------------------

int system_thread_name(const char *name);  // this thread; at most 15 bytes are kept
int system_thread_pin(int cpu);            // this thread, to one processor

// Lets threads of ordinary priority go first; only ever raises nice. It also runs in slices of
// 100 ms, the longest: from Linux 6.12 on a thread that wakes up and has a shorter one, as all
// have by default, preempts it at once, where it would wait for the end of a shorter one, or for
// the next tick. sched_setattr(2), setpriority(2): both are per thread.
void system_thread_yield(int nice);
// The processors this thread may use, ascending; returns how many (at most `capacity` written).
int system_affinity(int32_t *cpus, int capacity);
int system_descriptor_limit(uint64_t *soft, uint64_t *hard);
int system_descriptor_limit_set(uint64_t soft);
int system_descriptors_open(void);  // how many this process has open now
int system_process_id(void);
uint32_t system_effective_user(void);

// The text of an errno value, in English whatever the locale; never fails.
void system_error_text(int code, char *into, size_t capacity);

// ---- Sockets -------------------------------------------------------------------------------

// A sockaddr of any of our three families, in the kernel's own form.
struct system_address {
  uint8_t storage[128];
  uint32_t length;
};
enum __attribute__((enum_extensibility(closed))) system_family : uint8_t {
  SYSTEM_FAMILY_OTHER __attribute__((swift_name("other"))) = 0,
  SYSTEM_FAMILY_IPV4 __attribute__((swift_name("ipv4"))) = 1,
  SYSTEM_FAMILY_IPV6 __attribute__((swift_name("ipv6"))) = 2,
  SYSTEM_FAMILY_UNIX __attribute__((swift_name("unix"))) = 3,
};
// Words and ports are in host order.
struct system_inet {
  uint64_t high, low;  // IPv4: in `low`
  uint32_t scope;
  uint16_t port;
};
void system_address_set_ipv4(struct system_address *out, uint32_t word, uint16_t port);
void system_address_set_ipv6(struct system_address *out, struct system_inet inet);
// -ENAMETOOLONG above 107 bytes (108 in the abstract namespace, its NUL included).
int system_address_set_unix(struct system_address *out, const uint8_t *path, size_t length);
enum system_family system_address_family(const struct system_address *address);
void system_address_inet(const struct system_address *address, struct system_inet *out);
// The path's bytes without a closing NUL; 0 when unnamed. `into` takes 108 bytes.
size_t system_address_path(const struct system_address *address, uint8_t *into);

// A bound and listening stream socket; IPv6 with V6ONLY; SO_REUSEADDR, never SO_REUSEPORT.
// [EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, …: socket(2), bind(2), listen(2)]
int system_listen(const struct system_address *address, int backlog);
// Blocking connect; `timeout_ms` 0 waits as long as the kernel does. [connect(2), ETIMEDOUT]
int system_connect(const struct system_address *address, uint32_t timeout_ms);
// Whether a socket stands behind a Unix path: 1, or 0 for a file that a dead one left. Nobody
// who listens there notices. [ENOENT, EACCES, …: connect(2)]
int system_unix_alive(const struct system_address *address);
// Whether this machine has a route and an address of its own towards an address; nothing is sent.
bool system_has_way(const struct system_address *address);
// A Unix datagram socket that sends to one address; non-blocking, close-on-exec. datagram.c
int system_datagram_connect(const struct system_address *to);
int64_t system_datagram_send(int descriptor, const uint8_t *bytes, size_t count);
int system_accept(int listener, struct system_address *from);  // blocking, close-on-exec
int system_local_address(int descriptor, struct system_address *out);
int system_remote_address(int descriptor, struct system_address *out);
int system_shutdown_writing(int descriptor);
int system_shutdown_both(int descriptor);
// Whether this process may use a congestion control. [ENOENT: not known, EPERM: not allowed]
int system_try_congestion(const char *name);
// Whether it is a listening stream socket; it gets close-on-exec and O_NONBLOCK. `dual` says that
// it is IPv6 and takes IPv4 clients too. -ENOTSOCK or -EINVAL when it is something else.
int system_adopt_listener(int descriptor, bool *dual);

// ---- The service manager -------------------------------------------------------------------

// Copies a variable's value, without a NUL, and takes it out of the environment; its length.
// [ENOENT; ENAMETOOLONG: longer than `capacity`, and gone all the same]
int64_t system_environment_take(const char *name, uint8_t *into, size_t capacity);
// How many descriptors a service manager handed to this process, from 3 on (sd_listen_fds(3)); 0
// when LISTEN_PID names another process. The variables are taken out of the environment.
int system_listen_descriptors(void);
// A datagram socket; each send waits at most so long for room. [EMFILE, ENFILE]
int system_notify_open(uint32_t timeout_ms);
// [EAGAIN: no room in time; ENOENT, ECONNREFUSED: nobody is there; send(2), unix(7)]
int64_t system_notify_send(int descriptor, const struct system_address *to, const uint8_t *bytes,
                           size_t count);

// ---- Many sockets at once ------------------------------------------------------------------

// One socket that something happened to: `token` as given to system_poller_watch.
struct system_ready {
  uint64_t token;
  bool is_readable, is_writable;
};
int system_poller_open(void);  // epoll_create1(2), close-on-exec
// From now on each change of a socket to readable or writable (or failed, which is both) is
// reported once. Closing the descriptor ends it.
int system_poller_watch(int poller, int descriptor, uint64_t token);
// At most `capacity` of them; a negative time-out waits for ever. 0 when interrupted.
int system_poller_wait(int poller, struct system_ready *into, int capacity, int timeout_ms);
// A non-blocking socket that connects. 0 and its descriptor, or -errno; EINPROGRESS is no error.
// `source` may be NULL. [connect(2), bind(2)]
int system_connect_start(const struct system_address *address,
                         const struct system_address *_Nullable source, int *descriptor);
int system_socket_error(int descriptor);  // SO_ERROR as -errno, 0 without one
// Like write(2), without SIGPIPE.
int64_t system_send(int descriptor, const uint8_t *bytes, size_t count);

// ---- Between processes of one machine (local.c) --------------------------------------------

// A bound and listening Unix socket, non-blocking, whose file has this mode whatever the umask,
// and this group unless negative; never more rights than these, not for a moment.
// [EADDRINUSE, EACCES, ENOENT, EPERM: socket(2), bind(2), chown(2)]
int system_local_listen(const struct system_address *address, uint32_t mode, int64_t group,
                        int backlog);
// The same for one that listens already.
int system_local_own(const char *path, uint32_t mode, int64_t group);
// Who connected, at that time: SO_PEERCRED, unix(7).
struct system_caller {
  int32_t process;
  uint32_t user, group;
};
int system_caller(int descriptor, struct system_caller *out);
// The caller's supplementary groups (SO_PEERGROUPS); returns how many. [ERANGE: more than that]
int system_caller_groups(int descriptor, uint32_t *into, int capacity);

// Who may do what with a file, symbolic links not followed. lstat(2)
struct system_access {
  uint32_t user, group, mode;
  bool is_directory, is_socket;
};
int system_access_of(const char *path, struct system_access *out);
int system_make_directory(const char *path, uint32_t mode);
// Opens or creates a file with mode 0600 and locks it for as long as the descriptor is open.
// [EWOULDBLOCK: another process has it; open(2)]
int system_lock(const char *path);

// 1 when there is such an account, 0 when not. These may ask a directory service and block.
int system_user_named(const char *name, uint32_t *user, uint32_t *group);
int system_user_name(uint32_t user, char *into, size_t capacity, uint32_t *group);
int system_group_named(const char *name, uint32_t *group);
// All groups of a user, `group` (its first) included; returns how many. [ERANGE: more than that]
int system_groups_of_user(const char *name, uint32_t group, uint32_t *into, int capacity);
uint32_t system_effective_group(void);

// A terminal's settings as they were.
struct system_terminal {
  uint8_t settings[64];
};
// Bytes as they are typed, without echo, signals and line editing. [ENOTTY]
int system_terminal_raw(int descriptor, struct system_terminal *saved);
int system_terminal_restore(int descriptor, const struct system_terminal *saved);
int system_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows);

// ---- Passwords (crypt.c) -------------------------------------------------------------------

// 1 when the password is the one that was hashed, 0 when it is another; takes as long as the hash
// was made to take. [EINVAL: no hash that this libcrypt knows; crypt_r(3)]
int system_password_matches(const char *password, const char *hash);

#pragma clang assume_nonnull end
