// SPDX-License-Identifier: Apache-2.0
// What underpassctl reads from the kernel: real pinned maps of every kind, decoded by their own BTF. Needs root.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "agent/admin/detached_marker.h"
#include "test/support/temp_folder.h"
#include "test/unit/cli_btf_types.h"
#include "test/unit/cli_outcome.h"
#include "underpass/ip_address.h"

using namespace underpass;
using test::Outcome;
using test::require;
using test::run_ctl;
namespace json = boost::json;

namespace {

// A bpffs of our own; its mount is gone with the test's mount namespace at the latest.
class Bpffs {
 public:
  Bpffs() {
    require(::mount("bpf", path().c_str(), "bpf", 0, nullptr) == 0, "mount a bpffs (root is needed)");
    std::filesystem::create_directory(pins());
  }
  ~Bpffs() { ::umount2(path().c_str(), MNT_DETACH); }
  Bpffs(const Bpffs&) = delete;
  Bpffs& operator=(const Bpffs&) = delete;

  [[nodiscard]] std::string path() const { return folder_.path().string(); }
  [[nodiscard]] std::string pins() const { return path() + "/underpass"; }

 private:
  test::TempFolder folder_;
};

// The maps of cli_btf_types.bpf.c, loaded and pinned as the agent pins its own.
class PinnedMaps {
 public:
  PinnedMaps() : object_(::bpf_object__open_file(UNDERPASS_BTF_OBJECT, nullptr), &::bpf_object__close) {
    require(object_ != nullptr, "open " UNDERPASS_BTF_OBJECT);
    require(::bpf_object__load(object_.get()) == 0, "load maps (root is needed)");
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_.get()) {
      const std::string name = ::bpf_map__is_internal(map) ? "globals" : ::bpf_map__name(map);
      require(::bpf_map__pin(map, (bpffs.pins() + "/" + name).c_str()) == 0, "pin " + name);
    }
  }

  [[nodiscard]] int fd(const char* name) const { return ::bpf_object__find_map_fd_by_name(object_.get(), name); }

  template <typename Key, typename Value>
  void put(const char* name, const Key& key, const Value& value) const {
    require(::bpf_map_update_elem(fd(name), &key, &value, BPF_ANY) == 0, std::string("put into ") + name);
  }

  [[nodiscard]] json::object dump(const std::string& name) const {
    const Outcome outcome = run_ctl({"map", "dump", name, "-o", "json", "--bpffs", bpffs.path()});
    if (outcome.code != 0) throw std::runtime_error(outcome.err);
    return json::parse(outcome.out).as_object();
  }
  [[nodiscard]] json::value only_value(const std::string& name) const {
    const json::object view = dump(name);
    REQUIRE(view.at("entries").as_array().size() == 1);
    return view.at("entries").at(0).at("value");
  }

  Bpffs bpffs;

 private:
  std::unique_ptr<bpf_object, decltype(&::bpf_object__close)> object_;
};

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

up_addr address(const char* text) { return IpAddress::parse(text).value().to_abi(); }

up_ip_key ip_key(std::uint32_t number) {
  up_addr out = address("10.0.0.0");
  const std::uint32_t network_order = htonl(0x0a000000 + number);
  std::memcpy(out.bytes + 12, &network_order, sizeof(network_order));
  return {out};
}

// One program that does nothing, pinned among the maps.
void pin_program(const std::string& path) {
  const bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                           {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const UniqueFd program(::bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "nothing", "GPL", code, 2, nullptr));
  require(static_cast<bool>(program), "load a program");
  require(::bpf_obj_pin(program.get(), path.c_str()) == 0, "pin a program");
}

// Two ends of one connection over loopback.
std::pair<UniqueFd, UniqueFd> tcp_pair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  require(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
              ::listen(listener.get(), 1) == 0 &&
              ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "listen");
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  require(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, "connect");
  UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  require(static_cast<bool>(server), "accept");
  return {std::move(client), std::move(server)};
}

}  // namespace

