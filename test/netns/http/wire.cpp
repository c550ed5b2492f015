// SPDX-License-Identifier: Apache-2.0
#include "test/netns/http/wire.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// Of one connection (RFC 9110 §7.6.1), framing, or what a proxy adds.
constexpr std::array kNotHandedOn{"connection", "keep-alive",   "transfer-encoding", "content-length", "via",
                                  "te",         "x-request-id", "traceparent",       "date",           "server"};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

[[noreturn]] void refuse(const std::string& what, const std::string& found) {
  throw std::runtime_error(what + ": \"" + found.substr(0, 300) + "\"");
}

std::size_t number_in(const std::string& text, int base) {
  std::size_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) refuse("no number", text);
  return out;
}

std::string text_of(Fields fields) {
  std::erase_if(fields, [](const auto& field) {
    return std::ranges::find(kNotHandedOn, field.first) != kNotHandedOn.end() || field.first.starts_with("x-b3-");
  });
  const std::multimap<std::string, std::string> by_name(fields.begin(),
                                                        fields.end());  // in order where names are equal
  std::string out;
  for (const auto& [name, value] : by_name) out += name + ": " + value + "\n";
  return out;
}

}  // namespace

std::string Message::target() const {
  const auto begin = start.find(' ') + 1;
  return start.substr(begin, start.rfind(' ') - begin);
}

unsigned Message::status() const { return static_cast<unsigned>(number_in(start.substr(9, 3), 10)); }

bool Message::has(std::string_view name) const {
  return std::ranges::any_of(fields, [&](const auto& field) { return field.first == name; });
}

std::string Message::field(std::string_view name) const {
  const auto first = std::ranges::find(fields, name, &Fields::value_type::first);
  if (first == fields.end()) return {};
  if (std::ranges::count(fields, name, &Fields::value_type::first) > 1)
    refuse("several fields of a name", first->first);
  return first->second;
}

std::string essence_of(const Message& message) {
  const bool is_answer = message.start.starts_with("HTTP/");
  const std::string start = is_answer ? std::to_string(message.status()) : message.method() + " " + message.target();
  return start + "\n" + text_of(message.fields) + "\n" + message.body + "\n" + text_of(message.trailers);
}

bool Wire::try_send(const std::string& bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    done += static_cast<std::size_t>(sent);
  }
  return true;
}

void Wire::shut_write() const {
  if (::shutdown(fd_.get(), SHUT_WR) != 0) throw_errno("shutdown");
}

// The descriptor lives on, as another thread may be about to shut it down.
void Wire::close() {
  if (fd_) (void)::shutdown(fd_.get(), SHUT_RDWR);
}

void Wire::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) throw_errno("SO_LINGER");
  fd_.reset();
}

bool Wire::more() {
  std::array<char, 65536> bytes;
  if (!readable(fd_.get(), kPatience)) refuse("nothing more came after", buffer_);
  const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) throw_errno("recv after \"" + buffer_.substr(0, 300) + "\"");
  buffer_.append(bytes.data(), static_cast<std::size_t>(got));
  return got > 0;
}

std::string Wire::read_line() {
  std::size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos)
    if (!more()) refuse("the stream ended in a line", buffer_);
  if (end == 0 || buffer_[end - 1] != '\r') refuse("a line feed alone", buffer_);
  std::string line = buffer_.substr(0, end - 1);
  buffer_.erase(0, end + 1);
  if (line.contains('\r') || line.contains('\0')) refuse("CR or NUL in a line", line);
  return line;
}

void Wire::read_fields(Fields& fields) {
  for (std::string line = read_line(); !line.empty(); line = read_line()) {
    const auto colon = line.find(':');
    if (colon == 0 || colon == std::string::npos || line.substr(0, colon).find_first_of(" \t") != std::string::npos)
      refuse("no field", line);
    const auto begin = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    const auto end = line.find_last_not_of(" \t") + 1;
    fields.emplace_back(lower(line.substr(0, colon)), begin < end ? line.substr(begin, end - begin) : "");
  }
}

std::string Wire::read(std::size_t count) {
  while (buffer_.size() < count)
    if (!more()) refuse("the stream ended too early", buffer_);
  std::string out = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return out;
}

void Wire::read_chunks(Message& message) {
  for (;;) {
    const std::string line = read_line();
    const std::size_t size = number_in(line.substr(0, line.find(';')), 16);
    if (size == 0) break;
    message.body += read(size);
    if (read(2) != "\r\n") refuse("no end of a chunk", buffer_);
  }
  read_fields(message.trailers);
}

void Wire::read_body(Message& message, bool to_the_end) {
  const std::string coding = message.field("transfer-encoding");
  const std::string length = message.field("content-length");
  if (!coding.empty() && (lower(coding) != "chunked" || !length.empty())) refuse("ambiguous framing", coding + length);
  if (!coding.empty()) return read_chunks(message);
  if (!length.empty()) {
    message.body = read(number_in(length, 10));
  } else if (to_the_end) {
    while (more()) {
    }
    message.body = std::exchange(buffer_, {});
  }
}

std::optional<Message> Wire::read_request() {
  if (buffer_.empty() && !more()) return std::nullopt;
  Message out{.start = read_line(), .fields = {}, .body = {}, .trailers = {}};
  if (std::ranges::count(out.start, ' ') != 2 || !out.start.contains(" HTTP/1.")) refuse("no request line", out.start);
  read_fields(out.fields);
  read_body(out, false);
  return out;
}

std::string Wire::read_head() {
  while (!buffer_.contains("\r\n\r\n"))
    if (!more()) refuse("the stream ended in a head", buffer_);
  return read(buffer_.find("\r\n\r\n") + 4);
}

Message Wire::read_answer(std::string_view method) {
  Message out{.start = read_line(), .fields = {}, .body = {}, .trailers = {}};
  if (!out.start.starts_with("HTTP/1.") || out.start.size() < 12) refuse("no status line", out.start);
  read_fields(out.fields);
  const unsigned status = out.status();
  const bool is_tunnel = status == 101 || (method == "CONNECT" && status / 100 == 2);
  if (status >= 200 && status != 204 && status != 304 && method != "HEAD" && !is_tunnel) read_body(out, true);
  return out;
}

bool Wire::ended(milliseconds deadline) {
  char byte = 0;
  return buffer_.empty() && readable(fd_.get(), deadline) && ::recv(fd_.get(), &byte, 1, 0) == 0;
}

bool Wire::was_reset(milliseconds deadline) {
  std::array<char, 65536> bytes;
  int error = 0;
  const bool is_over = eventually(deadline, [&] {
    if (!readable(fd_.get(), milliseconds(0))) return false;
    const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);  // some may come before it
    if (got < 0) error = errno;
    return got <= 0;
  });
  return is_over && error == ECONNRESET;
}

}  // namespace underpass::test
