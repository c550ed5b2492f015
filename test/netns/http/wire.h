// SPDX-License-Identifier: Apache-2.0
// HTTP/1 as bytes on a socket, from either end: what is sent is sent as it is, what comes is read strictly (RFC 9112)
// and kept apart into messages. It shares no code with what it tests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/support/sockets.h"

namespace underpass::test {

struct Message {
  std::string start;                                        // request line or status line, without its end
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
  std::string body;
  std::vector<std::pair<std::string, std::string>> trailers;

  [[nodiscard]] std::string method() const { return start.substr(0, start.find(' ')); }
  [[nodiscard]] std::string target() const;
  [[nodiscard]] unsigned status() const;
  // Its only value; empty: none. Throws where there are several.
  [[nodiscard]] std::string field(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
};

// What a proxy must hand on of a message: everything but what belongs to one connection, and what it may add.
std::string essence_of(const Message& message);

class Wire {
 public:
  explicit Wire(UniqueFd fd) : fd_(std::move(fd)) {}
  Wire(const Place& client, const Place& server, std::uint16_t port, int family = AF_INET)
      : fd_(connect_from(client, Address::of(server.ip(family), port))) {}

  void send(const std::string& bytes) { send_all(fd_.get(), bytes); }
  // False: the other end is gone.
  [[nodiscard]] bool try_send(const std::string& bytes) const;
  void shut_write() const;
  void reset();  // closes by RST
  void close();  // in good order

  // Throw with what came, where it is not what HTTP allows or comes too late.
  std::optional<Message> read_request();                 // none: the stream ended before one began
  std::string read_head();                               // with the empty line
  Message read_answer(std::string_view method = "GET");  // an interim one too
  // Bytes of a tunnel or of another protocol.
  std::string read(std::size_t count);
  // The stream has ended in good order, and nothing came before its end; or by RST.
  [[nodiscard]] bool ended(milliseconds deadline = kPatience);
  [[nodiscard]] bool was_reset(milliseconds deadline = kPatience);
  [[nodiscard]] bool has_bytes(milliseconds deadline) { return !buffer_.empty() || readable(fd_.get(), deadline); }

  [[nodiscard]] int fd() const { return fd_.get(); }

  static constexpr seconds kPatience{10};

 private:
  bool more();  // false: the end of the stream
  std::string read_line();
  void read_fields(std::vector<std::pair<std::string, std::string>>& fields);
  void read_chunks(Message& message);
  void read_body(Message& message, bool to_the_end);

  UniqueFd fd_;
  std::string buffer_;
};

}  // namespace underpass::test