TEST_CASE("map dump: hashes of the mesh") {
  const PinnedMaps maps;
  maps.put("up_pods", std::uint64_t{12},
           up_pod{.mode = UP_MODE_AUTO,
                  .peers_mesh = 0,
                  .namespace_id = 1,
                  .learned = 0,
                  .namespace_name = "shop",
                  .name = "web"});
  maps.put(
      "up_pods", std::uint64_t{7},
      up_pod{.mode = UP_MODE_ON, .peers_mesh = 1, .namespace_id = 2, .learned = 0, .namespace_name = "a", .name = "b"});
  CHECK(json::serialize(maps.dump("up_pods")) ==
        compact(R"({"map": "up_pods", "type": "hash", "note": null, "entries": [
    {"key": "7", "value": {"mode": "on", "peers_mesh": 1, "namespace_id": 2, "learned": 0, "hash": 0, "identity": 0, "policy": 0, "excludes": 0, "capture": 0, "ip4": "::", "ip6": "::", "namespace_name": "a", "name": "b"}},
    {"key": "12", "value": {"mode": "auto", "peers_mesh": 0, "namespace_id": 1, "learned": 0, "hash": 0, "identity": 0, "policy": 0, "excludes": 0, "capture": 0, "ip4": "::", "ip6": "::", "namespace_name": "shop", "name": "web"}}]})"));

  maps.put("up_ips", up_ip_key{address("10.0.0.7")}, up_ip{12});
  maps.put("up_ips", up_ip_key{address("fd00::7")}, up_ip{12});
  CHECK(json::serialize(maps.dump("up_ips").at("entries")) == compact(R"([
    {"key": {"addr": "fd00::7"}, "value": {"netns_cookie": "12"}},
    {"key": {"addr": "10.0.0.7"}, "value": {"netns_cookie": "12"}}])"));

  maps.put("up_excluded", up_excluded_key{.netns_cookie = 12, .port = htons(9090), .inbound = 1, .pad = 0},
           std::uint8_t{1});
  CHECK(json::serialize(maps.dump("up_excluded").at("entries")) == compact(R"([
    {"key": {"netns_cookie": "12", "port": 9090, "inbound": 1}, "value": 1}])"));
  maps.put("up_workers", std::uint64_t{12},
           up_worker{.number = 1, .dials = 64, .port4 = htons(15001), .port6 = 0, .pad = 0});
  CHECK(json::serialize(maps.only_value("up_workers")) ==
        compact(R"({"number": 1, "dials": 64, "port4": 15001, "port6": 0})"));

  up_conn conn{};
  conn.carries = 7;
  conn.way = UP_WAY_SHORT_CIRCUIT;
  conn.end[UP_SERVER].port = htons(80);
  conn.dir[UP_CLIENT].why = UP_WHY_READER_WAITS;
  maps.put("up_conns", std::uint64_t{1}, conn);
  const json::value row = maps.only_value("up_conns");
  CHECK(row.at("way") == "short-circuit");
  CHECK(row.at("carries") == "7");
  CHECK(row.at("end").at("server").at("port") == 80);
  CHECK(row.at("dir").at("client").at("why") == "reader-waits");
  CHECK(row.at("dir").at("server").at("state") == "tcp");
}

TEST_CASE("map dump: Services") {
  const PinnedMaps maps;
  up_service service{.id = 3, .slots = 1, .affinity_s = 10800, .flags = UP_SERVICE_MAGLEV, .port = htons(80)};
  service.protocol = 6;
  std::strcpy(service.namespace_name, "shop");
  std::strcpy(service.name, "web");
  maps.put("up_services", up_service_key{.addr = address("10.96.0.1"), .port = htons(80), .protocol = 6}, service);
  CHECK(json::serialize(maps.dump("up_services").at("entries")) == compact(R"([
    {"key": {"addr": "10.96.0.1", "port": 80, "protocol": "tcp"},
     "value": {"id": 3, "slots": 1, "affinity_s": 10800, "flags": ["maglev"], "port": 80, "protocol": "tcp", "v6": 0,
               "namespace_name": "shop", "name": "web"}}])"));
  maps.put("up_backends", up_backend_key{.service = 3, .slot = 0},
           up_backend{.addr = address("10.0.0.7"), .port = htons(8080)});
  CHECK(json::serialize(maps.dump("up_backends").at("entries")) == compact(R"([
    {"key": {"service": 3, "slot": 0}, "value": {"addr": "10.0.0.7", "port": 8080}}])"));
  maps.put("up_affinity", up_affinity_key{.client_netns = 12, .service = 3},
           up_affinity{.backend = {.addr = address("10.0.0.7"), .port = htons(8080)}, .last_ns = 5});
  CHECK(json::serialize(maps.dump("up_affinity").at("entries")) == compact(R"([
    {"key": {"client_netns": "12", "service": 3},
     "value": {"backend": {"addr": "10.0.0.7", "port": 8080}, "last_ns": 5, "slot": 0}}])"));
  maps.put("up_nodes", up_ip_key{address("192.168.0.1")}, std::uint32_t{1});
  CHECK(json::serialize(maps.dump("up_nodes").at("entries")) == R"([{"key":{"addr":"192.168.0.1"},"value":1}])");
  maps.put("up_traffic", up_traffic_key{.client_netns = 1, .server_netns = 2, .service = 3},
           up_traffic{.opened = 2, .closed = 1, .sent = 10, .received = 20});
  CHECK(json::serialize(maps.dump("up_traffic").at("entries")) == compact(R"([
    {"key": {"client_netns": "1", "server_netns": "2", "service": 3, "workload": 0, "tunnel": 0},
     "value": {"opened": 2, "closed": 1, "sent": 10, "received": 20, "brief": 0}}])"));
}

