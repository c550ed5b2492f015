// SPDX-License-Identifier: Apache-2.0
// Sessions around the HTTP/1 codecs that write down what they are told, for tests and fuzzers: bytes come in pieces of
// any size, what is not taken is offered again, and what is said is collected. They abort where a codec breaks
// codec.h's promises: an event of a stream that is over, more held than Limits allow, bytes taken twice.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace_proxy/http1/client_codec.h"
#include "userspace_proxy/http1/server_codec.h"

namespace underpass::test {

inline void promise(bool kept) {
  if (!kept) std::abort();
}

inline std::string fields_text(const http::Fields& fields) {
  std::string text;
  for (std::size_t i = 0; i < fields.size(); ++i)
    text += " " + std::string(fields.at(i).name) + "=" + std::string(fields.at(i).value);
  return text;
}

inline std::string request_text(const http::Request& request) {
  std::string text = request.method + " " + request.scheme + "://" + request.authority + request.path;
  if (request.version == http::Version::kHttp10) text += " 1.0";
  text += fields_text(request.fields);
  if (request.content_length) text += " [" + std::to_string(*request.content_length) + "]";
  if (request.has_body) text += " [body]";
  if (request.expects_continue) text += " [100]";
  if (!request.protocol.empty()) text += " [" + request.protocol + "]";
  return text;
}

inline std::string response_text(const http::Response& response) {
  std::string text = std::to_string(response.status) + fields_text(response.fields);
  if (response.content_length) text += " [" + std::to_string(*response.content_length) + "]";
  if (response.has_body) text += " [body]";
  return text;
}

// A request as it was told, with its body.
struct Told {
  http::Request request;
  std::string body;
  bool whole = false;
};

// Feeds a codec as a socket would: `held_` is what was read and not taken.
class Feeder {
 public:
  explicit Feeder(http::Codec& codec) : codec_(codec) {}

  void feed(std::string_view bytes) {
    held_ += bytes;
    go_on();
  }
  void end() {
    go_on();
    if (held_.empty()) codec_.receive_end();
    go_on();
  }
  // Offers what is held as long as it is taken, and takes what is said.
  void go_on() {
    do {
      drain();
      if (held_.empty() || (!codec_.wants_input() && !codec_.is_over())) return;
      const auto taken = codec_.receive(held_);
      promise(taken <= held_.size() && (taken > 0 || !codec_.wants_input()));
      promise(!codec_.is_over() || taken == held_.size());
      held_.erase(0, taken);
    } while (!held_.empty());
    drain();
  }
  void drain() {
    while (true) {
      const auto said = codec_.output();
      if (said.empty()) return;
      const std::size_t some = said.size() > 7 ? said.size() - 3 : said.size();
      said_ += said.substr(0, some);
      codec_.sent(some);
    }
  }
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] const std::string& held() const { return held_; }

 private:
  http::Codec& codec_;
  std::string held_;
  std::string said_;
};

// What both ends do with stream events: write them down, data that follows data as one.
template <typename Events>
class Recorder : public Events {
 public:
  void on_data(http::StreamId stream, std::string_view bytes) override {
    promise(stream == current_ && open_ && !ended_ && !bytes.empty());
    if (!in_data_) log_ += "data ";
    in_data_ = true;
    log_ += bytes;
    data(bytes);
  }
  void on_end(http::StreamId stream, const http::Fields* trailers) override {
    promise(stream == current_ && open_ && !ended_);
    ended_ = true;
    line("end" + (trailers == nullptr ? std::string() : fields_text(*trailers)));
    whole();
  }
  void on_reset(http::StreamId, http::Fault) override { promise(false); }  // HTTP/1 has no such thing
  void on_writable(http::StreamId stream) override { promise(stream == current_ && open_); }
  void on_failed(http::Fault why, std::string_view detail) override {
    promise(!failed_);
    failed_ = true;
    open_ = false;
    line("failed " + std::to_string(http::to_status(why)) + " " + std::string(detail));
  }
  [[nodiscard]] std::string log() const { return log_; }
  [[nodiscard]] bool failed() const { return failed_; }

