"""Starts a program under a counter, and tells what its threads did between two marks."""

import collections
import os
import pathlib
import re
import subprocess
import time

from traffic import WAIT_SECONDS, wait_until

QUIET_SECONDS = 0.1


class Program:
    """A running program. Subclasses say what it is run under, and what they count."""

    def __init__(self, command, directory, is_serving):
        self.directory = pathlib.Path(directory)
        self.said = open(self.directory / "said", "wb")
        self.process = subprocess.Popen(
            self.under() + command, stdout=self.said, stderr=self.said,
            env=os.environ | {"SWIFT_BACKTRACE": "enable=no"})
        self.pid = self.process.pid
        wait_until("the program to serve", lambda: self.serves(is_serving))
        # Listening is told of a moment before the worker waits.
        time.sleep(QUIET_SECONDS)

    def under(self):
        return []

    def serves(self, word):
        said = (self.directory / "said").read_text(errors="replace")
        if self.process.poll() is not None:
            raise RuntimeError(f"the program ended: {said}")
        return word in said

    def threads(self):
        """The names of its threads by their ids."""
        found = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            found[int(task.name)] = (task / "comm").read_text().strip()
        return found

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.said.close()
        if status != 0:
            said = (self.directory / "said").read_text(errors="replace")
            raise RuntimeError(f"the program ended with {status}: {said}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.end()
        except RuntimeError:
            # What went wrong first says more.
            if kind is None:
                raise


class SystemCalls(Program):
    """Counts system calls, a file for each thread. With -D the program is our own child."""

    def under(self):
        return ["strace", "-D", "-ff", "-qq", "-s0", "-esignal=none", "-o",
                str(self.directory / "calls")]

    def file(self, thread):
        return self.directory / f"calls.{thread}"

    def mark(self):
        """Where each thread's file ends, once nothing is added to any of them."""
        sizes = None
        while True:
            now = {thread: self.file(thread).stat().st_size for thread in self.threads()}
            if now == sizes:
                return now
            sizes = now
            time.sleep(QUIET_SECONDS)

    def since(self, mark):
        """By thread name: how often each system call was made since then."""
        self.mark()
        counts = collections.defaultdict(collections.Counter)
        for thread, name in self.threads().items():
            with open(self.file(thread), "rb") as file:
                file.seek(mark.get(thread, 0))
                # The call that it sleeps in is a line only when that is over: so at each mark.
                names = re.findall(rb"^(?:[^\n]*?\) +)?(\w+)\(.*\n", file.read(), re.MULTILINE)
            counts[name].update(found.decode() for found in names)
        return counts


class Instructions(Program):
    """Counts instructions in user space, and calls of the allocator and of reference counting."""

    def under(self):
        return ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes",
                f"--callgrind-out-file={self.directory}/profile"]

    def dump(self):
        """Ends a profile of each thread, and begins new ones: the profiles."""
        time.sleep(QUIET_SECONDS)
        known = set(self.directory.glob("profile*"))
        subprocess.run(["vgdb", f"--pid={self.pid}", "dump"], check=True, timeout=WAIT_SECONDS,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return [Profile(path) for path in set(self.directory.glob("profile*")) - known]

    def mark(self):
        self.dump()

    def since(self, _):
        return self.dump()


ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"}
COUNTING = re.compile(
    r"_?swift_(nonatomic_)?(bridgeObject|unknownObject|weak|unowned)?(Retain|Release|retain|release"
    r")(_n)?(_\d+)?$")


class Profile:
    """One thread's part of callgrind's output. http://valgrind.org/docs/manual/cl-format.html"""

    def __init__(self, path):
        # By function, without what it calls.
        self.instructions = collections.Counter()
        # By what was called: how often, by whom.
        self.calls = collections.defaultdict(collections.Counter)
        self.names = {"fn": {}, "ob": {}}
        self.read(path)

    @property
    def thread(self):
        """Of the threads that connections go through; None is any other one."""
        if "sluice_worker_turn" in self.instructions:
            return "worker"
        return "log" if any("ConnectionLog" in name for name in self.instructions) else None

    def name(self, kind, text):
        """`(12) name` introduces a short form, `(12)` stands for it."""
        found = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if found is None:
            return text
        number, name = found.groups()
        if name is not None:
            self.names[kind][number] = name
        return self.names[kind].get(number, "")

    def read(self, path):
        owner = target_owner = function = target = ""
        skipped = False
        for line in path.read_text(errors="replace").splitlines():
            key, separator, rest = line.partition("=")
            if key == "ob":
                owner = target_owner = self.name("ob", rest)
            elif key == "cob":
                target_owner = self.name("ob", rest)
            elif key == "fn":
                function = self.name("fn", rest)
                target_owner = owner
            elif key == "cfn":
                target = self.name("fn", rest)
            elif key == "calls":
                self.called(owner, function, target_owner, target, int(rest.split()[0]))
                target_owner, skipped = owner, True
            elif separator == "" and re.match(r"[+*\-]?\d*\*? \d+", line):
                # The line after a call has what was spent in there.
                if not skipped:
                    self.instructions[function] += int(line.split()[-1])
                skipped = False

    def called(self, owner, function, target_owner, target, count):
        """Allocations by whoever wants memory, not by the runtime; references counted likewise."""
        runtime = ("libswiftCore", "libc.so", "libstdc++", "libswift_Concurrency")
        target = re.sub(r"'\d+$", "", target)
        if target in ALLOCATORS:
            if "libc.so" not in owner:
                self.calls["allocations"][function] += count
        elif target == "swift_allocObject" or target == "swift_slowAlloc":
            if not any(name in owner for name in runtime):
                self.calls["wanted"][function] += count
        elif COUNTING.match(target) and not any(name in owner for name in runtime):
            kind = "releases" if "elease" in target else "retains"
            self.calls[kind][function] += count