TEST_CASE("map dump: arrays, also per CPU") {
  const PinnedMaps maps;
  maps.put("up_config", std::uint32_t{0},
           up_config{.layout = 1,
                     .short_circuit = 1,
                     .node_budget = 1UL << 40,
                     .pod_budget = 5,
                     .dir_bytes = 6,
                     .dir_messages = 7});
  CHECK(maps.only_value("up_config").at("node_budget") == 1'099'511'627'776);
  CHECK(maps.dump("up_config").at("entries").at(0).at("key") == 0);

  const auto cpus = static_cast<std::size_t>(::libbpf_num_possible_cpus());
  std::vector<up_stats> stats(cpus);
  for (up_stats& one : stats) {
    one.connections[UP_WAY_DIRECT] = 2;
    one.redirected_bytes = 10;
    one.fallbacks[UP_WHY_NOT_LOCAL] = 1;
  }
  const std::uint32_t zero = 0;
  require(::bpf_map_update_elem(maps.fd("up_stats"), &zero, stats.data(), BPF_ANY) == 0, "put into up_stats");
  CHECK(json::serialize(maps.only_value("up_stats")) ==
        json::serialize(json::object{{"connections", {{"direct", 2 * cpus}}},
                                     {"redirected_messages", 0},
                                     {"redirected_bytes", 10 * cpus},
                                     {"fallbacks", {{"not-local", cpus}}},
                                     {"resets", json::object{}},
                                     {"flows_lost", 0}}));

  // Values that are no counters are shown one by one, each at its own 8-byte step.
  struct Slot {
    odd_inner value;
    std::uint8_t unused[4];
  };
  static_assert(sizeof(Slot) == 16);
  std::vector<Slot> inner(cpus);
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) inner[cpu].value.number = static_cast<std::int32_t>(cpu) + 1;
  require(::bpf_map_update_elem(maps.fd("percpu_inner"), &zero, inner.data(), BPF_ANY) == 0, "put into percpu_inner");
  const json::value values = maps.only_value("percpu_inner");
  REQUIRE(values.as_array().size() == cpus);
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) CHECK(values.at(cpu).at("number") == cpu + 1);

  std::vector<counters> sums(cpus, counters{.total = 1, .parts = {2, 0, 3}});
  require(::bpf_map_update_elem(maps.fd("percpu_sums"), &zero, sums.data(), BPF_ANY) == 0, "put into percpu_sums");
  CHECK(maps.only_value("percpu_sums") == json::object{{"total", cpus}, {"parts", {2 * cpus, 0, 3 * cpus}}});
}

TEST_CASE("map dump: strange values, no types, globals") {
  const PinnedMaps maps;
  odd value{};
  value.large = ODD_LARGE_HUGE;
  value.high = 5;
  maps.put("odds", std::uint64_t{1}, value);
  CHECK(maps.only_value("odds").at("large") == "huge");
  CHECK(maps.only_value("odds").at("high") == 5);

  const std::uint8_t key[8] = {32, 0, 0, 0, 10, 0, 0, 7};
  const std::uint8_t bytes[3] = {1, 2, 0xff};
  require(::bpf_map_update_elem(maps.fd("untyped"), key, bytes, BPF_ANY) == 0, "put into untyped");
  CHECK(json::serialize(maps.only_value("untyped")) == R"("0102ff")");

  const json::value globals = maps.only_value("globals");
  CHECK(globals.at("setting") == 17);
  CHECK(globals.at("pair").at("yes") == true);
}

