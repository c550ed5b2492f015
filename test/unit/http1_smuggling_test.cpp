// SPDX-License-Identifier: Apache-2.0
// Request smuggling: shapes that two readers read differently. Each is refused, or what is taken is said again by the
// client codec as exactly one message that an independent strict reader (Boost.Beast) understands as it was authorised:
// the same method, target and body, and not a byte besides.
#include <doctest/doctest.h>

#include <boost/beast/http.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http1_peers.h"

using namespace underpass;
using test::ClientPeer;
using test::ServerPeer;

namespace {

namespace beast = boost::beast;

void check_as_forwarded(const test::Told& told) {
  ClientPeer client;
  REQUIRE(client.send(told.request, told.body) == 1);
  const auto& said = client.feeder().said();
  CAPTURE(said);
  beast::http::request_parser<beast::http::string_body> reader;
  reader.eager(true);
  beast::error_code error;
  const auto read = reader.put(boost::asio::buffer(said), error);
  CHECK_FALSE(error);
  CHECK(reader.is_done());
  CHECK(read == said.size());
  const auto& message = reader.get();
  CHECK(std::string_view(message.method_string().data(), message.method_string().size()) == told.request.method);
  const auto target = message.target();
  CHECK(std::string_view(target.data(), target.size()) ==
        (told.request.is_connect() ? told.request.authority : told.request.path));
  CHECK(message.body() == told.body);
  CHECK(message.count(beast::http::field::host) == 1);
}

// Tunnels are refused: nobody has authorised what is in them.
void answer(ServerPeer& peer, http::StreamId stream) {
  if (!peer.told().back().request.is_tunnel()) return ServerPeer::answer_ok(peer, stream);
  http::Response response;
  response.status = 403;
  peer.codec().send_response(stream, response);
}

// What was taken, and how it ended: "GET /a; POST /b body; 400".
std::string take(std::string_view bytes, bool byte_by_byte) {
  ServerPeer peer(answer);
  if (byte_by_byte) {
    for (std::size_t i = 0; i < bytes.size(); ++i) peer.feeder().feed(bytes.substr(i, 1));
  } else {
    peer.feeder().feed(bytes);
  }
  std::string taken;
  for (const auto& told : peer.told()) {
    if (!told.whole) continue;
    if (!taken.empty()) taken += "; ";
    taken += told.request.method + " " + (told.request.is_connect() ? told.request.authority : told.request.path);
    if (!told.body.empty()) taken += " " + told.body;
    if (!byte_by_byte) check_as_forwarded(told);
  }
  if (peer.failed())
    taken += (taken.empty() ? "" : "; ") + peer.feeder().said().substr(peer.feeder().said().rfind("HTTP/1.1 ") + 9, 3);
  return taken;
}

struct Row {
  std::string_view what;
  std::string bytes;
  std::string_view taken;
};

std::string post(std::string_view fields, std::string_view rest) {
  return "POST /a HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n" + std::string(rest);
}

constexpr std::string_view kNext = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kCl = "Content-Length: 5\r\n";
const std::string kTe = "Transfer-Encoding: chunked\r\n";
const std::string kEmptyChunks = "0\r\n\r\n";

std::vector<Row> lengths() {
  return {
      {"CL.TE", post(kCl + kTe, kEmptyChunks + std::string(kNext)), "400"},
      {"TE.CL", post(kTe + kCl, kEmptyChunks + std::string(kNext)), "400"},
      {"TE.CL 0", post(kTe + "Content-Length: 0\r\n", std::string(kNext)), "400"},
      {"CL twice", post(kCl + "Content-Length: 6\r\n", "hello!"), "400"},
      {"CL twice, equal", post(kCl + kCl, "hello"), "400"},
      {"CL list", post("Content-Length: 5, 5\r\n", "hello"), "400"},
      {"CL plus", post("Content-Length: +5\r\n", "hello"), "400"},
      {"CL minus", post("Content-Length: -5\r\n", "hello"), "400"},
      {"CL hexadecimal", post("Content-Length: 0x5\r\n", "hello"), "400"},
      {"CL with a space inside", post("Content-Length: 5 5\r\n", "hello"), "400"},
      {"CL empty", post("Content-Length:\r\n", "hello"), "400"},
      {"CL quoted", post("Content-Length: \"5\"\r\n", "hello"), "400"},
      {"CL decimal point", post("Content-Length: 5.0\r\n", "hello"), "400"},
      {"CL overflows 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello"), "400"},
      {"CL overflows 32 bits", post("Content-Length: 4294967301\r\n", "hello"), ""},
      {"CL in another spelling", post("content-LENGTH: 5\r\n", "hello" + std::string(kNext)),
       "POST /a hello; GET /admin"},
      {"CL with tabs around", post("Content-Length:\t5\t\r\n", "hello"), "POST /a hello"},
      {"CL with leading zeros", post("Content-Length: 005\r\n", "hello"), "POST /a hello"},
      {"CL after a vertical tab", post("Content-Length: \v5\r\n", "hello"), "400"},
      {"GET with CL", "GET /a HTTP/1.1\r\nHost: a\r\n" + kCl + "\r\nhello" + std::string(kNext),
       "GET /a hello; GET /admin"},
      {"CL with an underscore", post("Content_Length: 5\r\n", "hello"), "400"},
      {"CL taken away by Connection", post(kCl + "Connection: content-length\r\n", "hello"), "400"},
  };
}

