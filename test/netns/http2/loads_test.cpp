// SPDX-License-Identifier: Apache-2.0
// Programs of nghttp2 and curl over h2c: what the client counts, what the server counts, what the metrics and the
// access log count are the same requests.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <map>
#include <regex>
#include <string>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http2/named_ground.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr const char* kBody = "from nghttpd";

class Nghttpd {
 public:
  Nghttpd(const NamedGround& ground, const char* pod, std::uint16_t port)
      : folder_(ground.scene.world.sandbox.root() / ("nghttpd-" + std::string(pod))), place_(ground.at(pod)) {
    fs::create_directories(folder_);
    write_file(folder_ / "small", kBody);
    write_file(folder_ / "large", std::string(3U << 20, 'l'));
    url_ = "http://" + place_.v4 + ":" + std::to_string(port);
    // With -v it writes each frame, "(stream_id=13) :status: 200" for an answer.
    process_ =
        start_server(place_,
                     {"sh", "-c",
                      "exec nghttpd --no-tls -v -m 100 --echo-upload --trailer x-end:1 -a " + place_.v4 + " -d " +
                          folder_.string() + " " + std::to_string(port) + " > " + (folder_ / "log").string()},
                     port);
  }

  [[nodiscard]] std::string url(const std::string& path) const { return url_ + path; }
  // Answers that it gave, by status.
  [[nodiscard]] std::map<std::string, std::size_t> answers() const {
    std::map<std::string, std::size_t> out;
    const std::string log = std::regex_replace(read_file(folder_ / "log"), std::regex("\x1b\\[[0-9;]*m"), "");
    const std::regex status("send HEADERS frame|:status: ([0-9]+)");
    for (auto at = std::sregex_iterator(log.begin(), log.end(), status); at != std::sregex_iterator(); ++at)
      if ((*at)[1].matched) ++out[(*at)[1]];
    return out;
  }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
  const Place& place_;
  std::string url_;
  std::optional<Process> process_;
};

using Counts = std::map<std::string, std::size_t>;

Counts codes_of(const std::vector<boost::json::object>& lines, const std::string& direction) {
  Counts out;
  for (const auto& line : lines)
    if (text_of(line.at("direction")) == direction) ++out[text_of(line.at("code"))];
  return out;
}

// Each reporter's count of this status.
void check_metric(const Scene& scene, const std::string& reporter, const std::string& code, std::size_t wanted) {
  CAPTURE(reporter);
  CAPTURE(code);
  const std::vector<std::string> labels{"reporter=\"" + reporter + "\"", "response_code=\"" + code + "\"",
                                        "destination_workload=\"b\""};
  CHECK(metric_sum(scene, "istio_requests_total", labels, static_cast<double>(wanted)) == static_cast<double>(wanted));
  CHECK(metric_sum(scene, "istio_request_duration_milliseconds_count", labels, static_cast<double>(wanted)) ==
        static_cast<double>(wanted));
}

TEST_CASE("loads: h2load, nghttpd, metrics and the access log count the same requests") {
  for (const Way& way : {kWorker, kInbound}) {
    CAPTURE(std::string(way.client));
    const NamedGround ground;
    const Nghttpd server(ground, "b", kHttp2Port);
    const Counts before = server.answers();
    constexpr std::size_t kGood = 2000, kBad = 300, kLarge = 40;
    const auto h2load = [&](std::size_t count, const std::string& path, std::vector<std::string> more = {}) {
      std::vector<std::string> argv{"h2load", "-n", std::to_string(count), "-c", "10", "-m", "20"};
      argv.insert(argv.end(), more.begin(), more.end());
      argv.push_back(server.url(path));
      return run_client(ground.at(way.client), argv);
    };
    const std::string good = h2load(kGood, "/small"), bad = h2load(kBad, "/missing"), large = h2load(kLarge, "/large"),
                      h1 = h2load(kGood, "/small", {"--h1", "-m", "1"});
    CHECK_MESSAGE(good.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), good);
    CHECK_MESSAGE(good.contains("status codes: 2000 2xx"), good);
    CHECK_MESSAGE(bad.contains("0 succeeded, 300 failed, 0 errored, 0 timeout"), bad);
    CHECK_MESSAGE(bad.contains("0 3xx, 300 4xx"), bad);
    CHECK_MESSAGE(large.contains("40 succeeded, 0 failed"), large);
    CHECK_MESSAGE(h1.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), h1);  // bridged
    const Counts wanted{{"200", 2 * kGood + kLarge}, {"404", kBad}};
    CHECK(before.empty());
    CHECK(server.answers() == wanted);
    const std::size_t all = 2 * kGood + kBad + kLarge;
    const auto lines = request_lines(ground.scene, all);
    CHECK(lines.size() == all);
    // One worker serves both ends of the first way, and has one line for it.
    CHECK(codes_of(lines, way.client == kWorker.client ? "outbound" : "inbound") == wanted);
    for (const auto& line : lines) {
      REQUIRE(text_of(line.at("flags")) == "-");
      REQUIRE(text_of(line.at("destination").at("pod")) == "b");
    }
    for (const auto& [code, count] : wanted) {
      check_metric(ground.scene, "destination", code, count);
      if (std::string(way.client) == "a") check_metric(ground.scene, "source", code, count);
    }
  }
}

