// SPDX-License-Identifier: Apache-2.0
#include "test/netns/http/programs.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {

std::uint64_t HttpGround::worker_rss_kib() const {
  const std::string text = read_file("/proc/" + std::to_string(scene.worker_pid()) + "/status");
  return std::stoull(text.substr(text.find("VmRSS:") + 6));
}

Process start_server(const Place& place, std::vector<std::string> argv, std::uint16_t port) {
  const std::string name = argv.at(0);
  Process process({.argv = std::move(argv), .netns = place.netns});
  const bool is_up = eventually(seconds(20), [&] {
    try {
      connect_from({.netns = place.netns}, Address::of(place.v4, port));
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!is_up) throw std::runtime_error(name + " does not answer: " + process.out() + process.err());
  return process;
}

std::string run_client(const Place& place, std::vector<std::string> argv, milliseconds deadline) {
  return run_ok({.argv = std::move(argv), .netns = place.netns}, deadline);
}

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  if (!(out << text).flush()) throw std::runtime_error("cannot write " + path.string());
}

Nginx::Nginx(const HttpGround& ground, const char* pod, const std::string& more_locations)
    : folder_(ground.scene.world.sandbox.root() / ("nginx-" + std::string(pod))), files_(folder_ / "files") {
  fs::remove_all(folder_);  // of an earlier one in this pod
  fs::create_directories(files_);
  const Place& place = ground.at(pod);
  base_ = "http://" + place.v4 + ":" + std::to_string(kNginxPort);
  write_file(folder_ / "nginx.conf",
             "daemon off; master_process off; user root; error_log stderr; pid nginx.pid;\n"
             "events { worker_connections 2048; }\n"
             "http {\n"
             " log_format short '$request_method $request_uri $status $body_bytes_sent $connection';\n"
             " access_log access.log short; sendfile on; client_max_body_size 0; keepalive_requests 1000000;\n"
             " default_type text/plain; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t;\n"
             " uwsgi_temp_path t; scgi_temp_path t; etag on;\n"
             " server { listen " +
                 place.v4 + ":" + std::to_string(kNginxPort) + " backlog=2048; root " + files_.string() +
                 ";\n"
                 "  location /up/ { dav_methods PUT DELETE; create_full_put_path on; }\n"
                 "  location /text { return 200 'from memory'; }\n"
                 "  location /none { return 204; }\n"
                 "  location /zip/ { gzip on; gzip_min_length 1; gzip_types *; alias " +
                 files_.string() +
                 "/; }\n"
                 "  location /trailer/ { add_trailer X-Checked yes always; alias " +
                 files_.string() + "/; }\n" + more_locations + "} }\n");
  process_ =
      start_server(place, {"nginx", "-p", folder_.string() + "/", "-c", "nginx.conf", "-e", "stderr"}, kNginxPort);
}

std::vector<std::string> Nginx::log() const {
  std::vector<std::string> out;
  std::istringstream lines(read_file(folder_ / "access.log"));
  for (std::string line; std::getline(lines, line);) out.push_back(line);
  return out;
}

}  // namespace underpass::test
