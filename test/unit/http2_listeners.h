// SPDX-License-Identifier: Apache-2.0
// What the ends of an HTTP/2 connection are told, written down, and a server codec and a client codec whose bytes go to
// each other. Nothing in between: no socket, no clock but the test's.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "userspace_proxy/http2/codecs.h"

namespace underpass::test {

using http::StreamId;

// The same bytes each time, that look like no text.
inline std::string noise(std::size_t size) {
  std::mt19937 random(7);
  std::string text(size, '\0');
  for (auto& byte : text) byte = static_cast<char>(random());
  return text;
}

inline http::Fields fields(std::initializer_list<http::Field> list) {
  http::Fields all;
  for (const auto& field : list) all.add(field.name, field.value);
  return all;
}

inline std::string to_text(const http::Fields& fields) {
  std::string text = "[";
  for (std::size_t i = 0; i < fields.size(); ++i)
    text += (i > 0 ? ", " : "") + std::string(fields.at(i).name) + "=" + std::string(fields.at(i).value);
  return text + "]";
}

inline std::string_view to_text(http::Fault fault) {
  using enum http::Fault;
  switch (fault) {
    case kNone:
      return "none";
    case kBadRequest:
      return "bad request";
    case kTargetTooLong:
      return "target too long";
    case kHeadTooLarge:
      return "head too large";
    case kBadResponse:
      return "bad response";
    case kFlood:
      return "flood";
    case kEndedEarly:
      return "ended early";
    case kRefused:
      return "refused";
    case kCancelled:
      return "cancelled";
    default:
      return "another fault";
  }
}

inline std::string to_text(const http::Request& request) {
  std::string text = request.method + " " + request.scheme + " " + request.authority + " " + request.path;
  if (!request.protocol.empty()) text += " protocol=" + request.protocol;
  if (request.content_length) text += " length=" + std::to_string(*request.content_length);
  if (request.has_body) text += " body";
  if (request.expects_continue) text += " continue";
  return text + " " + to_text(request.fields);
}

inline std::string to_text(const http::Response& response) {
  std::string text = std::to_string(response.status);
  if (response.content_length) text += " length=" + std::to_string(*response.content_length);
  if (response.has_body) text += " body";
  return text + " " + to_text(response.fields);
}

template <typename Events>
class Listener : public Events {
 public:
  http::Codec* codec = nullptr;
  bool consumes = true;
  std::vector<std::string> lines;
  std::map<StreamId, std::string> bodies;
  std::function<void(StreamId)> when_whole;  // the peer's message
  std::function<void(StreamId)> when_writable;

  Listener() = default;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  virtual ~Listener() = default;
  void on_data(StreamId stream, std::string_view bytes) override {
    bodies[stream] += bytes;
    if (consumes) codec->consume(stream, bytes.size());
  }
  void on_end(StreamId stream, const http::Fields* trailers) override {
    say("end", stream, trailers == nullptr ? "" : to_text(*trailers));
    if (when_whole) when_whole(stream);
  }
  void on_reset(StreamId stream, http::Fault why) override { say("reset", stream, to_text(why)); }
  void on_writable(StreamId stream) override {
    if (when_writable) when_writable(stream);
  }
  void on_failed(http::Fault why, std::string_view detail) override {
    lines.push_back("failed " + std::string(to_text(why)));
    failure = detail;
  }

  std::string failure;

 protected:
  void say(std::string_view what, StreamId stream, std::string_view rest) {
    auto line = std::string(what) + " " + std::to_string(stream);
    if (!rest.empty()) line += " " + std::string(rest);
    lines.push_back(std::move(line));
  }
};

class ServerListener : public Listener<http::ServerEvents> {
 public:
  std::function<void(StreamId, const http::Request&)> when_asked;

  void on_request(StreamId stream, http::Request& request) override {
    say("request", stream, to_text(request));
    if (when_asked) when_asked(stream, request);
    if (!request.has_body && when_whole) when_whole(stream);
  }
  void on_refused(StreamId stream, const http::Request& /*request*/, http::Fault why,
                  std::string_view detail) override {
    say("refused", stream, to_text(why));
    failure = detail;
  }
};

class ClientListener : public Listener<http::ClientEvents> {
 public:
  std::function<void()> when_room;

  void on_response(StreamId stream, http::Response& response) override {
    say("response", stream, to_text(response));
    if (!response.has_body && !response.is_interim() && when_whole) when_whole(stream);
  }
  void on_room() override {
    lines.emplace_back("room");
    if (when_room) when_room();
  }
};

// A clock that stands still until it is moved.
struct Time {
  std::chrono::steady_clock::time_point now{};
  [[nodiscard]] http2::Clock clock() {
    return [this] { return now; };
  }
};

inline http::Request get(std::string path, std::string method = "GET") {
  http::Request request;
  request.method = std::move(method);
  request.authority = "shop.example";
  request.path = std::move(path);
  return request;
}

inline http::Response status(unsigned number, bool has_body = false) {
  http::Response response;
  response.status = number;
  response.has_body = has_body;
  return response;
}

struct Http2Pair {
  explicit Http2Pair(const http::Limits& of_server = {}, const http::Limits& of_client = {})
      : server(http2::make_server_codec(of_server, at_server, time.clock())),
        client(http2::make_client_codec(of_client, at_client, time.clock())) {
    at_server.codec = server.get();
    at_client.codec = client.get();
  }

  // Until both have said what they have to say, `chunk` bytes at a time.
  void settle(std::size_t chunk = 64UL * 1024) {
    while (carry(*client, *server, chunk) || carry(*server, *client, chunk)) {
    }
  }
  static bool carry(http::Codec& from, http::Codec& to, std::size_t chunk) {
    const auto bytes = from.output().substr(0, chunk);
    if (bytes.empty()) return false;
    to.receive(bytes);
    from.sent(bytes.size());
    return true;
  }

  Time time;
  ServerListener at_server;
  ClientListener at_client;
  std::unique_ptr<http::ServerCodec> server;
  std::unique_ptr<http::ClientCodec> client;
};

}  // namespace underpass::test
