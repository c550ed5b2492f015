// SPDX-License-Identifier: Apache-2.0
// Listens to yaml-cpp's parser instead of reading its node tree: the limits then hold while the text is parsed, every
// value knows its line, and an alias is ours to expand.
#include "agent/k8s/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <optional>
#include <spanstream>
#include <utility>

#include "agent/k8s/field.h"
#include "agent/k8s/json_text.h"
#include "agent/k8s/yaml_scalar.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

// yaml-cpp throws on what it refuses; so does the builder, to leave the parser at once. parse_yaml catches both.
struct Refusal {
  YamlError error;
};

[[noreturn]] void refuse(const YAML::Mark& mark, std::string cause) {
  throw Refusal{{mark.line + 1, std::move(cause)}};
}

// What a value costs, everything below it included.
struct Cost {
  std::size_t values = 0;
  std::size_t bytes = 0;
  std::size_t depth = 0;
};

struct Anchored {
  json::value value;
  Cost cost;
};

// A mapping or list that is not closed yet.
struct Open {
  json::value value;
  YAML::Mark mark;
  YAML::anchor_t anchor = 0;
  Cost cost;                         // of what is in it already; depth: of the deepest
  std::optional<std::string> key;    // of the mapping's member that comes next
  bool is_key = false;               // it stands where a mapping's key is due
  std::optional<YAML::Mark> no_key;  // where a key was due and nothing stood
};

// Where the lines of a text are. yaml-cpp takes whatever follows a finished document for the next one; in YAML, and in
// the mind of who forgot to indent a line, "---" or "..." stands between them.
class Lines {
 public:
  explicit Lines(std::string_view text) {
    for (;;) {
      const auto end = text.find('\n');
      lines_.push_back(text.substr(0, end));
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 1);
    }
  }

  [[nodiscard]] int count() const {
    return static_cast<int>(lines_.size()) - (lines_.size() > 1 && lines_.back().empty() ? 1 : 0);
  }

  [[nodiscard]] bool starts_document(const YAML::Mark& mark) const {
    auto at = static_cast<std::size_t>(mark.line);
    if (at >= lines_.size()) return true;
    if (mark.column == 0 && lines_[at].starts_with("---")) return true;
    while (at > 0 && is_blank(lines_[at - 1])) --at;
    return at > 0 && lines_[at - 1].starts_with("...");
  }

 private:
  static bool is_blank(std::string_view line) {
    const auto first = line.find_first_not_of(" \t\r");
    return first == std::string_view::npos || line[first] == '#';
  }

  std::vector<std::string_view> lines_;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  std::vector<YamlDocument> documents;

  explicit TreeBuilder(const Lines& lines) : lines_(lines) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (!documents.empty() && !lines_.starts_document(mark)) {
      refuse(mark, "more text after the end of the document: wrong indentation, or --- is missing");
    }
    anchors_.clear();
    documents.push_back({nullptr, mark.line + 1});
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add_scalar(mark, anchor, nullptr, "null"); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    add_scalar(mark, anchor, to_value(mark, tag, text), text, /*plain=*/tag == "?");
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "an alias inside what it stands for");
    if (expects_key()) refuse(mark, "an alias as a key is not supported");
    spend(mark, found->second.cost);
    add(found->second.value, found->second.cost);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, "tag:yaml.org,2002:seq", anchor, json::array());
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, "tag:yaml.org,2002:map", anchor, json::object());
  }
  void OnMapEnd() override { close(); }

 private:
  // yaml-cpp: "?" is a plain scalar, "!" a quoted one, "" has no say.
  static json::value to_value(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
    if (tag == "?") return resolve_plain_scalar(text);
    if (tag.empty() || tag == "!" || tag == "tag:yaml.org,2002:str") return json::string(text);
    refuse(mark, "tag " + show(tag) + ": not supported");
  }

  [[nodiscard]] bool expects_key() const {
    return !open_.empty() && open_.back().value.is_object() && !open_.back().key.has_value();
  }

  void spend(const YAML::Mark& mark, const Cost& cost) {
    spent_.values += cost.values;
    spent_.bytes += cost.bytes;
    if (spent_.values > kYamlMaxValues)
      refuse(mark, "more than " + std::to_string(kYamlMaxValues) + " values: split the file");
    if (spent_.bytes > kYamlMaxExpandedBytes) refuse(mark, "aliases that expand to more than 64 MiB");
    if (open_.size() + cost.depth > kYamlMaxDepth) {
      refuse(mark, "nested more than " + std::to_string(kYamlMaxDepth) + " deep");
    }
  }

  void add_scalar(const YAML::Mark& mark, YAML::anchor_t anchor, json::value value, const std::string& text,
                  bool plain = true) {
    const Cost cost{.values = 1, .bytes = text.size(), .depth = 1};
    spend(mark, cost);
    remember(mark, anchor, value, cost);
    if (open_.empty()) documents.back().line = mark.line + 1;
    if (expects_key()) return set_key(mark, value, text, plain);
    add(std::move(value), cost);
  }

  void set_key(const YAML::Mark& mark, const json::value& value, const std::string& text, bool plain) {
    auto& parent = open_.back();
    if (value.is_null() && !parent.no_key) parent.no_key = mark;
    if (plain && text == "<<") refuse(mark, "merge keys (<<) are not supported: write the fields out");
    if (!parent.no_key && parent.value.get_object().contains(text)) refuse(mark, "duplicate key " + show(text));
    parent.key = text;
    parent.cost.values += 1;
    parent.cost.bytes += text.size();
  }

  void open(const YAML::Mark& mark, const std::string& tag, std::string_view usual_tag, YAML::anchor_t anchor,
            json::value value) {
    if (open_.empty()) documents.back().line = mark.line + 1;
    if (!tag.empty() && tag != "?" && tag != "!" && tag != usual_tag)
      refuse(mark, "tag " + show(tag) + ": not supported");
    spend(mark, {.values = 1, .bytes = 0, .depth = 1});
    const bool is_key = expects_key();
    open_.push_back(
        {std::move(value), mark, anchor, {.values = 1, .bytes = 0, .depth = 0}, std::nullopt, is_key, std::nullopt});
  }

  void close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    // Not before: to yaml-cpp a text that lacks a bracket looks like a key, and its own message says what is wrong.
    if (closed.is_key) refuse(closed.mark, "a key must be a string");
    if (closed.no_key) refuse(*closed.no_key, "a key is missing");
    closed.cost.depth += 1;
    remember(closed.mark, closed.anchor, closed.value, closed.cost);
    add(std::move(closed.value), closed.cost);
  }

  // The copy for aliases to come is paid for too: anchors inside anchors would else hold a text's square.
  void remember(const YAML::Mark& mark, YAML::anchor_t anchor, const json::value& value, const Cost& cost) {
    if (anchor == 0) return;
    spend(mark, cost);
    anchors_[anchor] = {value, cost};
  }

  void add(json::value value, const Cost& cost) {
    if (open_.empty()) {
      documents.back().value = std::move(value);
      return;
    }
    auto& parent = open_.back();
    parent.cost.values += cost.values;
    parent.cost.bytes += cost.bytes;
    parent.cost.depth = std::max(parent.cost.depth, cost.depth);
    if (auto* list = parent.value.if_array()) {
      list->push_back(std::move(value));
    } else {
      parent.value.get_object().emplace(*parent.key, std::move(value));
      parent.key.reset();
    }
  }

  const Lines& lines_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  Cost spent_;
};

