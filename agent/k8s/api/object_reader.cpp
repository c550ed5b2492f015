// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/object_reader.h"

#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value_stack.hpp>
#include <limits>
#include <optional>
#include <utility>

namespace underpass::k8s {
namespace json = boost::json;
using json::error_code;
using View = json::string_view;

namespace {

constexpr std::size_t kParserDepth = 512;                // the parser recurses; past it all fails
constexpr std::size_t kMaxWord = std::size_t{16} << 10;  // of a text that is looked at here: a name, a continue token
constexpr std::size_t kValueBytes = 16;

// A text that may come in parts. Past the bound it is nothing.
class Word {
 public:
  void add(View part) {
    if (text_.size() + part.size() > kMaxWord) too_long_ = true;
    if (!too_long_) text_.append(part.data(), part.size());
  }
  std::string take() {
    auto text = std::exchange(text_, {});
    return std::exchange(too_long_, false) ? std::string() : text;
  }

 private:
  std::string text_;
  bool too_long_ = false;
};

// Builds one object of the stream from the parser's events, within the limits, and notes its metadata.
class Collector {
 public:
  explicit Collector(ReaderLimits limits) : limits_(limits) {}

  [[nodiscard]] bool active() const { return active_; }

  void start() {
    active_ = true;
    depth_ = 0;
    cost_ = 0;
    received_ = {};
    stack_.reset(json::make_shared_resource<json::monotonic_resource>());
  }

  // True when the object is complete.
  bool close(std::size_t members, bool object) {
    if (keeps()) object ? stack_.push_object(members) : stack_.push_array(members);
    return --depth_ == 0;
  }

  void open() {
    pay(kValueBytes);
    if (++depth_ > limits_.depth) refuse("nested deeper than " + std::to_string(limits_.depth));
    if (depth_ <= keys_.size()) keys_[depth_ - 1].clear();
  }

  void key(View text, bool last) {
    pay(text.size());
    if (keeps()) last ? stack_.push_key(text) : stack_.push_chars(text);
    if (depth_ > 2) return;
    word_.add(text);
    if (last) keys_[depth_ - 1] = word_.take();
  }

  void string(View text, bool last) {
    pay(text.size() + (last ? kValueBytes : 0));
    if (keeps()) last ? stack_.push_string(text) : stack_.push_chars(text);
    if (!in_metadata()) return;
    word_.add(text);
    if (last) note(word_.take());
  }

  template <typename Push>
  void scalar(const Push& push) {
    pay(kValueBytes);
    if (keeps()) push(stack_);
  }

  Received take() {
    active_ = false;
    if (keeps()) received_.object = stack_.release();
    stack_.reset();
    return std::move(received_);
  }

 private:
  [[nodiscard]] bool keeps() const { return received_.refused.empty(); }
  [[nodiscard]] bool in_metadata() const { return depth_ == 2 && keys_[0] == "metadata"; }

  void pay(std::size_t bytes) {
    cost_ += bytes;
    if (cost_ > limits_.object_bytes) refuse("larger than " + std::to_string(limits_.object_bytes) + " bytes");
  }

  void refuse(std::string cause) {
    if (!keeps()) return;
    received_.refused = std::move(cause);
    stack_.reset();
  }

  void note(std::string text) {
    if (!in_metadata()) return;
    const auto& key = keys_[1];
    if (key == "name") text.swap(received_.name);
    if (key == "namespace") text.swap(received_.ns);
    if (key == "uid") text.swap(received_.uid);
    if (key == "resourceVersion") text.swap(received_.resource_version);
    if (key == "deletionTimestamp") received_.deleting = true;
  }

  ReaderLimits limits_;
  json::value_stack stack_;
  Received received_;
  bool active_ = false;
  std::size_t depth_ = 0;  // containers that are open; 1: among the object's own members
  std::size_t cost_ = 0;
  std::array<std::string, 2> keys_;  // of the object, and of its member
  Word word_;
};

// What the parser calls. Of what is around the objects, the first two levels' texts are noted.
struct Handler {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = max_object_size;
  static constexpr std::size_t max_key_size = max_object_size;
  static constexpr std::size_t max_string_size = max_object_size;

  Handler(bool list, ReaderLimits limits) : is_list(list), collector(limits) {}

