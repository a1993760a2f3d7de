// sluice-simulation [--trace] [FIRST_SEED [COUNT]]: see README.md.
#include "simulation.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { TRACE_LINES = 400, SEEDS = 1000 };

struct line {
  const char *format;
  uint64_t values[4];
  uint64_t step;
};

struct coverage coverage;
static struct line lines[TRACE_LINES];
static uint64_t lines_count;
static bool tracing;

static void line_print(const struct line *line) {
  fprintf(stderr, "%6llu  ", (unsigned long long)line->step);
  // The formats are all of this program's own, with up to four numbers.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  fprintf(stderr, line->format, (unsigned long long)line->values[0],
          (unsigned long long)line->values[1], (unsigned long long)line->values[2],
          (unsigned long long)line->values[3]);
#pragma clang diagnostic pop
  fputc('\n', stderr);
}

void note(const char *format, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  struct line *line = &lines[lines_count++ % TRACE_LINES];
  *line = (struct line){format, {a, b, c, d}, world.step};
  if (tracing) line_print(line);
}

static void report(void) {
  if (!tracing) {
    uint64_t first = lines_count > TRACE_LINES ? lines_count - TRACE_LINES : 0;
    for (uint64_t i = first; i < lines_count; i++) line_print(&lines[i % TRACE_LINES]);
  }
  fprintf(stderr, "seed %llu failed at step %llu; again: sluice-simulation --trace %llu 1\n",
          (unsigned long long)world.seed, (unsigned long long)world.step,
          (unsigned long long)world.seed);
}

void fail(const char *format, ...) {
  va_list arguments;
  char text[512];
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  report();
  fprintf(stderr, "%s\n", text);
  exit(1);
}

static void aborted(int number) {
  report();
  fprintf(stderr, "the data plane ended itself (signal %d): a rule of its own is broken\n",
          number);
  _exit(1);
}

// Called by AddressSanitizer, if it is there, before its report.
void __asan_on_error(void);
void __asan_on_error(void) { report(); }

static bool covered(uint64_t seeds) {
  bool all = true;
#define X(name)                                                                  \
  printf("%-22s %llu\n", #name, (unsigned long long)coverage.name);              \
  if (coverage.name == 0 && seeds >= SEEDS) {                                    \
    fprintf(stderr, "nothing in %llu seeds came to: %s\n", (unsigned long long)seeds, #name); \
    all = false;                                                                 \
  }
  COVERAGE(X)
#undef X
  return all;
}

int main(int count, char **arguments) {
  uint64_t numbers[2] = {1, SEEDS};
  int given = 0;
  for (int i = 1; i < count; i++) {
    char *end = NULL;
    if (strcmp(arguments[i], "--trace") == 0) {
      tracing = true;
      continue;
    }
    uint64_t number = strtoull(arguments[i], &end, 10);
    if (*end != 0 || given == 2) {
      fprintf(stderr, "usage: sluice-simulation [--trace] [FIRST_SEED [COUNT]]\n");
      return 2;
    }
    numbers[given++] = number;
  }
  signal(SIGABRT, aborted);
  for (uint64_t i = 0; i < numbers[1]; i++) {
    world.seed = numbers[0] + i;
    lines_count = 0;
    world_begin();
    world_run();
    world_finish();
    coverage.steps += world.step;
  }
  bool all = covered(numbers[1]);
  printf("seeds %llu steps %llu connections %llu bytes %llu\n", (unsigned long long)numbers[1],
         (unsigned long long)coverage.steps, (unsigned long long)coverage.connections,
         (unsigned long long)coverage.bytes);
  return all ? 0 : 1;
}