 protected:
  ~Recorder() = default;
  void begin(http::StreamId stream, const std::string& text) {
    promise(!failed_ && stream == current_ + 1);
    current_ = stream;
    open_ = true;
    ended_ = false;
    line(text);
  }
  void line(const std::string& text) {
    if (in_data_) log_ += "\n";
    in_data_ = false;
    log_ += text + "\n";
  }
  virtual void data(std::string_view bytes) = 0;
  virtual void whole() = 0;

  std::string log_;
  http::StreamId current_ = 0;
  bool open_ = false;
  bool ended_ = false;
  bool failed_ = false;
  bool in_data_ = false;
};

// Answers each request when it is whole.
class ServerPeer final : public Recorder<http::ServerEvents> {
 public:
  using Answer = std::function<void(ServerPeer&, http::StreamId)>;

  explicit ServerPeer(Answer answer, http::Limits limits = {})
      : limits_(limits),
        answer_(std::move(answer)),
        codec_(http1::make_server_codec(*this, limits_)),
        feeder_(*codec_) {}

  static void answer_ok(ServerPeer& peer, http::StreamId stream) {
    http::Response response;
    response.status = 200;
    response.content_length = 2;
    response.has_body = true;
    peer.codec().send_response(stream, response);
    peer.codec().send_data(stream, "ok");
    peer.codec().send_end(stream, nullptr);
  }

  void on_request(http::StreamId stream, http::Request& request) override {
    promise(codec_->open_streams() == 1);
    promise(request.fields.size() <= limits_.max_fields && request.fields.bytes() <= limits_.max_head_bytes);
    begin(stream, request_text(request));
    told_.push_back({.request = request, .body = {}, .whole = !request.has_body});
    if (!request.has_body) whole();
  }
  bool on_http2_offered(http::Request& request, std::string_view settings) override {
    promise(codec_->open_streams() == 0 && !request.has_body && !request.is_tunnel());
    if (!takes_http2) return false;
    begin(current_ + 1, request_text(request) + " to HTTP/2 " + std::string(settings));
    open_ = false;
    return true;
  }
  void on_refused(http::StreamId stream, const http::Request&, http::Fault why, std::string_view detail) override {
    begin(stream, "refused " + std::to_string(http::to_status(why)) + " " + std::string(detail));
    open_ = false;
    failed_ = true;
  }

  bool takes_http2 = false;  // what offers it is the last that is told

  [[nodiscard]] http::ServerCodec& codec() { return *codec_; }
  [[nodiscard]] Feeder& feeder() { return feeder_; }
  [[nodiscard]] const std::vector<Told>& told() const { return told_; }

 private:
  void data(std::string_view bytes) override {
    told_.back().body += bytes;
    unconsumed_ += bytes.size();
    promise(unconsumed_ <= limits_.max_buffered);
    codec_->consume(current_, unconsumed_);
    unconsumed_ = 0;
  }
  void whole() override {
    told_.back().whole = true;
    if (answer_) answer_(*this, current_);
  }

  http::Limits limits_;
  Answer answer_;
  std::vector<Told> told_;
  std::size_t unconsumed_ = 0;
  std::unique_ptr<http::ServerCodec> codec_;
  Feeder feeder_;
};

class ClientPeer final : public Recorder<http::ClientEvents> {
 public:
  explicit ClientPeer(http::Limits limits = {})
      : limits_(limits), codec_(http1::make_client_codec(*this, limits_)), feeder_(*codec_) {}

  // Sends one, with its body; its number, or 0.
  http::StreamId send(const http::Request& request, std::string_view body = {}) {
    const auto stream = codec_->send_request(request);
    if (stream == 0) return 0;
    begin(stream, "sent");
    if (request.has_body) {
      codec_->send_data(stream, body);
      codec_->send_end(stream, nullptr);
    }
    feeder_.drain();
    return stream;
  }

  void on_response(http::StreamId stream, http::Response& response) override {
    promise(stream == current_ && open_ && !ended_ && !failed_);
    promise(response.status >= 100 && response.status <= 999);
    line(response_text(response));
  }
  void on_room() override { promise(codec_->can_send()); }

  [[nodiscard]] http::ClientCodec& codec() { return *codec_; }
  [[nodiscard]] Feeder& feeder() { return feeder_; }

 private:
  void data(std::string_view bytes) override { codec_->consume(current_, bytes.size()); }
  void whole() override {}

  http::Limits limits_;
  std::unique_ptr<http::ClientCodec> codec_;
  Feeder feeder_;
};

}  // namespace underpass::test