TEST_CASE("loads: curl with prior knowledge, and by upgrade, and nghttp") {
  const NamedGround ground;
  const Nghttpd server(ground, "b", kHttp2Port);
  std::size_t asked = 0;
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place&) {
    const auto curl = [&](std::vector<std::string> more) {
      std::vector<std::string> argv{"curl", "-gsS", "--fail", "-w", " %{http_version} %{response_code}"};
      argv.insert(argv.end(), more.begin(), more.end());
      ++asked;
      return run_client(client, argv);
    };
    for (const char* how : {"--http2-prior-knowledge", "--http2"}) {
      CAPTURE(std::string(how));
      CHECK(curl({how, server.url("/small")}) == std::string(kBody) + " 2 200");
      CHECK(curl({how, "-I", "-o", "/dev/null", server.url("/small")}) == " 2 200");
      CHECK(curl({how, "-o", "/dev/null", server.url("/large")}) == " 2 200");
    }
    CHECK(curl({"--http2-prior-knowledge", "-d", "what was sent", server.url("/echo")}) == "what was sent 2 200");
    // With a body the offer is not taken, and curl does not mind.
    CHECK(curl({"--http2", "-d", "what was sent", server.url("/echo")}) == "what was sent 1.1 200");
    asked += 3 * 2;
    for (const char* how : {"-v", "-uv"}) {
      const auto said = run_client(client, {"nghttp", how, "-m", "3", server.url("/small")});
      CHECK_MESSAGE(said.contains(kBody), said);
      CHECK(said.contains("x-end: 1"));
    }
  });
  const auto lines = request_lines(ground.scene, asked);
  CHECK(lines.size() == asked);
  for (const auto& line : lines) CHECK(text_of(line.at("code")) == "200");
  CHECK(server.answers() == Counts{{"200", asked}});
  check_metric(ground.scene, "destination", "200", asked);
}

// nghttpd at one end and a server of HTTP/1.1 behind the same worker, at once: nobody gets what is another's.
TEST_CASE("loads: two ports and both versions at once") {
  const NamedGround ground;
  const Nghttpd two(ground, "b", kHttp2Port);
  const ScriptServer one(
      ground.at("b"), [](Wire& wire, const Message& request) { return wire.try_send(ok("from " + request.target())); },
      kHttp1Port);
  const auto load = [&](const std::string& version, const std::string& url) {
    std::vector<std::string> argv{"h2load", "-n", "1000", "-c", "5"};
    if (!version.empty()) argv.push_back(version);
    argv.push_back(url);
    return Process({.argv = argv, .netns = ground.at("a").netns});
  };
  const std::string first = "http://" + ground.at("b").v4 + ":" + std::to_string(kHttp1Port) + "/one";
  std::vector<Process> loads;
  for (const char* version : {"", "--h1"})
    for (const auto& url : {two.url("/small"), first}) loads.push_back(load(version, url));
  for (Process& process : loads) {
    const auto end = process.wait(seconds(60));
    REQUIRE(end.has_value());
    CHECK_MESSAGE(process.out().contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), process.out());
  }
  CHECK(one.requests().size() == 2000);
  CHECK(request_lines(ground.scene, 4000).size() == 4000);
}

}  // namespace
}  // namespace underpass::test
