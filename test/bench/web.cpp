// SPDX-License-Identifier: Apache-2.0
#include "test/bench/web.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kPort = 8080;

std::vector<std::string> pinned(int cpu, std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"taskset", "-c", std::to_string(cpu)});
  return argv;
}

fs::path write_config(const Pair& pair, const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path path = folder / "nginx.conf";
  std::ofstream out(path);
  out << "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\n"
      << "events { worker_connections 256; }\n"
      << "http {\n  access_log off;\n  keepalive_requests 1000000000;\n"
      << "  client_body_temp_path tmp;\n  proxy_temp_path tmp;\n  fastcgi_temp_path tmp;\n  uwsgi_temp_path tmp;\n"
      << "  scgi_temp_path tmp;\n"
      << "  server { listen " << test::Address::of(pair.host, kPort).to_string() << "; location / { return 200 \""
      << std::string(kWebBodyBytes, 'u') << "\"; } }\n}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  return path;
}

test::Process start_nginx(const Pair& pair, const fs::path& folder) {
  const fs::path config = write_config(pair, folder);
  return test::Process({.argv = pinned(pair.server.cpu, {"nginx", "-p", folder, "-c", config, "-e", "stderr"}),
                        .netns = pair.server.netns,
                        .cgroup = pair.server.cgroup});
}

test::Process start_nghttpd(const Pair& pair, const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "index.html") << std::string(kWebBodyBytes, 'u');
  return test::Process({.argv = pinned(pair.server.cpu, {"nghttpd", "--no-tls", "-n1", "-a", pair.host, "-d",
                                                         folder.string(), std::to_string(kPort)}),
                        .netns = pair.server.netns,
                        .cgroup = pair.server.cgroup});
}

bool answers(const Pair& pair) {
  Child client(pair.client, [&](Channel& parent) {
    test::connect_from({}, pair.address(kPort));
    parent.send({});
  });
  try {
    client.channel().receive();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

[[noreturn]] void fail(const std::string& who, const std::string& said) { throw std::runtime_error(who + ": " + said); }

// "1.23ms" as wrk prints it.
double microseconds(const std::string& text) {
  std::size_t digits = 0;
  const double value = std::stod(text, &digits);
  const std::string unit = text.substr(digits);
  return unit.starts_with("us") ? value : unit.starts_with("ms") ? value * 1e3 : value * 1e6;
}

// The word after `label`.
std::string word_after(const std::string& output, const std::string& label, const std::string& who) {
  const auto at = output.find(label);
  if (at == std::string::npos) fail(who, output);
  std::istringstream words(output.substr(at + label.size()));
  std::string word;
  words >> word;
  return word;
}

Load load_of_wrk(const std::string& output) {
  if (output.contains("Socket errors") || output.contains("Non-2xx")) fail("wrk", output);
  return {.per_second = std::stod(word_after(output, "Requests/sec:", "wrk")),
          .p99_us = microseconds(word_after(output, "\n     99%", "wrk"))};
}

// h2load has no percentiles; its log has a line a request: when it began, status, microseconds.
double p99_of_log(const fs::path& log) {
  std::ifstream lines(log);
  std::vector<double> times;
  for (double start = 0, status = 0, taken = 0; lines >> start >> status >> taken;) times.push_back(taken);
  if (times.empty()) fail("h2load", "no request in its log");
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(times.size() * 99 / 100);
  std::ranges::nth_element(times, at);
  return *at;
}

test::Process load_from(const Pair& pair, std::vector<std::string> argv) {
  return test::Process(
      {.argv = pinned(pair.client.cpu, std::move(argv)), .netns = pair.client.netns, .cgroup = pair.client.cgroup});
}

std::string output_of(test::Process& load, Seconds duration, const std::string& who) {
  const auto exit = load.wait(std::chrono::duration_cast<std::chrono::milliseconds>(duration) + test::seconds(20));
  if (!exit || !exit->ok()) fail(who, load.out() + load.err());
  return load.out();
}

std::string whole_seconds(Seconds duration) { return std::to_string(std::max(1, static_cast<int>(duration.count()))); }

std::string url(const Pair& pair) { return "http://" + pair.address(kPort).to_string() + "/"; }

}  // namespace

WebServer::WebServer(const Pair& pair, const fs::path& folder, Speaks speaks)
    : server_(speaks == Speaks::kHttp1 ? start_nginx(pair, folder) : start_nghttpd(pair, folder)) {
  const bool up = test::eventually(test::seconds(10), [&] { return answers(pair); });
  if (!up) fail("the web server does not answer", server_.err());
}

Load measure_requests(const Pair& pair, Seconds duration, const WhileOpen& while_open) {
  test::Process wrk = load_from(pair, {"wrk", "--latency", "-t1", "-c" + std::to_string(kWrkConnections),
                                       "-d" + whole_seconds(duration) + "s", url(pair)});
  if (while_open) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    while_open(pair, kPort);
  }
  return load_of_wrk(output_of(wrk, duration, "wrk"));
}

Load measure_http2_requests(const Pair& pair, Seconds duration, const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path log = folder / "h2load.log";
  fs::remove(log);
  test::Process h2load =
      load_from(pair, {"h2load", "-t1", "-c" + std::to_string(kHttp2Connections), "-m" + std::to_string(kStreams),
                       "-D" + whole_seconds(duration), "--log-file=" + log.string(), url(pair)});
  const std::string output = output_of(h2load, duration, "h2load");
  if (!output.contains(" 0 failed, 0 errored, 0 timeout") || !output.contains(" 0 4xx, 0 5xx")) fail("h2load", output);
  return {.per_second =
              std::stod(word_after(output, "finished in " + word_after(output, "finished in ", "h2load"), "h2load")),
          .p99_us = p99_of_log(log)};
}

}  // namespace underpass::bench