  bool on_document_begin(error_code& /*error*/) { return true; }
  bool on_document_end(error_code& /*error*/) { return true; }

  bool on_object_begin(error_code& error) {
    if (!collector.active() && starts_object()) collector.start();
    if (collector.active()) {
      collector.open();
      return true;
    }
    return open(error);
  }

  bool on_object_end(std::size_t members, error_code& /*error*/) {
    if (!collector.active()) return close();
    if (collector.close(members, /*object=*/true)) on_object(collector.take());
    return true;
  }

  bool on_array_begin(error_code& error) {
    if (collector.active()) {
      collector.open();
      return true;
    }
    if (is_list && depth == 1 && keys[0] == "items") has_items = in_items = true;
    return open(error);
  }

  bool on_array_end(std::size_t members, error_code& /*error*/) {
    if (!collector.active()) return close();
    collector.close(members, /*object=*/false);
    return true;
  }

  bool on_key_part(View text, std::size_t /*size*/, error_code& /*error*/) { return key(text, false); }
  bool on_key(View text, std::size_t /*size*/, error_code& /*error*/) { return key(text, true); }
  bool on_string_part(View text, std::size_t /*size*/, error_code& error) { return string(text, false, error); }
  bool on_string(View text, std::size_t /*size*/, error_code& error) { return string(text, true, error); }
  bool on_number_part(View /*text*/, error_code& /*error*/) { return true; }
  bool on_int64(std::int64_t number, View /*text*/, error_code& error) {
    if (!collector.active() && depth == 2 && keys[0] == "metadata" && keys[1] == "remainingItemCount") {
      remaining = number;
    }
    return scalar(error, [&](json::value_stack& stack) { stack.push_int64(number); });
  }
  bool on_uint64(std::uint64_t number, View /*text*/, error_code& error) {
    return scalar(error, [&](json::value_stack& stack) { stack.push_uint64(number); });
  }
  bool on_double(double number, View /*text*/, error_code& error) {
    return scalar(error, [&](json::value_stack& stack) { stack.push_double(number); });
  }
  bool on_bool(bool truth, error_code& error) {
    return scalar(error, [&](json::value_stack& stack) { stack.push_bool(truth); });
  }
  bool on_null(error_code& error) {
    // Go writes an empty list so, too.
    if (is_list && !collector.active() && depth == 1 && keys[0] == "items") has_items = true;
    return scalar(error, [](json::value_stack& stack) { stack.push_null(); });
  }
  bool on_comment_part(View /*text*/, error_code& /*error*/) { return true; }
  bool on_comment(View /*text*/, error_code& /*error*/) { return true; }

  [[nodiscard]] bool starts_object() const {
    return is_list ? in_items && depth == 2 : depth == 1 && keys[0] == "object";
  }

  bool open(error_code& error) {
    ++depth;
    if (depth <= keys.size()) keys[depth - 1].clear();
    if (in_items && depth > 2) return odd(error);
    return true;
  }

  bool close() {
    if (--depth == 1) in_items = false;
    if (depth == 0 && on_end) on_end();
    return true;
  }

  bool key(View text, bool last) {
    if (collector.active()) {
      collector.key(text, last);
    } else if (depth <= keys.size()) {
      word.add(text);
      if (last) keys[depth - 1] = word.take();
    }
    return true;
  }

  bool string(View text, bool last, error_code& error) {
    if (collector.active()) {
      collector.string(text, last);
      return true;
    }
    if (stray()) return odd(error);
    if (depth > keys.size()) return true;
    word.add(text);
    if (!last) return true;
    auto said = word.take();
    if (depth == 1) said.swap(texts[keys[0]]);
    if (depth == 2 && keys[0] == "metadata") said.swap(metadata[keys[1]]);
    return true;
  }

  template <typename Push>
  bool scalar(error_code& error, const Push& push) {
    if (collector.active()) {
      collector.scalar(push);
      return true;
    }
    return stray() ? odd(error) : true;
  }

  // A value that cannot stand here: the whole is no object, or one of the items is none.
  [[nodiscard]] bool stray() const { return depth == 0 || (in_items && depth == 2); }
  bool odd(error_code& error) {
    is_odd = true;
    error = json::make_error_code(json::error::syntax);
    return false;
  }