TEST_CASE("map dump: maps of sockets show cookies") {
  const PinnedMaps maps;
  const auto [client, server] = tcp_pair();
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  require(::getsockopt(client.get(), SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0, "SO_COOKIE");
  maps.put("up_socks", cookie, static_cast<std::uint64_t>(client.get()));
  const json::object dump = maps.dump("up_socks");
  CHECK(dump.at("note") == "a map of sockets: a value is the socket's cookie");
  CHECK(json::serialize(dump.at("entries")) ==
        json::serialize(json::array{json::object{{"key", std::to_string(cookie)}, {"value", std::to_string(cookie)}}}));

  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  require(::listen(listener.get(), 1) == 0, "listen");
  require(::getsockopt(listener.get(), SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0, "SO_COOKIE");
  maps.put("up_listeners", up_listener_key{.netns_cookie = 12, .direction = UP_INBOUND, .v6 = 0},
           static_cast<std::uint64_t>(listener.get()));
  CHECK(json::serialize(maps.dump("up_listeners").at("entries")) ==
        R"([{"key":{"netns_cookie":"12","direction":"inbound","v6":0},"value":")" + std::to_string(cookie) + R"("}])");

  // Values of 4 bytes have no room for a cookie.
  maps.put("narrow_socks", cookie, static_cast<std::uint32_t>(server.get()));
  const json::object narrow = maps.dump("narrow_socks");
  CHECK(narrow.at("note") == "values cannot be read: No space left on device");
  CHECK(narrow.at("entries").at(0).at("value") == nullptr);
}

TEST_CASE("map dump: what cannot be listed says so") {
  const PinnedMaps maps;
  CHECK(maps.dump("up_sk").at("note").as_string().starts_with("its values live in the objects they belong to"));
  CHECK(maps.dump("ring").at("note").as_string().starts_with("a stream of events"));
  CHECK(maps.dump("queue").at("note") == "the kernel cannot list maps of type queue");
  for (const char* name : {"up_sk", "ring", "queue"}) CHECK(maps.dump(name).at("entries").as_array().empty());
}

TEST_CASE("map dump: a map that changes all the time") {
  const PinnedMaps maps;
  constexpr std::uint32_t kSteady = 200;
  for (std::uint32_t i = 0; i < kSteady; ++i) maps.put("up_ips", ip_key(i), up_ip{i});
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    const int fd = maps.fd("up_ips");
    for (std::uint32_t i = 0; !stop; i = (i + 1) % 500) {
      const up_ip_key key = ip_key(1000 + i);
      const up_ip value{i};
      ::bpf_map_update_elem(fd, &key, &value, BPF_ANY);
      ::bpf_map_delete_elem(fd, &key);
    }
  });
  for (int round = 0; round < 50; ++round) {
    const json::object dump = maps.dump("up_ips");
    CHECK(dump.at("note") == nullptr);
    std::set<std::string> keys;
    for (const json::value& entry : dump.at("entries").as_array()) {
      CHECK(keys.insert(json::serialize(entry.at("key"))).second);
    }
    std::size_t steady = 0;
    for (std::uint32_t i = 0; i < kSteady; ++i) {
      steady += keys.count(R"({"addr":")" + IpAddress(ip_key(i).addr).to_string() + R"("})");
    }
    CHECK(steady == kSteady);
  }
  stop = true;
  writer.join();
}

