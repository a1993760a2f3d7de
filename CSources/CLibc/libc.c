// Descriptors, files, signals, time, threads and limits. Sockets are in socket.c.
#include "CLibc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// ---- Descriptors and files -----------------------------------------------------------------

int system_close(int descriptor) {
  // Never repeated: on Linux the descriptor is gone even when close(2) reports EINTR.
  return close(descriptor) == 0 ? 0 : -errno;
}

int64_t system_read(int descriptor, uint8_t *into, size_t capacity) {
  ssize_t count;
  do {
    count = read(descriptor, into, capacity);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

int64_t system_write(int descriptor, const uint8_t *bytes, size_t count) {
  ssize_t written;
  do {
    written = write(descriptor, bytes, count);
  } while (written < 0 && errno == EINTR);
  return written < 0 ? -errno : written;
}

int system_open_reading(const char *path) {
  int descriptor;
  do {
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor < 0 ? -errno : descriptor;
}

int system_open_appending(const char *path, uint32_t mode) {
  // O_NONBLOCK: opening a FIFO without a reader must fail (ENXIO) and not wait for one.
  int descriptor;
  do {
    descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                      (mode_t)mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor < 0 ? -errno : descriptor;
}

int system_duplicate(int descriptor) {
  int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

static void file_describe(const struct stat *status, struct system_file *out) {
  out->device = status->st_dev;
  out->inode = status->st_ino;
  out->size = (uint64_t)status->st_size;
  out->mode = (uint32_t)status->st_mode & 07777;
  out->kind = S_ISREG(status->st_mode)    ? SYSTEM_FILE_REGULAR
              : S_ISFIFO(status->st_mode) ? SYSTEM_FILE_PIPE
              : S_ISSOCK(status->st_mode) ? SYSTEM_FILE_SOCKET
              : S_ISDIR(status->st_mode)  ? SYSTEM_FILE_DIRECTORY
                                          : SYSTEM_FILE_OTHER;
}

int system_file_of(int descriptor, struct system_file *out) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return -errno;
  file_describe(&status, out);
  return 0;
}

int system_file_at(const char *path, struct system_file *out) {
  struct stat status;
  if (stat(path, &status) != 0) return -errno;
  file_describe(&status, out);
  return 0;
}

int system_remove(const char *path) {
  return unlink(path) == 0 ? 0 : -errno;
}

static int written_to_disk(int descriptor, const uint8_t *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    int64_t result = system_write(descriptor, bytes + done, count - done);
    if (result < 0) return (int)result;
    done += (size_t)result;
  }
  return fsync(descriptor) == 0 ? 0 : -errno;
}

// The new name is on the disk only when its directory is.
static int directory_to_disk(const char *path) {
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) + 1 : 1;
  memcpy(directory, slash ? path : ".", length);
  directory[length] = 0;
  int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return -errno;
  int result = fsync(descriptor) == 0 ? 0 : -errno;
  close(descriptor);
  return result;
}

int system_replace_file(const char *path, const uint8_t *bytes, size_t count, uint32_t mode) {
  char beside[PATH_MAX];
  int length = snprintf(beside, sizeof beside, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof beside) return -ENAMETOOLONG;
  int descriptor =
      open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
  if (descriptor < 0) return -errno;
  int result = written_to_disk(descriptor, bytes, count);
  close(descriptor);
  if (result == 0 && rename(beside, path) != 0) result = -errno;
  if (result != 0) {
    unlink(beside);
    return result;
  }
  return directory_to_disk(path);
}

int64_t system_directory_names(const char *path, uint8_t *into, size_t capacity) {
  DIR *directory = opendir(path);
  if (directory == NULL) return -errno;
  size_t count = 0;
  int64_t result = 0;
  while (result == 0) {
    errno = 0;
    const struct dirent *entry = readdir(directory);
    if (entry == NULL) {
      result = errno == 0 ? (int64_t)count : -errno;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    size_t length = strlen(entry->d_name) + 1;
    if (length > capacity - count) {
      result = -EFBIG;
      break;
    }
    memcpy(into + count, entry->d_name, length);
    count += length;
  }
  closedir(directory);
  return result;
}

const char *system_environment(const char *name) {
  return getenv(name);
}

int system_host_name(char *name, size_t capacity) {
  if (capacity == 0 || gethostname(name, capacity) != 0) return -1;
  return name[capacity - 1] == 0 ? 0 : -1;  // cut short, it may have no NUL
}

static int code_let_go(struct dl_phdr_info *program, size_t size, void *page_size) {
  (void)size;
  uintptr_t page = *(const uintptr_t *)page_size;
  for (int i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &program->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || (part->p_flags & PF_W)) continue;
    uintptr_t first = ((uintptr_t)program->dlpi_addr + part->p_vaddr + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)program->dlpi_addr + part->p_vaddr + part->p_memsz) & ~(page - 1);
    if (end > first) (void)madvise((void *)first, end - first, MADV_DONTNEED);
  }
  return 1;  // the program itself is the first; its libraries are shared with others
}

void system_let_go_of_code(void) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  (void)dl_iterate_phdr(code_let_go, &page);
}