  // What stands around the objects, by key; only few are kept.
  struct Texts {
    std::string& operator[](const std::string& key) {
      for (std::size_t i = 0; i < kKept.size(); ++i) {
        if (kKept[i] == key) return values[i];
      }
      return other;
    }
    static constexpr std::array<std::string_view, 5> kKept{"kind", "apiVersion", "resourceVersion", "continue", "type"};
    std::array<std::string, kKept.size()> values;
    std::string other;
  };

  bool is_list;
  Collector collector;
  std::function<void(Received&&)> on_object;
  std::function<void()> on_end;  // of the outermost object
  std::size_t depth = 0;         // around the objects
  std::array<std::string, 2> keys;
  Word word;
  Texts texts;
  Texts metadata;
  std::int64_t remaining = 0;
  bool in_items = false;
  bool has_items = false;
  bool is_odd = false;
};

json::parse_options options() {
  json::parse_options options;
  options.max_depth = kParserDepth;
  return options;
}

std::unexpected<Error> bad_json(const Handler& handler, const error_code& error) {
  return fail(handler.is_odd ? "not a list of objects" : "not JSON: " + error.message());
}

}  // namespace

struct ListReader::State {
  State(OnObject on_object, ReaderLimits limits) : parser(options(), true, limits) {
    parser.handler().on_object = std::move(on_object);
  }
  json::basic_parser<Handler> parser;
};

ListReader::ListReader(OnObject on_object, ReaderLimits limits)
    : state_(std::make_unique<State>(std::move(on_object), limits)) {}
ListReader::~ListReader() = default;

Result<void> ListReader::feed(std::string_view piece) {
  auto& parser = state_->parser;
  error_code error;
  const auto taken = parser.write_some(true, piece.data(), piece.size(), error);
  if (error) return bad_json(parser.handler(), error);
  if (taken < piece.size()) return fail("not JSON: something comes after the list");
  return {};
}

Result<ListEnvelope> ListReader::finish() {
  auto& parser = state_->parser;
  auto& handler = parser.handler();
  error_code error;
  if (!parser.done()) parser.write_some(false, nullptr, 0, error);
  if (error) return bad_json(handler, error);
  ListEnvelope envelope{.kind = handler.texts["kind"],
                        .api_version = handler.texts["apiVersion"],
                        .resource_version = handler.metadata["resourceVersion"],
                        .continue_token = handler.metadata["continue"],
                        .remaining = handler.remaining};
  if (!handler.has_items) return fail("not a list: it has no items");
  if (!envelope.kind.ends_with("List")) return fail("not a list: it is of kind \"" + envelope.kind + "\"");
  if (envelope.resource_version.empty()) return fail("not a list: it has no resourceVersion");
  return envelope;
}

struct WatchReader::State {
  State(OnEvent made, ReaderLimits limits) : parser(options(), false, limits), on_event(std::move(made)) {
    parser.handler().on_object = [this](Received&& received) { object = std::move(received); };
    parser.handler().on_end = [this] { end(); };
  }

  void end() {
    auto& type = parser.handler().texts["type"];
    if (!object || type.empty()) {
      is_event = false;
      return;
    }
    on_event(std::exchange(type, {}), *std::exchange(object, std::nullopt));
  }

  json::basic_parser<Handler> parser;
  OnEvent on_event;
  std::optional<Received> object;
  bool is_event = true;
};

WatchReader::WatchReader(OnEvent on_event, ReaderLimits limits)
    : state_(std::make_unique<State>(std::move(on_event), limits)) {}
WatchReader::~WatchReader() = default;

Result<void> WatchReader::feed(std::string_view piece) {
  auto& parser = state_->parser;
  while (!piece.empty()) {
    error_code error;
    const auto taken = parser.write_some(true, piece.data(), piece.size(), error);
    if (error) return parser.handler().is_odd ? fail("not an event") : bad_json(parser.handler(), error);
    if (!state_->is_event) return fail("not an event: type or object is missing");
    piece.remove_prefix(taken);
    // The next value begins: the parser does not cross to it by itself.
    if (!piece.empty()) parser.reset();
  }
  return {};
}

}  // namespace underpass::k8s
