// SPDX-License-Identifier: Apache-2.0
// Servers from Debian with their own clients: nginx, redis, PostgreSQL, rsync.
#include <unistd.h>

#include <regex>

#include "test/semantics/observe.h"
#include "test/semantics/programs/program.h"
#include "test/semantics/row.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr std::size_t kBig = 3u << 20;

// nginx with sendfile and TCP_DEFER_ACCEPT, and a folder to which files can be uploaded.
Command nginx(const Scene& scene, const std::filesystem::path& folder) {
  need_program("nginx");
  need_program("curl");
  std::filesystem::create_directories(folder / "files");
  std::filesystem::permissions(folder, std::filesystem::perms::all);
  std::filesystem::permissions(folder / "files", std::filesystem::perms::all);
  write_file(folder / "files" / "big", payload(0, kBig));
  write_file(folder / "nginx.conf",
             "daemon off; master_process off; user root; worker_processes 1;\n"
             "error_log stderr; pid nginx.pid;\n"
             "events { worker_connections 256; }\n"
             "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;\n"
             " client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
             " uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
             " client_body_buffer_size 16k; client_max_body_size 64m;\n"
             " server { listen " +
                 url_host(scene) +
                 ":8080 deferred; root files;\n"
                 "  location /up/ { dav_methods PUT; create_full_put_path on; } } }\n");
  return {.argv = {"nginx", "-p", folder.string() + "/", "-c", "nginx.conf"}};
}

BEHAVIOUR("programs: nginx, sendfile and a deferred listener") {
  const std::filesystem::path folder = scene.new_folder();
  const Server server(scene, nginx(scene, folder), 8080);
  const std::string url = "http://" + url_host(scene) + ":8080/big";
  const std::string got = run_client(scene, {.argv = {"curl", "-gsS", "--fail", url, url, url, url}});
  std::string wanted;
  for (int i = 0; i < 4; ++i) wanted += payload(0, kBig);
  scene.saw("four times the file", yes(got == wanted));
}

BEHAVIOUR("programs: nginx, an upload of 1 MiB") {
  const std::filesystem::path folder = scene.new_folder();
  const Server server(scene, nginx(scene, folder), 8080);
  write_file(folder / "source", payload(0, 1u << 20));
  Command curl{.argv = {"curl", "-gsS", "--fail", "--fail-early", "--max-time", "8", "-H", "Expect:"}};
  for (int i = 0; i < 8; ++i) {
    curl.argv.insert(curl.argv.end(),
                     {"-T", folder / "source", "http://" + url_host(scene) + ":8080/up/" + std::to_string(i)});
  }
  const std::string got = run_client(scene, curl);
  scene.saw("curl", got.starts_with("failed") ? got : "is content");
  int right = 0;
  for (int i = 0; i < 8; ++i) {
    const std::filesystem::path file = folder / "files" / "up" / std::to_string(i);
    right += fs::exists(file) && read_file(file) == payload(0, 1u << 20) ? 1 : 0;
  }
  scene.saw(right, "files are right");
}

BEHAVIOUR("programs: redis and its benchmark") {
  need_program("redis-server");
  need_program("redis-benchmark");
  const std::filesystem::path folder = scene.new_folder();
  const Server server(scene,
                      {.argv = {"redis-server", "--bind", server_ip(scene), "--port", "6379", "--save", "", "--dir",
                                folder, "--protected-mode", "no"}},
                      6379);
  const std::string got =
      run_client(scene, {.argv = {"redis-benchmark", "-h", server_ip(scene), "-p", "6379", "-t", "set,get,lpush", "-n",
                                  "5000", "-c", "16", "-d", "3000", "-P", "4", "-q"}});
  const std::regex result("([A-Z_0-9]+[^:\\n\\r]*): [0-9.]+ requests per second");
  for (std::sregex_iterator at(got.begin(), got.end(), result), none; at != none; ++at) scene.saw("done", (*at)[1]);
  scene.saw("errors", yes(got.find("rror") != std::string::npos || got.starts_with("failed")));
}

// Its server refuses to run as root.
std::vector<std::string> as_postgres(std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--no-new-privs"});
  return argv;
}

