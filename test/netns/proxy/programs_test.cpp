// SPDX-License-Identifier: Apache-2.0
// Real servers and their own clients with a worker between them.
#include <doctest/doctest.h>

#include <fstream>
#include <regex>

#include "test/netns/proxy/lines.h"
#include "test/support/files.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

struct Ends {
  const char* client;
  const char* server;
};
constexpr Ends kEnds[] = {{"a", "b"}, {"out", "b"}, {"a", "out"}};

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  if (!(out << text).flush()) throw std::runtime_error("cannot write " + path.string());
}

fs::path new_folder(const Scene& scene, const std::string& name) {
  fs::permissions(scene.world.sandbox.root(), fs::perms(0755));
  const fs::path folder = scene.world.sandbox.root() / name;
  fs::create_directories(folder);
  fs::permissions(folder, fs::perms(0777));
  return folder;
}

std::string url_host(const Place& place, int family) { return family == AF_INET ? place.v4 : "[" + place.v6 + "]"; }

// Waits until the server, in the pod `name`, lets itself be dialled there.
Process start(const Scene& scene, const char* name, Command command, std::uint16_t port) {
  command.netns = scene.at(name).netns;
  Process process(command);
  const bool up = eventually(seconds(30), [&] {
    for (const int family : kFamilies) {
      try {
        connect_from({.netns = scene.at(name).netns}, Address::of(scene.at(name).ip(family), port));
      } catch (const std::exception&) {
        return false;
      }
    }
    return true;
  });
  if (!up) throw std::runtime_error(command.argv.at(0) + " does not answer: " + process.out() + process.err());
  return process;
}

// Runs `body(server, client, host family)` for everyone's client and each server, which `start_in` starts in its pod.
template <typename Start, typename Body>
void for_all(const Scene& scene, Start start_in, Body body) {
  for (const char* server : {"b", "out"}) {
    const Process process = start_in(server);
    for (const Ends& ends : kEnds) {
      if (std::string(ends.server) != server) continue;
      for (const int family : kFamilies) {
        CAPTURE(ends.client);
        CAPTURE(ends.server);
        CAPTURE(family);
        const std::uint64_t before = scene.world.established(UP_WAY_PROXIED);
        body(ends.server, ends.client, family);
        CHECK(scene.world.established(UP_WAY_PROXIED) > before);
      }
    }
  }
}

TEST_CASE("proxy: nginx, kept alive, and a large file") {
  const Scene scene;
  const fs::path folder = new_folder(scene, "nginx");
  std::string big(16u << 20, '\0');
  Payload(7).fill(0, big);
  write_file(folder / "big", big);
  write_file(folder / "small", "small");
  const auto start_in = [&](const char* pod) {
    write_file(folder / "nginx.conf",
               "daemon off; master_process off; user root; worker_processes 1;\n"
               "error_log stderr; pid nginx.pid;\nevents { worker_connections 256; }\n"
               "http { access_log off; sendfile on; client_body_temp_path t; proxy_temp_path t;\n"
               " fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n"
               " server { listen " +
                   url_host(scene.at(pod), AF_INET) + ":8080; listen " + url_host(scene.at(pod), AF_INET6) +
                   ":8080; root " + folder.string() + "; } }\n");
    return start(scene, pod, {.argv = {"nginx", "-p", folder.string() + "/", "-c", "nginx.conf", "-e", "stderr"}},
                 8080);
  };
  for_all(scene, start_in, [&](const char* server, const char* client, int family) {
    const std::string url = "http://" + url_host(scene.at(server), family) + ":8080/";
    const fs::path got = folder / "got";
    std::vector<std::string> argv{"curl", "-gsS", "--fail", "-w", "%{num_connects} "};
    for (int i = 0; i < 5; ++i) argv.insert(argv.end(), {"-o", folder / "none", url + "small"});
    argv.insert(argv.end(), {"-o", got, url + "big"});
    CHECK(run_ok({.argv = argv, .netns = scene.at(client).netns}) == "1 0 0 0 0 0 ");
    CHECK(read_file(got) == big);
  });
}

