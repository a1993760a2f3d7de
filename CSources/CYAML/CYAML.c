#include "CYAML.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct cyaml_storage {
  struct cyaml_node *nodes;
  uint32_t node_count;
  uint32_t node_capacity;
  uint8_t *text;
  uint32_t text_length;
  uint32_t text_capacity;
  struct cyaml_outcome outcome;
  uint32_t message_length;
  char message[cyaml_message_max];
};

// An open sequence or mapping: where its next child is linked in.
struct open_node {
  uint32_t index;
  uint32_t last_child;
  bool awaits_key;
};

struct builder {
  struct cyaml_storage *storage;
  uint32_t depth;
  struct open_node open[cyaml_depth_max];
};

// Escapes such as "\P" make three bytes of two, so the text can outgrow the file, but not by more.
_Static_assert((uint64_t)cyaml_text_max * 2 < UINT32_MAX, "text offsets are 32 bits wide");

static bool build(struct builder *builder, yaml_parser_t *parser);
static bool take_event(struct builder *builder, const yaml_event_t *event, bool *done);
static bool add_node(struct builder *builder, const yaml_event_t *event, enum cyaml_kind kind,
                     uint32_t *index);
static bool add_scalar(struct builder *builder, const yaml_event_t *event);
static bool open_container(struct builder *builder, const yaml_event_t *event,
                           enum cyaml_kind kind);
static bool refuse(struct builder *builder, enum cyaml_problem problem, yaml_mark_t mark);
static bool refuse_syntax(struct builder *builder, const yaml_parser_t *parser);
static bool refuse_encoding(struct builder *builder, const yaml_parser_t *parser,
                            const uint8_t *text, uint32_t length);
static void keep_message(struct cyaml_storage *storage, const char *context, const char *problem);

struct cyaml_document cyaml_parse(const uint8_t *text, uint32_t length) {
  struct cyaml_storage *storage = calloc(1, sizeof *storage);
  struct cyaml_document document = {.storage = storage};
  if (storage == NULL) return document;
  struct builder builder = {.storage = storage};
  if (length > cyaml_text_max) {
    refuse(&builder, cyaml_problem_too_large, (yaml_mark_t){0});
    return document;
  }
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) {
    refuse(&builder, cyaml_problem_memory, (yaml_mark_t){0});
    return document;
  }
  // Otherwise a first byte of 0xff or 0xfe would make libyaml read the file as UTF-16.
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, text, length);
  if (!build(&builder, &parser) && storage->outcome.problem == cyaml_problem_none) {
    if (parser.error == YAML_READER_ERROR) {
      refuse_encoding(&builder, &parser, text, length);
    } else {
      refuse_syntax(&builder, &parser);
    }
  }
  yaml_parser_delete(&parser);
  storage->outcome.node_count = storage->node_count;
  return document;
}

void cyaml_free(struct cyaml_document document) {
  if (document.storage == NULL) return;
  free(document.storage->nodes);
  free(document.storage->text);
  free(document.storage);
}

struct cyaml_outcome cyaml_outcome(struct cyaml_document document) {
  if (document.storage == NULL) {
    return (struct cyaml_outcome){.problem = cyaml_problem_memory, .line = 1, .column = 1};
  }
  return document.storage->outcome;
}

struct cyaml_node cyaml_node(struct cyaml_document document, uint32_t index) {
  if (document.storage == NULL || index >= document.storage->node_count) abort();
  return document.storage->nodes[index];
}

uint32_t cyaml_text(struct cyaml_document document, uint32_t index, uint8_t *out,
                    uint32_t capacity) {
  struct cyaml_node node = cyaml_node(document, index);
  uint32_t length = node.text_length < capacity ? node.text_length : capacity;
  if (length > 0) memcpy(out, document.storage->text + node.text_offset, length);
  return length;
}

uint32_t cyaml_message(struct cyaml_document document, uint8_t *out, uint32_t capacity) {
  if (document.storage == NULL) return 0;
  uint32_t length = document.storage->message_length;
  if (length > capacity) length = capacity;
  memcpy(out, document.storage->message, length);
  return length;
}

// False leaves either an outcome of our own or parser->error.
static bool build(struct builder *builder, yaml_parser_t *parser) {
  bool done = false;
  while (!done) {
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event)) return false;
    bool good = take_event(builder, &event, &done);
    yaml_event_delete(&event);
    if (!good) return false;
  }
  return true;
}

static bool take_event(struct builder *builder, const yaml_event_t *event, bool *done) {
  switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
      return true;
    case YAML_STREAM_END_EVENT:
      *done = true;
      if (builder->storage->node_count > 0) return true;
      return refuse(builder, cyaml_problem_empty, (yaml_mark_t){0});
    case YAML_DOCUMENT_START_EVENT:
      if (builder->storage->node_count == 0) return true;
      return refuse(builder, cyaml_problem_second_document, event->start_mark);
    case YAML_ALIAS_EVENT:
      return refuse(builder, cyaml_problem_alias, event->start_mark);
    case YAML_SCALAR_EVENT:
      return add_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
      return open_container(builder, event, cyaml_kind_sequence);
    case YAML_MAPPING_START_EVENT:
      return open_container(builder, event, cyaml_kind_mapping);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
      builder->depth -= 1;
      return true;
  }
  abort();
}

// Makes room for `needed` items of `size` bytes by doubling; false when memory is out.
static bool grow(void **items, uint32_t *capacity, uint32_t needed, size_t size) {
  if (needed <= *capacity) return true;
  uint32_t larger = *capacity < 64 ? 64 : *capacity * 2;
  if (larger < needed) larger = needed;
  void *moved = realloc(*items, larger * size);
  if (moved == NULL) return false;
  *items = moved;
  *capacity = larger;
  return true;
}

