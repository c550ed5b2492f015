// SPDX-License-Identifier: Apache-2.0
// Fields that tell of traces (traceparent, tracestate, b3, x-b3-…, x-request-id) and of clients and callers (forwarded,
// x-forwarded-…, baggage), line by line, on their way through a worker: after it put them in order they tell of one
// trace, what is no trace's is as it came, and the next hop, by HTTP/1 or HTTP/2, reads the same and agrees on the
// ids. The first byte chooses that version.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http1_peers.h"
#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/telemetry/trace.h"

using namespace underpass;
using test::fields_text;
using test::promise;

namespace {

constexpr std::array<std::string_view, 9> kOfTraces = {"b3",          "traceparent",       "tracestate",
                                                       "x-b3-flags",  "x-b3-parentspanid", "x-b3-sampled",
                                                       "x-b3-spanid", "x-b3-traceid",      "x-request-id"};

bool is_of_trace(std::string_view name) { return std::ranges::find(kOfTraces, name) != kOfTraces.end(); }

template <typename Which>
std::vector<std::string> lines_of(const http::Fields& fields, Which which) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (const auto field = fields.at(i); which(field.name))
      out.push_back(std::string(field.name) + ": " + std::string(field.value));
  return out;
}
std::vector<std::string> others(const http::Fields& fields) {
  return lines_of(fields, [](std::string_view name) { return !is_of_trace(name); });
}

std::string raw_request(std::string_view lines) {
  std::string out = "GET / HTTP/1.1\r\nhost: a\r\n";
  while (!lines.empty()) {
    const auto end = std::min(lines.find('\n'), lines.size());
    out += std::string(lines.substr(0, end)) + "\r\n";
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return out + "\r\n";
}

// What a worker did to them.
telemetry::TraceIds check_traced(http::Fields& fields) {
  static telemetry::Dice dice({1, 2, 3, 4});
  const auto before = fields;
  const auto ids = telemetry::trace(fields, dice);
  promise(others(fields) == others(before));
  for (const auto name : kOfTraces) {
    const auto lines = lines_of(fields, [&](std::string_view other) { return other == name; });
    const auto came = lines_of(before, [&](std::string_view other) { return other == name; });
    const bool is_made = name == "traceparent" || name == "x-request-id";
    promise(lines == came || (is_made ? lines.size() == 1 : lines.empty()));
  }
  promise(fields.count("x-request-id") == 1 && fields.find("x-request-id") == ids.request_id);
  promise(!ids.request_id.empty() && ids.request_id.size() <= 128 &&
          std::ranges::all_of(ids.request_id, [](char c) { return c > ' ' && c < 0x7f; }));
  promise(fields.count("traceparent") == 1);
  const auto parent = telemetry::parse_traceparent(*fields.find("traceparent"));
  promise(parent && parent->trace_id == ids.trace_id && ids.trace_id.size() == 32);
  promise(fields.count("b3") <= 1 && fields.count("x-b3-traceid") <= 1);

  auto again = fields;
  const auto same = telemetry::trace(again, dice);
  promise(same.request_id == ids.request_id && same.trace_id == ids.trace_id);
  promise(fields_text(again) == fields_text(fields));
  return ids;
}

// Where a b3 is left and no traceparent was there, both tell of the same trace.
void check_one_trace(const http::Fields& before, const http::Fields& after) {
  const auto value = before.find("traceparent");
  if (before.count("traceparent") == 1 && telemetry::parse_traceparent(*value)) return;
  const auto made = telemetry::parse_traceparent(*after.find("traceparent")).value();
  const auto ends_as = [&](std::string_view id) { return made.trace_id.ends_with(id); };
  if (const auto b3 = after.find("b3"); b3 && telemetry::parse_b3(*b3))
    return promise(telemetry::parse_b3(*b3) == made);
  if (const auto id = after.find("x-b3-traceid"))
    promise(ends_as(*id) && made.span_id == after.find("x-b3-spanid").value());
}

http::Fields by_http1(const http::Request& request) {
  test::ClientPeer client;
  promise(client.send(request) == 1);
  test::ServerPeer server(test::ServerPeer::answer_ok, {.max_head_bytes = 1UL << 20U, .max_fields = 1000});
  server.feeder().feed(client.feeder().said());
  promise(server.told().size() == 1 && !server.failed());
  return server.told()[0].request.fields;
}

// What an HTTP/2 connection tells of the one request that goes over it.
class Hop final : public http::ServerEvents, public http::ClientEvents {
 public:
  http::Fields send(const http::Request& request) {
    const http::Limits limits{.max_head_bytes = 1UL << 20U, .max_fields = 1000};
    const auto server = http2::make_server_codec(limits, *this);
    const auto client = http2::make_client_codec(limits, *this);
    client->send_request(request);
    std::string bytes;
    for (auto out = client->output(); !out.empty(); out = client->output()) {
      bytes += out;
      client->sent(out.size());
    }
    server->receive(bytes);
    promise(requests_ == 1);
    return fields_;
  }

  void on_request(http::StreamId, http::Request& request) override {
    fields_ = request.fields;
    ++requests_;
  }
  void on_refused(http::StreamId, const http::Request&, http::Fault, std::string_view) override { promise(false); }
  void on_response(http::StreamId, http::Response&) override { promise(false); }
  void on_room() override {}
  void on_data(http::StreamId, std::string_view) override { promise(false); }
  void on_end(http::StreamId, const http::Fields*) override {}
  void on_reset(http::StreamId, http::Fault) override { promise(false); }
  void on_writable(http::StreamId) override {}
  void on_failed(http::Fault, std::string_view) override { promise(false); }

 private:
  http::Fields fields_;
  int requests_ = 0;
};

// HTTP/1 says TE with Connection, HTTP/2 joins cookies (RFC 9113 §8.2.3), each last: those are left out.
std::vector<std::string> in_order(const http::Fields& fields) {
  return lines_of(fields, [](std::string_view name) { return name != "cookie" && name != "te"; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  static_cast<void>(telemetry::parse_traceparent(text));
  static_cast<void>(telemetry::parse_b3(text));

  test::ServerPeer from_client(test::ServerPeer::answer_ok);
  from_client.feeder().feed(raw_request(text));
  for (const auto& told : from_client.told()) {
    if (!told.whole || told.request.has_body || told.request.is_tunnel()) continue;
    auto request = told.request;
    const auto ids = check_traced(request.fields);
    check_one_trace(told.request.fields, request.fields);
    auto arrived = (data[0] & 1U) == 0 ? by_http1(request) : Hop().send(request);
    promise(in_order(arrived) == in_order(request.fields));
    const auto next = check_traced(arrived);
    promise(next.request_id == ids.request_id && next.trace_id == ids.trace_id);
  }
  return 0;
}
