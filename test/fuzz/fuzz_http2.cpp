// SPDX-License-Identifier: Apache-2.0
// HTTP/2 codecs fed with anything, at both ends: what is told of streams keeps codec.h's rules, memory stays bounded,
// and what is told can be answered. The first byte chooses: the end, whether the rest is bytes as they come or a row of
// frames (type, flags, stream, length, payload), how much is fed at a time, and whether the output is read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http2/codecs.h"

using namespace underpass;
using http::StreamId;

namespace {

void expect(bool holds) {
  if (!holds) __builtin_trap();
}

http::Limits small_limits() {
  http::Limits limits;
  limits.max_head_bytes = 2000;
  limits.max_fields = 20;
  limits.max_target_bytes = 200;
  limits.max_streams = 8;
  limits.stream_window = 70'000;
  limits.max_resets_per_minute = 20;
  return limits;
}

void check_fields(const http::Fields& fields) {
  expect(fields.size() <= small_limits().max_fields + 1);  // cookies come last, as one
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto field = fields.at(i);
    expect(http::is_token(field.name) && !std::ranges::any_of(field.name, [](char c) { return c >= 'A' && c <= 'Z'; }));
    expect(http::is_value(field.value));
    for (const auto* name : {"connection", "transfer-encoding", "upgrade", "host", "content-length"})
      expect(field.name != name);
  }
}

template <typename Events>
class Rules : public Events {
 public:
  http::Codec* codec = nullptr;

  void on_data(StreamId stream, std::string_view bytes) override {
    alive(stream);
    expect(!ended_.contains(stream));
    if (stream % 4 != 1) codec->consume(stream, bytes.size());
    codec->send_data(stream, bytes);
  }
  void on_end(StreamId stream, const http::Fields* trailers) override {
    alive(stream);
    expect(ended_.insert(stream).second);
    if (trailers != nullptr) check_fields(*trailers);
    codec->send_end(stream, trailers);
  }
  void on_reset(StreamId stream, http::Fault /*why*/) override {
    alive(stream);
    open_.erase(stream);
  }
  void on_writable(StreamId stream) override { alive(stream); }
  void on_failed(http::Fault why, std::string_view /*detail*/) override {
    expect(!std::exchange(failed_, true) && why != http::Fault::kNone && why != http::Fault::kInternal);
    expect(codec->is_over() && codec->open_streams() == 0);
  }

 protected:
  void begins(StreamId stream) { expect(!failed_ && open_.insert(stream).second); }
  void alive(StreamId stream) { expect(!failed_ && open_.contains(stream)); }

 private:
  std::set<StreamId> open_;   // told, and not told to be reset
  std::set<StreamId> ended_;  // by the peer
  bool failed_ = false;
};

class ServerRules final : public Rules<http::ServerEvents> {
 public:
  void on_request(StreamId stream, http::Request& request) override {
    begins(stream);
    check_fields(request.fields);
    expect(http::is_token(request.method) && !request.authority.empty());
    const bool plain_connect = request.is_connect() && request.protocol.empty();
    expect(plain_connect ? request.path.empty() : request.path.starts_with('/') || request.path == "*");
    expect(http::all_of(request.path, http::chars::kTarget));
    auto& server = *static_cast<http::ServerCodec*>(codec);
    http::Response response;
    response.status = request.is_tunnel() ? 200 : 100 + request.path.size() * 7 % 500;
    response.has_body = stream % 3 != 0;
    response.fields = request.fields;
    if (response.is_interim()) {
      server.send_interim(stream, response);
      response.status = 200;
    }
    if (stream % 8 == 7) return server.reset(stream, http::Fault::kRefused);
    server.send_response(stream, response);
    if (!request.has_body && (!request.is_tunnel() || stream % 3 == 0)) server.send_end(stream, nullptr);
  }
  void on_refused(StreamId /*stream*/, const http::Request& request, http::Fault why,
                  std::string_view /*detail*/) override {
    check_fields(request.fields);
    expect(why != http::Fault::kNone);
  }
};

class ClientRules final : public Rules<http::ClientEvents> {
 public:
  void send(http::Request request) {
    auto& client = *static_cast<http::ClientCodec*>(codec);
    if (client.can_send()) begins(client.send_request(request));
  }
  void on_response(StreamId stream, http::Response& response) override {
    alive(stream);
    expect(response.status >= 100 && response.status <= 999 && response.status != 101);
    check_fields(response.fields);
  }
  void on_room() override {}
};

std::string next_frame(std::string_view& input) {
  const auto at = [&](std::size_t i) { return i < input.size() ? static_cast<unsigned char>(input[i]) : 0U; };
  const auto size = std::min<std::size_t>(at(3), input.size() > 4 ? input.size() - 4 : 0);
  std::string frame(9, '\0');
  frame[2] = static_cast<char>(size);
  frame[3] = static_cast<char>(at(0) % 17);
  frame[4] = static_cast<char>(at(1));
  frame[8] = static_cast<char>(at(2) & 31U);
  frame += input.substr(std::min<std::size_t>(4, input.size()), size);
  input.remove_prefix(std::min(4 + size, input.size()));
  return frame;
}

std::string frames_of(std::string_view input) {
  std::string all("\0\0\0\x04\0\0\0\0\0", 9);
  while (!input.empty()) all += next_frame(input);
  return all;
}

// At most what one slice of input can cause more than the bounds that connection.h states.
constexpr std::size_t kMostOutput = 256UL * 1024;

void feed(http::Codec& codec, std::string_view bytes, std::size_t step, bool reads) {
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, step);
    expect(codec.receive(piece) == piece.size());
    bytes.remove_prefix(piece.size());
    const auto out = codec.output();
    expect(out.size() <= kMostOutput && codec.open_streams() <= small_limits().max_streams);
    if (reads) codec.sent(out.size());
  }
  codec.receive_end();
  expect(codec.is_over() && codec.open_streams() == 0);
  for (auto out = codec.output(); !out.empty(); out = codec.output()) codec.sent(out.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto choice = data[0];
  const std::string bytes = (choice & 2U) != 0 ? frames_of(text) : std::string(text);
  constexpr std::size_t kSteps[] = {1'000'000, 1, 10, 300};
  const auto step = kSteps[choice >> 2 & 3U];
  const bool reads = (choice & 16U) == 0;
  const http2::Clock clock = [] { return std::chrono::steady_clock::time_point{}; };

  if ((choice & 1U) == 0) {
    ServerRules rules;
    const auto server = http2::make_server_codec(small_limits(), rules, clock);
    rules.codec = server.get();
    feed(*server, std::string(http2::kPreface) + bytes, step, reads);
    return 0;
  }
  ClientRules rules;
  const auto client = http2::make_client_codec(small_limits(), rules, clock);
  rules.codec = client.get();
  for (const auto* method : {"GET", "HEAD", "POST", "CONNECT"}) {
    http::Request request;
    request.method = method;
    request.authority = "a:1";
    request.path = "/";
    request.has_body = request.method == "POST";
    rules.send(std::move(request));
  }
  client->sent(client->output().size());
  feed(*client, bytes, step, reads);
  return 0;
}