int system_poll_two(int first, int first_events, int second, int second_events,
                    int timeout_ms, uint32_t *ready) {
  _Static_assert(SYSTEM_POLL_IN == POLLIN && SYSTEM_POLL_OUT == POLLOUT, "poll(2) bits");
  struct pollfd descriptors[2] = {
      {.fd = first, .events = (short)first_events},
      {.fd = second, .events = (short)second_events},
  };
  // Interrupted waits return 0 ready: callers hold deadlines of their own and ask again.
  int count = poll(descriptors, 2, timeout_ms);
  *ready = 0;
  if (count < 0) return errno == EINTR ? 0 : -errno;
  if (descriptors[0].revents != 0) *ready |= 1;
  if (descriptors[1].revents != 0) *ready |= 2;
  return count;
}

// ---- Events, signals, time -----------------------------------------------------------------

int system_eventfd(void) {
  int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return descriptor < 0 ? -errno : descriptor;
}

static void signals_ours(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGHUP);
  sigaddset(set, SIGUSR1);
}

int system_signals_block(void) {
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  if (sigaction(SIGPIPE, &ignore, NULL) != 0) return -errno;
  sigset_t set;
  signals_ours(&set);
  return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int system_signals_unblock(void) {
  sigset_t set;
  signals_ours(&set);
  return -pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int system_signals_open(void) {
  sigset_t set;
  signals_ours(&set);
  int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return descriptor < 0 ? -errno : descriptor;
}

int system_signals_next(int descriptor) {
  struct signalfd_siginfo info;
  int64_t count = system_read(descriptor, (uint8_t *)&info, sizeof info);
  if (count < 0) return (int)count;
  return count == (int64_t)sizeof info ? (int)info.ssi_signo : -EIO;
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);  // cannot fail with these two clocks and a valid pointer
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t system_monotonic_ns(void) {
  return clock_ns(CLOCK_MONOTONIC);
}

uint64_t system_wall_ms(void) {
  return clock_ns(CLOCK_REALTIME) / 1000000u;
}

int system_sleep_ms(uint32_t ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&left, &left) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

int system_random(uint8_t *into, size_t count) {
  size_t done = 0;
  while (done < count) {
    ssize_t got = getrandom(into + done, count - done, 0);
    if (got < 0 && errno != EINTR) return -errno;
    if (got > 0) done += (size_t)got;
  }
  return 0;
}

// ---- Threads, processors, limits -----------------------------------------------------------

int system_thread_name(const char *name) {
  char kept[16];  // the kernel's TASK_COMM_LEN, closing NUL included
  snprintf(kept, sizeof kept, "%s", name);
  return -pthread_setname_np(pthread_self(), kept);
}

int system_thread_pin(int cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return -EINVAL;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  return -pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// What Linux calls struct sched_attr, in its first size; glibc has it from 2.41 on.
struct scheduling {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

void system_thread_yield(int nice) {
  struct scheduling now = {0};
  if (syscall(SYS_sched_getattr, 0, &now, (unsigned)sizeof now, 0) != 0) return;
  if (now.policy != SCHED_OTHER || now.nice >= nice) return;
  struct scheduling wanted = {
      .size = sizeof wanted, .policy = SCHED_OTHER, .nice = nice, .runtime = 100000000};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) (void)setpriority(PRIO_PROCESS, 0, nice);
}

int system_affinity(int32_t *cpus, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return -errno;
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && count < capacity; cpu++) {
    if (CPU_ISSET((size_t)cpu, &set)) cpus[count++] = cpu;
  }
  return count;
}

int system_descriptor_limit(uint64_t *soft, uint64_t *hard) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
  *soft = limit.rlim_cur;
  *hard = limit.rlim_max;
  return 0;
}

int system_descriptor_limit_set(uint64_t soft) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
  limit.rlim_cur = soft;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

int system_descriptors_open(void) {
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return -errno;
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count - 3;  // "." and "..", and the directory itself
}

int system_process_id(void) {
  return (int)getpid();
}

uint32_t system_effective_user(void) {
  return (uint32_t)geteuid();
}

void system_error_text(int code, char *into, size_t capacity) {
  if (capacity == 0) return;
  const char *text = strerrordesc_np(code);
  if (text != NULL) {
    snprintf(into, capacity, "%s", text);
  } else {
    snprintf(into, capacity, "error %d", code);
  }
}
