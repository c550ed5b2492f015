// SPDX-License-Identifier: Apache-2.0
#include "test/bench/web.h"

#include <fstream>
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

double requests_per_second(const std::string& wrk_output) {
  const std::string label = "Requests/sec:";
  const auto at = wrk_output.find(label);
  if (at == std::string::npos || wrk_output.contains("Socket errors") || wrk_output.contains("Non-2xx")) {
    throw std::runtime_error("wrk: " + wrk_output);
  }
  return std::stod(wrk_output.substr(at + label.size()));
}

}  // namespace

WebServer::WebServer(const Pair& pair, const fs::path& folder) : pair_(pair), nginx_(start_nginx(pair, folder)) {
  const bool up = test::eventually(test::seconds(10), [&] { return answers(pair_); });
  if (!up) throw std::runtime_error("nginx does not answer: " + nginx_.err());
}

double measure_requests(const Pair& pair, Seconds duration, const WhileOpen& while_open) {
  const auto whole_seconds = std::to_string(std::max(1, static_cast<int>(duration.count())));
  test::Process wrk(
      {.argv = pinned(pair.client.cpu, {"wrk", "-t1", "-c" + std::to_string(kWrkConnections),
                                        "-d" + whole_seconds + "s", "http://" + pair.address(kPort).to_string() + "/"}),
       .netns = pair.client.netns,
       .cgroup = pair.client.cgroup});
  if (while_open) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    while_open(pair, kPort);
  }
  const auto exit = wrk.wait(std::chrono::duration_cast<std::chrono::milliseconds>(duration) + test::seconds(20));
  if (!exit || !exit->ok()) throw std::runtime_error("wrk: " + wrk.out() + wrk.err());
  return requests_per_second(wrk.out());
}

}  // namespace underpass::bench