std::vector<Row> codings() {
  const auto te = [](std::string_view value) {
    return post("Transfer-Encoding:" + std::string(value) + "\r\n", "0\r\n\r\n");
  };
  return {
      {"TE", te(" chunked"), "POST /a"},
      {"TE without space", te("chunked"), "POST /a"},
      {"TE in capitals", te(" CHUNKED"), "POST /a"},
      {"TE with a tab", te("\tchunked"), "POST /a"},
      {"TE xchunked", te(" xchunked"), "501"},
      {"TE chunked, chunked", te(" chunked, chunked"), "501"},
      {"TE identity", te(" identity"), "501"},
      {"TE identity, chunked", te(" identity, chunked"), "501"},
      {"TE chunked, identity", te(" chunked, identity"), "501"},
      {"TE gzip, chunked", te(" gzip, chunked"), "501"},
      {"TE empty", te(""), "501"},
      {"TE with a comma", te(" ,chunked"), "501"},
      {"TE with a parameter", te(" chunked;q=1"), "501"},
      {"TE quoted", te(" \"chunked\""), "501"},
      {"TE after a vertical tab", te(" \vchunked"), "400"},
      {"TE after a form feed", te("\fchunked"), "400"},
      {"TE with a NUL", te(std::string_view(" chunked\0", 9)), "400"},
      {"TE with a bare CR", te(" chunked\rx: y"), "400"},
      {"TE twice", post(kTe + kTe, kEmptyChunks), "400"},
      {"TE twice, one of them not", post(kTe + "Transfer-Encoding: x\r\n", kEmptyChunks), "400"},
      {"TE after a space", post("x: y\r\n Transfer-Encoding: chunked\r\n", kEmptyChunks), "400"},
      {"TE with a space before the colon", post("Transfer-Encoding : chunked\r\n", kEmptyChunks), "400"},
      {"TE with a tab before the colon", post("Transfer-Encoding\t: chunked\r\n", kEmptyChunks), "400"},
      {"TE with a NUL in its name", post(std::string("Transfer-\0Encoding: chunked\r\n", 29), kEmptyChunks), "400"},
      {"TE folded", post("Transfer-Encoding:\r\n chunked\r\n", kEmptyChunks), "400"},
      {"TE folded behind", post("Transfer-Encoding: chunked\r\n\t\r\n", kEmptyChunks), "400"},
      {"TE behind a bare LF", post("x: y\nTransfer-Encoding: chunked\r\n", kEmptyChunks), "400"},
      {"TE behind a bare CR", post("x: y\rTransfer-Encoding: chunked\r\n", kEmptyChunks), "400"},
      {"TE in HTTP/1.0", "POST /a HTTP/1.0\r\nHost: a\r\n" + kTe + "\r\n" + kEmptyChunks, "400"},
      {"TE with an underscore", post("Transfer_Encoding: chunked\r\n", kEmptyChunks), "400"},
      {"TE taken away by Connection", post(kTe + "Connection: transfer-encoding\r\n", kEmptyChunks), "400"},
      {"TE without a colon", post("Transfer-Encoding chunked\r\n", kEmptyChunks), "400"},
  };
}

