// SPDX-License-Identifier: Apache-2.0
// Key sets over HTTPS: whose certificate is believed.
#include <doctest/doctest.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <string>

#include "agent/jwks/fetcher.h"
#include "test/support/fake_api_tls.h"
#include "test/unit/k8s_api_server.h"

namespace underpass::jwks {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using test::FakeAuthority;
using test::FakeIdentity;
using test::run_until;
using test::TempFolder;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
const std::string kSet = R"({"keys":[{"kty":"RSA"}]})";

asio::awaitable<void> serve(tcp::socket socket, std::shared_ptr<asio::ssl::context> context) {
  asio::ssl::stream<tcp::socket> stream(std::move(socket), *context);
  auto [refused] = co_await stream.async_handshake(asio::ssl::stream_base::server, kNoThrow);
  if (refused) co_return;
  std::string head;
  auto [error, size] = co_await asio::async_read_until(stream, asio::dynamic_buffer(head), "\r\n\r\n", kNoThrow);
  if (error) co_return;
  const auto answer = test::http_answer("200 OK", kSet);
  static_cast<void>(co_await asio::async_write(stream, asio::buffer(answer), kNoThrow));
}

asio::awaitable<void> accept(std::shared_ptr<tcp::acceptor> acceptor, std::shared_ptr<asio::ssl::context> context) {
  for (;;) {
    auto [error, socket] = co_await acceptor->async_accept(kNoThrow);
    if (error) co_return;
    asio::co_spawn(acceptor->get_executor(), serve(std::move(socket), context), asio::detached);
  }
}

// What comes of a fetch from "https://localhost" by somebody who trusts `authority`: "" or the problem.
std::string fetch_from(const FakeIdentity& identity, const std::string& authority) {
  asio::io_context io;
  const auto acceptor = std::make_shared<tcp::acceptor>(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->use_certificate_chain(asio::buffer(identity.certificate));
  context->use_private_key(asio::buffer(identity.key), asio::ssl::context::pem);
  asio::co_spawn(io, accept(acceptor, context), asio::detached);

  const TempFolder folder;
  FetcherOptions options;
  if (!authority.empty()) {
    folder.write("ca.pem", authority);
    options.ca_file = (folder / "ca.pem").string();
  }
  options.may_dial = [](const std::string&, const IpAddress&) { return Result<void>{}; };
  Fetcher fetcher(io, options, nullptr);
  fetcher.set_wanted({{.uri = "https://localhost:" + std::to_string(acceptor->local_endpoint().port()) + "/keys"}});
  const bool done = run_until(io, [&] { return fetcher.counts().succeeded + fetcher.counts().failed > 0; });
  REQUIRE(done);
  CHECK(fetcher.sets().empty() == (fetcher.counts().failed > 0));
  CHECK_FALSE(fetcher.status().front().is_plain);
  const auto problem = fetcher.status().front().problem;
  return problem.substr(std::min(problem.find("TLS: "), problem.size()));
}

TEST_CASE("jwks https: the certificate must be of the host, of now, and of an authority that is trusted") {
  const FakeAuthority ours("ours");
  const FakeAuthority theirs("theirs");
  const std::string bad = "TLS: the certificate is not good for localhost";
  using std::chrono::hours;
  CHECK(fetch_from(ours.issue({.name = "a", .names = "DNS:localhost"}), ours.certificate()) == "");
  CHECK(fetch_from(ours.issue({.name = "localhost", .names = "DNS:other"}), ours.certificate()).starts_with(bad));
  CHECK(fetch_from(ours.issue({.name = "a", .names = "IP:127.0.0.1"}), ours.certificate()).starts_with(bad));
  CHECK(fetch_from(theirs.issue({.name = "a", .names = "DNS:localhost"}), ours.certificate()).starts_with(bad));
  CHECK(fetch_from(ours.issue({.name = "a", .names = "DNS:localhost"}), "").starts_with(bad));  // the system's
  CHECK(fetch_from(ours.issue({.name = "a", .names = "DNS:localhost", .from = -hours(48), .until = -hours(24)}),
                   ours.certificate())
            .starts_with(bad));
}

}  // namespace
}  // namespace underpass::jwks