static bool add_node(struct builder *builder, const yaml_event_t *event, enum cyaml_kind kind,
                     uint32_t *index) {
  struct cyaml_storage *storage = builder->storage;
  if (storage->node_count == cyaml_nodes_max) {
    return refuse(builder, cyaml_problem_too_many_nodes, event->start_mark);
  }
  struct open_node *parent = builder->depth > 0 ? &builder->open[builder->depth - 1] : NULL;
  bool in_mapping = parent != NULL && storage->nodes[parent->index].kind == cyaml_kind_mapping;
  if (in_mapping && parent->awaits_key && kind != cyaml_kind_scalar) {
    return refuse(builder, cyaml_problem_key, event->start_mark);
  }
  void *nodes = storage->nodes;
  if (!grow(&nodes, &storage->node_capacity, storage->node_count + 1, sizeof *storage->nodes)) {
    return refuse(builder, cyaml_problem_memory, event->start_mark);
  }
  storage->nodes = nodes;
  *index = storage->node_count++;
  storage->nodes[*index] = (struct cyaml_node){
      .line = (uint32_t)event->start_mark.line + 1,
      .column = (uint32_t)event->start_mark.column + 1,
      .kind = kind,
  };
  if (parent == NULL) return true;
  if (parent->last_child == 0) {
    storage->nodes[parent->index].first_child = *index;
  } else {
    storage->nodes[parent->last_child].next = *index;
  }
  parent->last_child = *index;
  parent->awaits_key = !parent->awaits_key;
  return true;
}

static bool add_scalar(struct builder *builder, const yaml_event_t *event) {
  if (event->data.scalar.anchor != NULL) {
    return refuse(builder, cyaml_problem_anchor, event->start_mark);
  }
  if (event->data.scalar.tag != NULL) {
    return refuse(builder, cyaml_problem_tag, event->start_mark);
  }
  uint32_t index;
  if (!add_node(builder, event, cyaml_kind_scalar, &index)) return false;
  struct cyaml_storage *storage = builder->storage;
  uint32_t length = (uint32_t)event->data.scalar.length;
  void *text = storage->text;
  if (!grow(&text, &storage->text_capacity, storage->text_length + length, 1)) {
    return refuse(builder, cyaml_problem_memory, event->start_mark);
  }
  storage->text = text;
  if (length > 0) memcpy(storage->text + storage->text_length, event->data.scalar.value, length);
  struct cyaml_node *node = &storage->nodes[index];
  node->text_offset = storage->text_length;
  node->text_length = length;
  node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  storage->text_length += length;
  return true;
}

static bool open_container(struct builder *builder, const yaml_event_t *event,
                           enum cyaml_kind kind) {
  bool is_mapping = kind == cyaml_kind_mapping;
  const yaml_char_t *anchor =
      is_mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
  const yaml_char_t *tag =
      is_mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag;
  if (anchor != NULL) return refuse(builder, cyaml_problem_anchor, event->start_mark);
  if (tag != NULL) return refuse(builder, cyaml_problem_tag, event->start_mark);
  if (builder->depth == cyaml_depth_max) {
    return refuse(builder, cyaml_problem_too_deep, event->start_mark);
  }
  uint32_t index;
  if (!add_node(builder, event, kind, &index)) return false;
  builder->open[builder->depth++] = (struct open_node){.index = index, .awaits_key = true};
  return true;
}

static bool refuse(struct builder *builder, enum cyaml_problem problem, yaml_mark_t mark) {
  builder->storage->outcome = (struct cyaml_outcome){
      .problem = problem,
      .line = (uint32_t)mark.line + 1,
      .column = (uint32_t)mark.column + 1,
  };
  return false;
}

static bool refuse_syntax(struct builder *builder, const yaml_parser_t *parser) {
  if (parser->error == YAML_MEMORY_ERROR) {
    return refuse(builder, cyaml_problem_memory, parser->mark);
  }
  refuse(builder, cyaml_problem_syntax, parser->problem_mark);
  if (parser->context != NULL) {
    builder->storage->outcome.context_line = (uint32_t)parser->context_mark.line + 1;
    builder->storage->outcome.context_column = (uint32_t)parser->context_mark.column + 1;
  }
  keep_message(builder->storage, parser->context, parser->problem);
  return false;
}

// The reader knows only a byte offset, so the mark is counted here.
static bool refuse_encoding(struct builder *builder, const yaml_parser_t *parser,
                            const uint8_t *text, uint32_t length) {
  yaml_mark_t mark = {0};
  for (uint32_t i = 0; i < length && i < parser->problem_offset; i += 1) {
    if (text[i] == '\n') {
      mark.line += 1;
      mark.column = 0;
    } else if ((text[i] & 0xc0) != 0x80) {
      mark.column += 1;
    }
  }
  refuse(builder, cyaml_problem_encoding, mark);
  keep_message(builder->storage, NULL, parser->problem);
  return false;
}

static void keep_message(struct cyaml_storage *storage, const char *context, const char *problem) {
  const char *parts[] = {problem != NULL ? problem : "not YAML", context != NULL ? " " : NULL,
                         context};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i += 1) {
    if (parts[i] == NULL) continue;
    size_t length = strlen(parts[i]);
    size_t room = cyaml_message_max - storage->message_length;
    if (length > room) length = room;
    memcpy(storage->message + storage->message_length, parts[i], length);
    storage->message_length += (uint32_t)length;
  }
}
