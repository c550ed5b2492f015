// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/http_reader.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <cctype>
#include <charconv>
#include <limits>

namespace underpass::k8s {
namespace http = boost::beast::http;
using boost::beast::error_code;
using View = boost::beast::string_view;

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string media_type(std::string_view value) {
  value = value.substr(0, value.find(';'));
  while (value.ends_with(' ')) value.remove_suffix(1);
  return lower(value);
}

std::optional<std::chrono::seconds> seconds_of(std::string_view value) {
  std::uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (value.empty() || end != value.data() + value.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) seconds = std::numeric_limits<std::uint32_t>::max();
  return std::chrono::seconds(seconds);
}

}  // namespace

class HttpReader::Parser : public http::basic_parser<false> {
 public:
  Parser() {
    eager(true);
    header_limit(kMaxHeaderBytes);
    body_limit(boost::none);  // whoever reads it counts
  }

  HttpHead head;
  std::string body;
  bool old = false;  // HTTP/1.0
  bool unknown_encoding = false;

 private:
  void on_request_impl(http::verb /*verb*/, View /*method*/, View /*target*/, int /*version*/,
                       error_code& /*error*/) override {}
  void on_response_impl(int code, View reason, int version, error_code& /*error*/) override {
    head.status = static_cast<unsigned>(code);
    head.status_text.assign(reason.data(), reason.size());
    old = version < 11;
  }
  void on_field_impl(http::field name, View /*text*/, View value, error_code& /*error*/) override {
    const std::string_view text(value.data(), value.size());
    if (name == http::field::content_type) head.content_type = media_type(text);
    if (name == http::field::location) head.location = text;
    if (name == http::field::retry_after) head.retry_after = seconds_of(text);
    if (name == http::field::content_encoding) {
      head.gzip = lower(text) == "gzip";
      unknown_encoding = !head.gzip && lower(text) != "identity";
    }
  }
  void on_header_impl(error_code& /*error*/) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& /*length*/, error_code& /*error*/) override {}
  std::size_t on_body_impl(View piece, error_code& /*error*/) override {
    body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t /*size*/, View /*extensions*/, error_code& /*error*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*remain*/, View piece, error_code& /*error*/) override {
    body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_finish_impl(error_code& /*error*/) override {}
};

HttpReader::HttpReader(bool takes_http10) : takes_http10_(takes_http10), parser_(std::make_unique<Parser>()) {}
HttpReader::~HttpReader() = default;

bool HttpReader::begun() const { return begun_; }
bool HttpReader::head_done() const { return parser_->is_header_done(); }
bool HttpReader::done() const { return parser_->is_done(); }
bool HttpReader::keep_alive() const { return parser_->is_done() && parser_->keep_alive() && pending_.empty(); }
const HttpHead& HttpReader::head() const { return parser_->head; }
std::string& HttpReader::body() { return parser_->body; }

Result<void> HttpReader::feed(std::string_view bytes) {
  begun_ |= !bytes.empty();
  pending_.append(bytes);
  return parse();
}

Result<void> HttpReader::parse() {
  std::size_t taken = 0;
  error_code error;
  while (taken < pending_.size() && !parser_->is_done()) {
    const auto count = parser_->put(boost::asio::buffer(pending_.data() + taken, pending_.size() - taken), error);
    taken += count;
    if (error || count == 0) break;
  }
  pending_.erase(0, taken);
  if (error == http::error::need_more) error = {};
  const bool too_old = parser_->old && !takes_http10_;
  if (parser_->is_header_done() && (too_old || parser_->unknown_encoding)) {
    parser_->body.clear();
    return fail(too_old ? "answers HTTP/1.0: not an API server" : "answers in an encoding that was not asked for");
  }
  if (error) return fail("not an HTTP answer: " + error.message());
  return {};
}

Result<void> HttpReader::end() {
  error_code error;
  if (begun_) parser_->put_eof(error);
  if (!begun_ || error) return fail("the connection was closed in the middle of an answer");
  return {};
}

}  // namespace underpass::k8s