// Length of the UTF-8 sequence at the start of `text`; 0: it is none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// yaml-cpp takes the byte 0x04 for the end of its input and invalid UTF-8 as it comes, so both are refused before it
// sees them: a text must never be cut short in silence. YAML forbids the other control characters too.
std::optional<YamlError> check_characters(std::string_view text) {
  int line = 1;
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    if (c == '\n') ++line;
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
      return YamlError{line, "control character " + std::to_string(c)};
    }
    const auto length = utf8_length(text);
    if (length == 0) return YamlError{line, "not UTF-8"};
    text.remove_prefix(length);
  }
  return std::nullopt;
}

}  // namespace

std::expected<std::vector<YamlDocument>, YamlError> parse_yaml(std::string_view text) {
  if (auto error = check_characters(text)) return std::unexpected(std::move(*error));
  if (auto documents = parse_json_text(text)) return std::move(*documents);
  const Lines lines(text);
  try {
    // To yaml-cpp the end of the text ends a quoted scalar too; a document's end inside one is an error to it.
    const std::string closed = std::string(text) + "\n...\n";
    std::ispanstream stream(closed);
    YAML::Parser parser(stream);
    TreeBuilder builder(lines);
    while (parser.HandleNextDocument(builder)) {
    }
    std::erase_if(builder.documents, [](const YamlDocument& document) { return document.value.is_null(); });
    return std::move(builder.documents);
  } catch (const Refusal& refusal) {
    return std::unexpected(YamlError{std::min(refusal.error.line, lines.count()), refusal.error.cause});
  } catch (const YAML::Exception& exception) {
    return std::unexpected(YamlError{std::min(exception.mark.line + 1, lines.count()), exception.msg});
  }
}

}  // namespace underpass::k8s
