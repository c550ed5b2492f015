// SPDX-License-Identifier: Apache-2.0
// HTTP/1 codecs on arbitrary bytes. The first byte chooses the side and the settings, the second how the rest is cut.
// test/support/http1_peers.h aborts where a promise of codec.h is broken; besides, however the bytes are cut the same
// must come of it, and a request that was taken goes out again as one message that is read as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "test/support/http1_peers.h"

using namespace underpass;
using namespace underpass::http;
using test::ClientPeer;
using test::promise;
using test::ServerPeer;

namespace {

Limits limits_of(std::uint8_t choice) {
  Limits limits;
  if ((choice & 2U) != 0) limits.max_buffered = 64;
  if ((choice & 4U) != 0) limits = {.max_head_bytes = 512, .max_fields = 8, .max_target_bytes = 64};
  limits.underscores = static_cast<Underscores>((choice >> 3U) % 3);
  return limits;
}

template <typename Peer>
void feed(Peer& peer, std::string_view bytes, std::size_t cut, bool end) {
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, cut);
    peer.feeder().feed(piece);
    bytes.remove_prefix(piece.size());
  }
  if (end) peer.feeder().end();
}

// Answers differ by what was asked, so that all kinds are seen.
void answer(ServerPeer& peer, StreamId stream) {
  const auto& request = peer.told().back().request;
  Response response;
  response.status = request.method == "CONNECT" ? 200 : !request.protocol.empty() ? 101 : 200;
  response.has_body = request.method != "CONNECT" && request.protocol.empty();
  if (request.path.size() % 2 == 0) response.content_length = 2;
  peer.codec().send_response(stream, response);
  peer.codec().send_data(stream, "ok");
  peer.codec().send_end(stream, nullptr);
}

// TE is said with Connection, last.
std::string fields_in_order(Fields fields) {
  if (fields.find("te")) fields.set("te", "trailers");
  return test::fields_text(fields);
}

void check_said_again(const test::Told& told) {
  ClientPeer client;
  promise(client.send(told.request, told.body) == 1);
  ServerPeer server(ServerPeer::answer_ok, {.max_head_bytes = 1UL << 20U, .underscores = Underscores::kAllow});
  server.feeder().feed(client.feeder().said());
  promise(server.told().size() == 1 && server.told()[0].whole && server.feeder().held().empty() && !server.failed());
  const auto& again = server.told()[0];
  promise(again.request.method == told.request.method && again.request.path == told.request.path &&
          again.request.authority == told.request.authority && again.body == told.body &&
          again.request.protocol == told.request.protocol);
  promise(fields_in_order(again.request.fields) == fields_in_order(told.request.fields));
}

void run_server(std::string_view bytes, std::uint8_t choice, std::size_t cut) {
  const auto limits = limits_of(choice);
  const bool end = (choice & 32U) != 0;
  ServerPeer whole(answer, limits);
  whole.takes_http2 = (choice & 64U) != 0;
  feed(whole, bytes, bytes.size(), end);
  ServerPeer pieces(answer, limits);
  pieces.takes_http2 = whole.takes_http2;
  feed(pieces, bytes, cut, end);
  promise(whole.log() == pieces.log() && whole.feeder().said() == pieces.feeder().said());
  promise(whole.codec().is_over() == pieces.codec().is_over());
  for (const auto& told : whole.told())
    if (told.whole && !told.request.is_tunnel()) check_said_again(told);
}

Request request_of(std::uint8_t choice) {
  Request request;
  request.method = "GET";
  request.authority = "a:1";
  request.path = "/";
  switch ((choice >> 1U) & 7U) {
    case 0:
      request.method = "HEAD";
      break;
    case 1:
      request.method = "CONNECT";
      request.path.clear();
      break;
    case 2:
      request.protocol = "websocket";
      break;
    case 3:
      request.method = "CONNECT";
      request.protocol = "websocket";
      break;
    case 4:
      request.method = "POST";
      request.has_body = true;
      break;
    default:
      break;
  }
  return request;
}

void run_client(std::string_view bytes, std::uint8_t choice, std::size_t cut) {
  const bool end = (choice & 32U) != 0;
  Limits limits;
  if ((choice & 64U) != 0) limits = {.max_head_bytes = 256, .max_fields = 4, .max_buffered = 64};
  ClientPeer whole(limits);
  promise(whole.send(request_of(choice), "body") == 1);
  feed(whole, bytes, bytes.size(), end);
  ClientPeer pieces(limits);
  promise(pieces.send(request_of(choice), "body") == 1);
  feed(pieces, bytes, cut, end);
  promise(whole.log() == pieces.log() && whole.codec().is_over() == pieces.codec().is_over());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t cut = data[1] % 32U + 1U;
  if ((data[0] & 1U) == 0) {
    run_server(bytes, data[0], cut);
  } else {
    run_client(bytes, data[0], cut);
  }
  return 0;
}
