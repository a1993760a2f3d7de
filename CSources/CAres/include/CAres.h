#pragma once
// Questions to name servers, by c-ares: it sends, repeats, changes servers, and goes over to TCP
// when a reply does not fit into a datagram. Replies come back as the bytes that were received;
// Swift reads them. One thread uses a `names` from the first call to the last.

#include <stdbool.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

struct names;

struct __attribute__((swift_attr("@safe"))) names_settings {
  // "127.0.0.1:5353,[::1]:53", to be asked for names as they are. NULL: the servers, the search
  // list and the options of /etc/resolv.conf.
  const char *_Nullable servers;
  // For the first try; it doubles each time all servers have been tried.
  int32_t timeout_ms;
  int32_t attempts;
};

enum __attribute__((enum_extensibility(closed))) names_end : uint8_t {
  // A reply came; it may still say that there is no such name.
  NAMES_REPLY __attribute__((swift_name("reply"))) = 0,
  NAMES_NO_DATA __attribute__((swift_name("noData"))) = 1,
  NAMES_NO_NAME __attribute__((swift_name("noName"))) = 2,
  NAMES_SERVER_FAILED __attribute__((swift_name("serverFailed"))) = 3,
  NAMES_REFUSED __attribute__((swift_name("refused"))) = 4,
  NAMES_TIMED_OUT __attribute__((swift_name("timedOut"))) = 5,
  NAMES_UNREACHABLE __attribute__((swift_name("unreachable"))) = 6,
  NAMES_BAD_REPLY __attribute__((swift_name("badReply"))) = 7,
  NAMES_OTHER __attribute__((swift_name("other"))) = 8,
};

struct __attribute__((swift_attr("@safe"))) names_result {
  uint64_t token;
  // Good until the next call; NULL unless `end` is NAMES_REPLY.
  const uint8_t *_Nullable bytes;
  uint32_t length;
  enum names_end end;
};

// NULL when there is no memory or the settings are no good.
struct names *_Nullable names_open(const struct names_settings *settings);
void names_close(struct names *n);

// Begins to ask for the records of this type (a number of RFC 1035). Always ends in one result with
// this token. `searched`: the search list of resolv.conf applies.
void names_ask(struct names *n, uint64_t token, const char *name, uint16_t type, bool searched);

// Waits until there are results, `wake` is readable, or the time (negative: none) is over, and does
// what is due meanwhile. Returns at once when results are left.
void names_wait(struct names *n, int wake, int timeout_ms);

// The next result; false when there is none.
bool names_take(struct names *n, struct names_result *out);

#pragma clang assume_nonnull end
