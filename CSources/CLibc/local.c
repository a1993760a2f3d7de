// What is between two processes of one machine: Unix sockets with an owner, who calls over them,
// the accounts that users are known by, files that only one process may hold, and terminals.
#include "CLibc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

// ---- Unix sockets with an owner ------------------------------------------------------------

static int local_prepare(int descriptor, const struct system_address *address, uint32_t mode,
                         int64_t group, int backlog) {
  // bind(2) gives the file the mode of the socket's own inode, less the umask: with this before,
  // there is no moment in which the file has more rights than it is to have.
  if (fchmod(descriptor, (mode_t)mode) != 0) return errno;
  struct sockaddr_un to;
  memset(&to, 0, sizeof to);
  if (address->length > sizeof to) return ENAMETOOLONG;
  memcpy(&to, address->storage, address->length);
  if (bind(descriptor, (const struct sockaddr *)&to, address->length) != 0) return errno;
  // Now what the umask took is given back, and the group. Nobody can have connected: that takes
  // listen(2).
  int code = -system_local_own(to.sun_path, mode, group);
  if (code == 0 && listen(descriptor, backlog) != 0) code = errno;
  if (code != 0) unlink(to.sun_path);
  return code;
}

int system_local_own(const char *path, uint32_t mode, int64_t group) {
  if (group >= 0 && lchown(path, (uid_t)-1, (gid_t)group) != 0) return -errno;
  return chmod(path, (mode_t)mode) == 0 ? 0 : -errno;
}

int system_local_listen(const struct system_address *address, uint32_t mode, int64_t group,
                        int backlog) {
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -errno;
  int code = local_prepare(descriptor, address, mode, group, backlog);
  if (code == 0) return descriptor;
  close(descriptor);
  return -code;
}

int system_caller(int descriptor, struct system_caller *out) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -errno;
  out->process = credentials.pid;
  out->user = credentials.uid;
  out->group = credentials.gid;
  return 0;
}

int system_caller_groups(int descriptor, uint32_t *into, int capacity) {
  _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are 32 bits wide");
  socklen_t length = (socklen_t)((size_t)capacity * sizeof *into);
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, into, &length) != 0) return -errno;
  return (int)(length / sizeof *into);
}

// ---- Files and directories -----------------------------------------------------------------

int system_access_of(const char *path, struct system_access *out) {
  struct stat status;
  if (lstat(path, &status) != 0) return -errno;
  out->user = status.st_uid;
  out->group = status.st_gid;
  out->mode = status.st_mode & 07777;
  out->is_directory = S_ISDIR(status.st_mode);
  out->is_socket = S_ISSOCK(status.st_mode);
  return 0;
}

int system_make_directory(const char *path, uint32_t mode) {
  return mkdir(path, (mode_t)mode) == 0 ? 0 : -errno;
}

int system_lock(const char *path) {
  for (int attempt = 0; attempt < 8; attempt++) {
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (descriptor < 0) return -errno;
    int code = flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    struct stat held, named;
    if (code == 0 && fstat(descriptor, &held) != 0) code = errno;
    // The one who had it before removes the file while holding the lock: what was opened here may
    // be without a name by now, and then another process may lock its successor.
    bool is_named = code == 0 && lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
                    held.st_dev == named.st_dev;
    if (is_named) return descriptor;
    close(descriptor);
    if (code != 0) return -code;
  }
  return -EWOULDBLOCK;
}

// ---- Accounts ------------------------------------------------------------------------------

// Entries of the databases are as long as they are; getpwnam_r(3) says ERANGE until it fits.
static const size_t account_longest = (size_t)1 << 20;

// 1 found, 0 not, or -errno: several errnos of these calls mean "not found". getpwnam_r(3)
static int account_result(int code, const void *_Nullable found) {
  if (found != NULL) return 1;
  switch (code) {
    case 0: case ENOENT: case ESRCH: case EBADF: case EPERM: return 0;
    default: return -code;
  }
}

int system_user_named(const char *name, uint32_t *user, uint32_t *group) {
  for (size_t room = 1024; room <= account_longest; room *= 4) {
    char *text = malloc(room);
    if (text == NULL) return -ENOMEM;
    struct passwd entry, *found = NULL;
    int code = getpwnam_r(name, &entry, text, room, &found);
    if (found != NULL) {
      *user = entry.pw_uid;
      *group = entry.pw_gid;
    }
    free(text);
    if (code != ERANGE) return account_result(code, found);
  }
  return -ERANGE;
}

int system_user_name(uint32_t user, char *into, size_t capacity, uint32_t *group) {
  for (size_t room = 1024; room <= account_longest; room *= 4) {
    char *text = malloc(room);
    if (text == NULL) return -ENOMEM;
    struct passwd entry, *found = NULL;
    int code = getpwuid_r(user, &entry, text, room, &found);
    bool fits = true;
    if (found != NULL) {
      *group = entry.pw_gid;
      fits = strlen(entry.pw_name) < capacity;
      if (fits) strcpy(into, entry.pw_name);
    }
    free(text);
    if (!fits) return -ENAMETOOLONG;
    if (code != ERANGE) return account_result(code, found);
  }
  return -ERANGE;
}

int system_group_named(const char *name, uint32_t *group) {
  for (size_t room = 1024; room <= account_longest; room *= 4) {
    char *text = malloc(room);
    if (text == NULL) return -ENOMEM;
    struct group entry, *found = NULL;
    int code = getgrnam_r(name, &entry, text, room, &found);
    if (found != NULL) *group = entry.gr_gid;
    free(text);
    if (code != ERANGE) return account_result(code, found);
  }
  return -ERANGE;
}

int system_groups_of_user(const char *name, uint32_t group, uint32_t *into, int capacity) {
  int count = capacity;
  return getgrouplist(name, group, into, &count) >= 0 ? count : -ERANGE;
}

uint32_t system_effective_group(void) {
  return (uint32_t)getegid();
}

// ---- Terminals -----------------------------------------------------------------------------

int system_terminal_raw(int descriptor, struct system_terminal *saved) {
  struct termios settings;
  _Static_assert(sizeof settings <= sizeof saved->settings, "the kernel's struct termios fits");
  if (tcgetattr(descriptor, &settings) != 0) return -errno;
  memset(saved, 0, sizeof *saved);
  memcpy(saved->settings, &settings, sizeof settings);
  cfmakeraw(&settings);
  // Reads wait for one byte; the caller polls before.
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  return tcsetattr(descriptor, TCSAFLUSH, &settings) == 0 ? 0 : -errno;
}

int system_terminal_restore(int descriptor, const struct system_terminal *saved) {
  struct termios settings;
  memcpy(&settings, saved->settings, sizeof settings);
  return tcsetattr(descriptor, TCSAFLUSH, &settings) == 0 ? 0 : -errno;
}

int system_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows) {
  struct winsize size;
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0) return -errno;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return 0;
}
