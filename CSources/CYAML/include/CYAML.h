// One YAML document as a flat array of nodes, each with its mark, over libyaml's event API.
//
// The whole face is values, indexes and lent buffers, so that Swift needs no `unsafe`: no union, no
// pointer that outlives a call. What a configuration has no use for and what makes YAML a bomb
// (aliases, anchors, tags, several documents) is refused where it stands.
#pragma once

#include <ptrcheck.h>
#include <lifetimebound.h>
#include <stdbool.h>
#include <stdint.h>

#define CYAML_SWIFT(name) __attribute__((swift_name(name)))
#define CYAML_CLOSED __attribute__((enum_extensibility(closed)))

#pragma clang assume_nonnull begin

enum {
  // A configuration of 10,000 backends is 2 MiB; a bigger file is not a configuration.
  cyaml_text_max = 8 * 1024 * 1024,
  // The deepest schema needs 6; every nested value costs the reader a stack frame.
  cyaml_depth_max = 32,
  // Bounds memory: each node is 28 bytes here and about 100 in Swift.
  cyaml_nodes_max = 1000000,
  // Longest message of libyaml is below 100 bytes.
  cyaml_message_max = 160,
};

enum CYAML_CLOSED cyaml_kind : uint8_t {
  cyaml_kind_scalar CYAML_SWIFT("scalar") = 0,
  cyaml_kind_sequence CYAML_SWIFT("sequence") = 1,
  cyaml_kind_mapping CYAML_SWIFT("mapping") = 2,
} CYAML_SWIFT("YAMLKind");

enum CYAML_CLOSED cyaml_problem : uint8_t {
  cyaml_problem_none CYAML_SWIFT("none") = 0,
  // libyaml's own message stands in cyaml_message.
  cyaml_problem_syntax CYAML_SWIFT("syntax") = 1,
  // Not UTF-8, or a character that YAML 1.1 does not allow; the message says which.
  cyaml_problem_encoding CYAML_SWIFT("encoding") = 2,
  cyaml_problem_too_large CYAML_SWIFT("tooLarge") = 3,
  cyaml_problem_too_deep CYAML_SWIFT("tooDeep") = 4,
  cyaml_problem_too_many_nodes CYAML_SWIFT("tooManyNodes") = 5,
  cyaml_problem_anchor CYAML_SWIFT("anchor") = 6,
  cyaml_problem_alias CYAML_SWIFT("alias") = 7,
  cyaml_problem_tag CYAML_SWIFT("tag") = 8,
  cyaml_problem_second_document CYAML_SWIFT("secondDocument") = 9,
  // No document at all: an empty file, or comments only.
  cyaml_problem_empty CYAML_SWIFT("empty") = 10,
  // A mapping or a sequence where a mapping's key should be.
  cyaml_problem_key CYAML_SWIFT("key") = 11,
  cyaml_problem_memory CYAML_SWIFT("memory") = 12,
} CYAML_SWIFT("YAMLProblem");

// A node. The children of a sequence are its items; those of a mapping are key, value, key, value.
struct cyaml_node {
  uint32_t line;         // 1-based
  uint32_t column;       // 1-based, in characters
  uint32_t text_length;  // bytes of UTF-8; 0 unless a scalar
  uint32_t text_offset;
  uint32_t first_child;  // index; 0 is none, since the root (index 0) is nobody's child
  uint32_t next;         // the next child of the same parent; 0 is none
  enum cyaml_kind kind;
  bool is_quoted;  // a scalar in quotes or a block scalar
} CYAML_SWIFT("YAMLNode");

// How parsing ended, with 1-based marks.
struct cyaml_outcome {
  enum cyaml_problem problem;
  uint32_t node_count;
  uint32_t line;
  uint32_t column;
  // Where the construct began that the problem is in; 0 when libyaml names none.
  uint32_t context_line;
  uint32_t context_column;
} CYAML_SWIFT("YAMLOutcome");

struct cyaml_storage;

// Owned by the caller of cyaml_parse and freed once with cyaml_free; copies name the same document.
// Safe to name from Swift: the pointer never leaves this type and every access is checked.
struct __attribute__((swift_attr("@safe"))) cyaml_document {
  struct cyaml_storage *_Nullable storage;
} CYAML_SWIFT("YAMLDocument");

// Parses `text`, which is not kept. Never fails by itself: ask cyaml_outcome.
struct cyaml_document cyaml_parse(const uint8_t *__counted_by(length) text __noescape,
                                  uint32_t length);
void cyaml_free(struct cyaml_document document);

struct cyaml_outcome cyaml_outcome(struct cyaml_document document);
// Aborts when `index` is not below outcome.node_count: that is the caller's bug.
struct cyaml_node cyaml_node(struct cyaml_document document, uint32_t index);
// Copies the text of the node `index` to `out`; returns the bytes copied: the smaller of
// `capacity` and the node's text_length.
uint32_t cyaml_text(struct cyaml_document document, uint32_t index,
                    uint8_t *__counted_by(capacity) out __noescape, uint32_t capacity);
// Copies libyaml's message (ASCII); returns the bytes copied, at most cyaml_message_max.
uint32_t cyaml_message(struct cyaml_document document,
                       uint8_t *__counted_by(capacity) out __noescape, uint32_t capacity);

#pragma clang assume_nonnull end