std::vector<Row> chunks() {
  const auto body = [](std::string_view bytes) { return post(kTe, std::string(bytes) + std::string(kNext)); };
  return {
      {"chunks", body("5\r\nhello\r\n0\r\n\r\n"), "POST /a hello; GET /admin"},
      {"chunk size with a zero before", body("005\r\nhello\r\n000\r\n\r\n"), "POST /a hello; GET /admin"},
      {"chunk extension", body("5;a=b\r\nhello\r\n0;c\r\n\r\n"), "POST /a hello; GET /admin"},
      {"a trailer that frames", body("0\r\nContent-Length: 40\r\n\r\n"), "POST /a; GET /admin"},
      {"a trailer that says who asks", body("0\r\nAuthorization: x\r\nHost: b\r\n\r\n"), "POST /a; GET /admin"},
      {"chunk size 0x5", body("0x5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size with a space", body("5 \r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size with a sign", body("+5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size with an underscore", body("0_5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size overflows 64 bits", body("10000000000000005\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size overflows 63 bits", body("fffffffffffffff5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk extension with a bare LF", body("5;\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk extension with a bare CR", body("5;\rx\r\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk size with a bare LF", body("5\nhello\r\n0\r\n\r\n"), "400"},
      {"chunk ends with LF", body("5\r\nhello\n0\r\n\r\n"), "400"},
      {"chunk longer than it said", body("5\r\nhello!\r\n0\r\n\r\n"), "400"},
      {"chunk without an end", body("5\r\nhello0\r\n\r\n"), "400"},
      {"chunks end with LF", body("0\r\n\n"), "400"},
      {"chunks without a last line", body("0\r\n"), "400"},
  };
}

std::vector<Row> targets() {
  const auto get = [](std::string_view target, std::string_view host) {
    return "GET " + std::string(target) + " HTTP/1.1\r\n" + std::string(host) + "\r\n";
  };
  return {
      {"absolute target", get("http://a/b", "Host: a\r\n"), "GET /b"},
      {"absolute target of another host", get("http://b/", "Host: a\r\n"), "400"},
      {"absolute target of another port", get("http://a:81/", "Host: a\r\n"), "400"},
      {"absolute target with userinfo", get("http://a@b/", "Host: b\r\n"), "400"},
      {"absolute target with a backslash", get("http://a\\@b/", "Host: b\r\n"), "400"},
      {"absolute target without Host", get("http://a/", ""), "400"},
      {"Host twice", get("/", "Host: a\r\nHost: b\r\n"), "400"},
      {"Host in a list", get("/", "Host: a, b\r\n"), "400"},
      {"Host with userinfo", get("/", "Host: a@b\r\n"), "400"},
      {"Host with a path", get("/", "Host: a/b\r\n"), "400"},
      {"Host with a space before the colon", get("/", "Host : a\r\n"), "400"},
      {"Host first and folded", get("/", " Host: a\r\n"), "400"},
      {"Host folded", get("/", "Host: a\r\n b\r\n"), "400"},
      {"target with a space", get("/a b", "Host: a\r\n"), "400"},
      {"target with a fragment", get("/a#b", "Host: a\r\n"), "400"},
      {"a request in a bare CR", "GET /a HTTP/1.1\rHost: a\r\n\r\n", "400"},
      {"HTTP/0.9 behind a request", "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /admin\r\n", "GET /a; 505"},
      {"HTTP/2 preface behind a request", "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
       "GET /a; 505"},
      {"empty lines behind a request", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n" + std::string(kNext),
       "GET /a; 400"},
  };
}

std::vector<Row> tunnels() {
  const std::string upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ";
  return {
      {"early data after CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + std::string(kNext), "CONNECT a:1"},
      {"early data after Upgrade", upgrade + "websocket\r\n\r\n" + std::string(kNext), "GET /ws"},
      {"Upgrade with a body", upgrade + "websocket\r\n" + kCl + "\r\nhello" + std::string(kNext),
       "GET /ws hello; GET /admin"},
      {"Upgrade with a chunked body", upgrade + "websocket\r\n" + kTe + "\r\n" + kEmptyChunks + std::string(kNext),
       "GET /ws; GET /admin"},
      {"Upgrade to h2c", upgrade + "h2c\r\n\r\n" + std::string(kNext), "GET /ws; GET /admin"},
      {"Upgrade to TLS", upgrade + "TLS/1.2\r\n\r\n" + std::string(kNext), "GET /ws; GET /admin"},
      {"CONNECT with CL", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" + kCl + "\r\nhello", "400"},
      {"CONNECT with TE", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" + kTe + "\r\n" + kEmptyChunks, "400"},
      {"CONNECT in HTTP/1.0", "CONNECT a:1 HTTP/1.0\r\n\r\n" + std::string(kNext), "CONNECT a:1"},
  };
}

void check_all(const std::vector<Row>& rows) {
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(take(row.bytes, false) == row.taken);
    CHECK(take(row.bytes, true) == row.taken);
  }
}

}  // namespace

TEST_CASE("http1 smuggling: lengths") { check_all(lengths()); }
TEST_CASE("http1 smuggling: transfer codings") { check_all(codings()); }
TEST_CASE("http1 smuggling: chunks") { check_all(chunks()); }
TEST_CASE("http1 smuggling: targets and hosts") { check_all(targets()); }
TEST_CASE("http1 smuggling: tunnels") { check_all(tunnels()); }
