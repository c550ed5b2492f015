// SPDX-License-Identifier: Apache-2.0
// What is spoken at a port, by its appProtocol and its name.
#include <doctest/doctest.h>

#include "agent/compile/port_protocol.h"

namespace underpass::compile {
namespace {

TEST_CASE("port protocol: appProtocol, then the name, then a look") {
  using enum PortProtocol;
  const struct {
    const char* app_protocol;
    const char* name;
    PortProtocol protocol;
  } rows[] = {
      {"", "", kDetect},
      {"", "web", kDetect},
      {"", "http", kHttp1},
      {"", "http-web", kHttp1},
      {"", "HTTP-web", kHttp1},
      {"", "httpweb", kDetect},
      {"", "web-http", kDetect},
      {"", "http2", kHttp2},
      {"", "http2-a-b", kHttp2},
      {"", "http3", kDetect},
      {"", "grpc", kGrpc},
      {"", "grpc-api", kGrpc},
      {"", "grpc-web", kHttp2},
      {"", "grpc-web-api", kHttp2},
      {"", "grpc-website", kHttp2},
      {"", "https", kTcp},
      {"", "https-a", kTcp},
      {"", "tls", kTcp},
      {"", "tcp-a", kTcp},
      {"", "udp-dns", kTcp},
      {"", "mongo", kTcp},
      {"", "mysql-a", kTcp},
      {"", "redis", kTcp},
      {"http", "", kHttp1},
      {"HTTP", "tcp", kHttp1},
      {"http2", "http", kHttp2},
      {"grpc", "tcp-a", kGrpc},
      {"grpc-web", "", kHttp2},
      {"tcp", "http", kTcp},
      {"https", "http", kTcp},
      {"tls", "grpc", kTcp},
      {"mongo", "http", kTcp},
      {"kubernetes.io/h2c", "http", kHttp2},
      {"kubernetes.io/ws", "tcp", kHttp1},
      {"kubernetes.io/wss", "http", kTcp},
      {"http-web", "", kHttp1},
      {"example.com/x", "", kDetect},
      {"example.com/x", "http", kDetect},
      {"h2c", "", kDetect},
  };
  for (const auto& row : rows) {
    CAPTURE(row.app_protocol);
    CAPTURE(row.name);
    CHECK(protocol_of(row.app_protocol, row.name) == row.protocol);
  }
}

}  // namespace
}  // namespace underpass::compile