TEST_CASE("proxy: redis and its benchmark, pipelined") {
  const Scene scene;
  const fs::path folder = new_folder(scene, "redis");
  const auto start_in = [&](const char* pod) {
    const Place& at = scene.at(pod);
    return start(scene, pod,
                 {.argv = {"redis-server", "--bind", at.v4, at.v6, "--port", "6379", "--save", "", "--dir", folder,
                           "--protected-mode", "no"}},
                 6379);
  };
  for_all(scene, start_in, [&](const char* server, const char* client, int family) {
    const std::string got = run_ok({.argv = {"redis-benchmark", "-h", scene.at(server).ip(family), "-t",
                                             "set,get,lpush", "-n", "3000", "-c", "16", "-d", "3000", "-P", "8", "-q"},
                                    .netns = scene.at(client).netns});
    for (const char* command : {"SET: ", "GET: ", "LPUSH: "}) CHECK(got.find(command) != std::string::npos);
    CHECK(got.find("rror") == std::string::npos);
  });
}

std::string postgres_folder() {
  for (int version = 30; version > 10; --version) {
    const std::string folder = "/usr/lib/postgresql/" + std::to_string(version) + "/bin";
    if (fs::exists(folder + "/postgres")) return folder;
  }
  throw std::runtime_error("PostgreSQL is not installed: scripts/setup does that");
}

// Its server refuses to run as root.
std::vector<std::string> as_postgres(std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--no-new-privs"});
  return argv;
}

TEST_CASE("proxy: PostgreSQL, psql and pgbench") {
  const Scene scene;
  const std::string bin = postgres_folder();
  const fs::path data = new_folder(scene, "postgres") / "data";
  run_ok({.argv = as_postgres({bin + "/initdb", "-D", data, "-A", "trust", "-N", "--no-locale", "-E", "UTF8"})},
         seconds(120));
  write_file(data / "pg_hba.conf", "host all all all trust\n");
  const auto start_in = [&](const char* pod) {
    const Place& at = scene.at(pod);
    Process process =
        start(scene, pod,
              {.argv = as_postgres({bin + "/postgres", "-D", data, "-c", "listen_addresses=" + at.v4 + "," + at.v6,
                                    "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB"})},
              5432);
    const Command ready{.argv = {bin + "/pg_isready", "-q", "-h", at.v4}, .netns = at.netns};
    if (!eventually(seconds(30), [&] { return run(ready).exit.ok(); }))
      throw std::runtime_error("postgres does not become ready: " + process.err());
    return process;
  };
  bool made = false;
  for_all(scene, start_in, [&](const char* server, const char* client, int family) {
    const std::vector<std::string> to{"-h", scene.at(server).ip(family), "-U", "postgres"};
    const auto ask = [&](std::vector<std::string> argv, std::vector<std::string> more) {
      argv.insert(argv.end(), to.begin(), to.end());
      argv.insert(argv.end(), more.begin(), more.end());
      const Finished done = run({.argv = argv, .netns = scene.at(client).netns}, seconds(60));
      CHECK_MESSAGE(done.exit.ok(), done.out << done.err);
      return done.out;
    };
    const std::string rows = ask({bin + "/psql", "-At"}, {"-c", "select i from generate_series(1, 100000) i"});
    CHECK(std::ranges::count(rows, '\n') == 100000);
    CHECK(rows.ends_with("\n100000\n"));
    if (!std::exchange(made, true)) ask({bin + "/pgbench", "-i", "-q", "-s", "1"}, {"postgres"});
    const std::string got = ask({bin + "/pgbench", "-c", "4", "-t", "25", "-n"}, {"postgres"});
    CHECK(got.find("actually processed: 100/100") != std::string::npos);
  });
}

}  // namespace
}  // namespace underpass::test