TEST_CASE("underpassctl map: list and dump") {
  const PinnedMaps maps;
  pin_program(maps.bpffs.pins() + "/a_program");
  std::filesystem::create_directory(maps.bpffs.pins() + "/a_folder");
  maps.put("up_pods", std::uint64_t{7},
           up_pod{.mode = UP_MODE_ON,
                  .peers_mesh = 0,
                  .namespace_id = 1,
                  .learned = 0,
                  .namespace_name = "shop",
                  .name = "web"});
  const std::vector<std::string> bpffs{"--bpffs", maps.bpffs.path()};
  const auto ctl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), bpffs.begin(), bpffs.end());
    return run_ctl(arguments);
  };

  const Outcome list = ctl({"map", "list"});
  CAPTURE(list.out);
  CHECK(list.code == 0);
  CHECK(list.err.empty());
  CHECK(list.out.contains("\nup_pods       hash                1      1024   8 B  392 B\n"));
  CHECK(list.out.contains("\nup_sk         sk_storage          -         -   4 B  112 B\n"));
  CHECK(!list.out.contains("a_program"));
  CHECK(!list.out.contains("a_folder"));
  const json::array rows = json::parse(ctl({"map", "list", "-o", "json"}).out).as_array();
  CHECK(rows.size() == 26);

  CHECK(ctl({"map", "dump", "up_pods"}).out ==
        "up_pods: hash, 1 entry of 1024\n"
        "\n"
        "KEY  MODE  PEERS_MESH  NAMESPACE_ID  LEARNED  HASH  IDENTITY  POLICY  EXCLUDES  CAPTURE  IP4  IP6  "
        "NAMESPACE_NAME  NAME\n"
        "7    on    0           1             0        0     0         0       0         0        ::   ::   shop      "
        "      web\n");
  CHECK(json::parse(ctl({"map", "dump", "up_pods", "-o", "json"}).out).at("map") == "up_pods");

  const Outcome all = ctl({"map", "dump", "all"});
  CHECK(all.code == 0);
  CHECK(all.out.contains("\n\nup_pods: hash, 1 entry of 1024\n\n"));
  CHECK(json::parse(ctl({"map", "dump", "all", "-o", "json"}).out).as_array().size() == rows.size());

  for (const char* missing : {"nope", "a_program", "a_folder", "../underpass/up_pods", ".", "", "up_pods/"}) {
    CAPTURE(missing);
    const Outcome outcome = ctl({"map", "dump", missing});
    CHECK(outcome.code == 4);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.contains("`underpassctl map list` shows those there are"));
  }
}

TEST_CASE("underpassctl map: nothing is pinned") {
  test::TempFolder folder;
  const std::string note =
      "no maps in " + (folder / "underpass").string() + ": nothing is attached, or the agent has another --bpffs\n";
  const Outcome list = run_ctl({"map", "list", "--bpffs", folder.path()});
  CHECK(list.code == 0);
  CHECK(list.out == "NAME  TYPE  ENTRIES  CAPACITY  KEY  VALUE\n");
  CHECK(list.err == note);
  CHECK(run_ctl({"map", "dump", "all", "--bpffs", folder.path()}).err == note);
  CHECK(run_ctl({"map", "dump", "all", "-o", "json", "--bpffs", folder.path()}).out == "[]\n");
  CHECK(run_ctl({"map", "dump", "up_pods", "--bpffs", folder.path()}).code == 4);
}

TEST_CASE("underpassctl check: without an agent the kernel is asked") {
  test::TempFolder folder;
  const Outcome outcome = run_ctl({"check", "-o", "json", "--run-dir", folder.path()});
  const json::array rows = json::parse(outcome.out).as_array();
  REQUIRE(!rows.empty());
  bool good = true;
  for (const json::value& row : rows) good = good && row.at("result") != "tcp";
  CHECK(outcome.code == (good ? 0 : 1));
}

TEST_CASE("underpassctl detach: without an agent and without pins there is the marker alone") {
  const Bpffs bpffs;
  test::TempFolder folder;
  const auto ctl = [&](const char* command) {
    return run_ctl({command, "--run-dir", folder.path(), "--state-dir", folder / "state", "--bpffs", bpffs.path()});
  };
  const Outcome detached = ctl("detach");
  CAPTURE(detached.err);
  CHECK(detached.code == 0);
  CHECK(detached.out.ends_with("; it stays so until `underpassctl attach`\n"));
  const admin::DetachedMarker marker = admin::load_detached_marker(folder / "state").value();
  CHECK(marker.node);
  CHECK(marker.since.ends_with("Z"));
  CHECK(ctl("detach").code == 0);
  CHECK(admin::load_detached_marker(folder / "state").value() == marker);
  CHECK(ctl("attach").code == 0);
  CHECK(admin::load_detached_marker(folder / "state").value().is_empty());
}

TEST_CASE("underpassctl: an output that is full or gone") {
  const auto exit_code_of = [](int output) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(output, STDOUT_FILENO);
      ::execl(UNDERPASSCTL, "underpassctl", "version", nullptr);
      ::_exit(127);
    }
    int status = 0;
    require(::waitpid(child, &status, 0) == child, "wait for underpassctl");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  };
  int pipe[2];
  require(::pipe2(pipe, O_CLOEXEC) == 0, "pipe");
  ::close(pipe[0]);
  CHECK(exit_code_of(pipe[1]) == 0);  // `| head` has seen enough
  ::close(pipe[1]);
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  CHECK(exit_code_of(full.get()) == 1);
}
