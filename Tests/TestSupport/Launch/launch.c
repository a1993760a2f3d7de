#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// PR_SET_PDEATHSIG fires when the *thread* that forked ends, prctl(2), and a test runner's threads
// come and go. So one thread that never ends does all forking.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool launcher_started;
static const struct launch_request *pending;
static bool answered;
static pid_t answer;

static int deny_io_uring(void) {
  // The check of the architecture is left out on purpose: this is no sandbox, only a refusal.
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {
      .len = sizeof filter / sizeof filter[0],
      .filter = filter,
  };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

// Only async-signal-safe calls from here to exec: the parent has threads.
static _Noreturn void become_child(const struct launch_request *request, int report) {
  sigset_t none;
  sigemptyset(&none);
  for (int signal_number = 1; signal_number < 32; signal_number++)
    (void)signal(signal_number, SIG_DFL);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  bool ready = !request->killed_with_us || prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
  // Copies above 2 first, so that no assignment overwrites a source still needed.
  int input = fcntl(request->input, F_DUPFD_CLOEXEC, 3);
  int output = fcntl(request->output, F_DUPFD_CLOEXEC, 3);
  int error = fcntl(request->error, F_DUPFD_CLOEXEC, 3);
  ready = ready && dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(error, 2) == 2;
  if (ready && request->descriptor_limit != 0) {
    struct rlimit limit = {request->descriptor_limit, request->descriptor_limit};
    ready = setrlimit(RLIMIT_NOFILE, &limit) == 0;
  }
  if (ready && request->drop_bind_service) {
    // Without CAP_SETPCAP the bounding set can't be changed; then we're no root that exec would
    // give capabilities to either, and there is nothing to drop.
    if (prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) != 0) ready = errno == EPERM;
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  }
  if (ready && request->deny_io_uring) ready = deny_io_uring() == 0;
  if (ready) (void)execvpe(request->path, request->arguments, request->environment);
  int reason = errno;
  (void)!write(report, &reason, sizeof reason);
  _exit(127);
}

static pid_t start_one(const struct launch_request *request) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return -errno;
  pid_t pid = fork();
  if (pid == 0) become_child(request, report[1]);
  int failure = pid < 0 ? errno : 0;
  (void)close(report[1]);
  if (pid > 0) {
    // Close-on-exec ends this read: 0 bytes mean that the program runs.
    ssize_t size;
    do size = read(report[0], &failure, sizeof failure);
    while (size < 0 && errno == EINTR);
    if (size <= 0) failure = 0;
    if (failure != 0) (void)waitpid(pid, NULL, 0);
  }
  (void)close(report[0]);
  return failure != 0 ? -failure : pid;
}

static void *serve_requests(void *unused) {
  (void)unused;
  (void)pthread_mutex_lock(&lock);
  for (;;) {
    while (pending == NULL) (void)pthread_cond_wait(&changed, &lock);
    answer = start_one(pending);
    pending = NULL;
    answered = true;
    (void)pthread_cond_broadcast(&changed);
  }
  return NULL;
}

pid_t launch_start(const struct launch_request *request) {
  (void)pthread_mutex_lock(&lock);
  if (!launcher_started) {
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, serve_requests, NULL);
    if (failure != 0) {
      (void)pthread_mutex_unlock(&lock);
      return -failure;
    }
    (void)pthread_detach(thread);
    launcher_started = true;
  }
  while (pending != NULL || answered) (void)pthread_cond_wait(&changed, &lock);
  pending = request;
  (void)pthread_cond_broadcast(&changed);
  while (!answered) (void)pthread_cond_wait(&changed, &lock);
  pid_t pid = answer;
  answered = false;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
  return pid;
}

int launch_limit_descriptors(pid_t pid, uint64_t soft, uint64_t hard) {
  struct rlimit limit = {soft, hard};
  return prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0 ? 0 : -errno;
}

int launch_unsent_bytes(int descriptor) {
  int count = 0;
  return ioctl(descriptor, SIOCOUTQ, &count) == 0 ? count : -errno;
}

int launch_become(uid_t user) {
  // The library's functions change every thread of a process, the system calls only one.
  // setresuid(2), "C library/kernel differences"
  if (syscall(SYS_setgroups, 0, NULL) != 0) return -errno;
  if (syscall(SYS_setresgid, user, user, user) != 0) return -errno;
  return syscall(SYS_setresuid, user, user, user) == 0 ? 0 : -errno;
}

int launch_accept(int descriptor) {
  return accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