std::string postgres_folder() {
  for (int version = 30; version > 10; --version) {
    const std::string folder = "/usr/lib/postgresql/" + std::to_string(version) + "/bin";
    if (fs::exists(folder + "/postgres")) return folder;
  }
  throw Skip("PostgreSQL is not installed");
}

BEHAVIOUR("programs: PostgreSQL and pgbench") {
  const std::string bin = postgres_folder();
  need_program(bin + "/pgbench");
  const std::filesystem::path data = scene.shared_folder() / "postgres";
  const Place& place = scene.stage().server;
  if (!fs::exists(data)) {
    // The database is made once, by the first row's server, and used by the others.
    std::filesystem::permissions(scene.shared_folder().parent_path(), std::filesystem::perms(0755));
    std::filesystem::permissions(scene.shared_folder(), std::filesystem::perms(0777));
    run_ok({.argv = as_postgres({bin + "/initdb", "-D", data, "-A", "trust", "-N", "--no-locale", "-E", "UTF8"})},
           seconds(120));
    const std::string hba = data / "pg_hba.conf";
    write_file(hba, "host all all all trust\n");
  }
  const Server server(
      scene,
      {.argv = as_postgres({bin + "/postgres", "-D", data, "-c", "listen_addresses=" + place.v4 + "," + place.v6, "-c",
                            "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB"})},
      5432);
  const std::vector<std::string> to{"-h", server_ip(scene), "-U", "postgres"};
  const auto pgbench = [&](std::vector<std::string> more) {
    more.insert(more.begin(), to.begin(), to.end());
    more.insert(more.begin(), bin + "/pgbench");
    more.push_back("postgres");
    return run_client(scene, {.argv = more});
  };
  // It listens before it serves.
  std::vector<std::string> ready{bin + "/pg_isready", "-q"};
  ready.insert(ready.end(), to.begin(), to.end());
  if (!eventually(seconds(60), [&] { return run_client(scene, {.argv = ready}).empty(); }))
    throw std::runtime_error("postgres does not become ready");
  const std::string made = pgbench({"-i", "-q", "-s", "1"});
  scene.saw("pgbench -i", made.starts_with("failed") ? made : "is content");
  const std::string got = pgbench({"-c", "8", "-t", "40", "-n"});
  std::smatch match;
  scene.saw(std::regex_search(got, match, std::regex("actually processed: [0-9/]+")) ? match.str() : got);
  scene.saw(std::regex_search(got, match, std::regex("failed transactions: [0-9]+")) ? match.str() : got);
}

BEHAVIOUR("programs: rsync, bulk with checksums") {
  need_program("rsync");
  const std::filesystem::path folder = scene.new_folder();
  std::filesystem::create_directories(folder / "from");
  for (int i = 0; i < 40; ++i)
    write_file(folder / "from" / std::to_string(i), payload(static_cast<std::uint64_t>(i) * 1000, 100000));
  write_file(folder / "from" / "big", payload(0, 8u << 20));
  write_file(folder / "rsyncd.conf", "port = 8873\naddress = " + server_ip(scene) +
                                         "\nuse chroot = no\n[files]\npath = " + folder.string() +
                                         "/from\nuid = root\ngid = root\n");
  const Server server(
      scene, {.argv = {"rsync", "--daemon", "--no-detach", "--config=" + folder.string() + "/rsyncd.conf"}}, 8873);
  const std::string from = "rsync://" + url_host(scene) + ":8873/files/";
  const std::string got = run_client(scene, {.argv = {"rsync", "-a", "--checksum", from, folder / "to"}});
  scene.saw("rsync", got.starts_with("failed") ? got : "is content");
  int right = 0;
  for (int i = 0; i < 40; ++i)
    right += fs::exists(folder / "to" / std::to_string(i)) &&
                     read_file(folder / "to" / std::to_string(i)) == read_file(folder / "from" / std::to_string(i))
                 ? 1
                 : 0;
  scene.saw(right, "files are right; the big one",
            yes(fs::exists(folder / "to" / "big") && read_file(folder / "to" / "big") == payload(0, 8u << 20)));
}

}  // namespace
}  // namespace underpass::test
