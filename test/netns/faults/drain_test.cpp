// SPDX-License-Identifier: Apache-2.0
// Workers that are replaced, or killed, while requests are on their way: a drain breaks none of them, a death only
// those that the worker had in its hands.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

#include "test/netns/faults/accounts.h"
#include "test/netns/faults/load.h"
#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/proxy/lines.h"

namespace underpass::test {
namespace {

ScriptServer::Answer answer_all() {
  return [](Wire& wire, const Message&) {
    wire.send(ok());
    return true;
  };
}

std::string first_of(const std::vector<std::string>& texts) { return texts.empty() ? "" : texts.front(); }

void check_unbroken(Load& load) {
  const Load::Tally tally = load.stop();
  CHECK_MESSAGE(tally.breaks == 0, tally.breaks << " of " << tally.answered << ", as " << first_of(tally.broken));
}

constexpr const char* kGrpcServer = R"(
import grpc, sys
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(8))
same = grpc.unary_unary_rpc_method_handler(lambda asked, context: asked)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('test.Echo', {'Say': same}),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
)";

// Asks from four threads over one channel until its input ends; a line for each call that failed, and their count.
constexpr const char* kGrpcClient = R"(
import grpc, signal, sys, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
say = grpc.insecure_channel(sys.argv[1]).unary_unary('/test.Echo/Say')
stop, good, lock = threading.Event(), [0], threading.Lock()
def ask():
    while not stop.is_set():
        try:
            assert say(b'hello', timeout=10) == b'hello'
            with lock:
                good[0] += 1
                if good[0] == 1: print('begun', flush=True)
        except grpc.RpcError as error:
            print('broken', error.code(), error.details(), flush=True)
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
signal.sigwait({signal.SIGTERM})
stop.set()
for thread in threads: thread.join()
print('answered', good[0], flush=True)
)";

// A server and a client of gRPC, which is HTTP/2 and POST.
class GrpcLoad {
 public:
  GrpcLoad(const Place& from, const Place& to)
      : server_(start_server(to, {"/usr/bin/python3", "-c", kGrpcServer, to.v4 + ":8080"}, 8080)),
        client_({.argv = {"/usr/bin/python3", "-c", kGrpcClient, to.v4 + ":8080"}, .netns = from.netns}) {
    if (!eventually(seconds(20), [&] { return client_.out().contains("begun"); }))
      throw std::runtime_error("no call is answered: " + client_.out() + client_.err());
  }

  void check() {
    client_.signal(SIGTERM);
    const auto exit = client_.wait(seconds(20));
    CHECK((exit && exit->ok()));
    const std::string out = client_.out();
    CHECK_MESSAGE(!out.contains("broken"), out << client_.err());
    const auto at = out.find("answered ");
    REQUIRE(at != std::string::npos);
    CHECK(std::stoul(out.substr(at + 9)) > 10);
  }

 private:
  Process server_, client_;
};

// HTTP/1 in three ways and HTTP/2, and what serves them.
class Traffic {
 public:
  explicit Traffic(const Scene& scene)
      : server_(scene.at("b"), answer_all()),
        outside_(scene.at("out"), answer_all()),
        a_(scene.at("a"), "a", scene.at("b"), server_.port()),
        in_(scene.at("out"), "in", scene.at("b"), server_.port()),
        out_(scene.at("a"), "out", scene.at("out"), outside_.port()),
        grpc_(scene.at("a"), scene.at("b")) {}

  void let_run() {
    for (Load* load : {&a_.load, &in_.load, &out_.load}) CHECK_MESSAGE(load->goes_on(), first_of(load->tally().broken));
  }
  void check() {
    for (Load* load : {&a_.load, &in_.load, &out_.load}) check_unbroken(*load);
    grpc_.check();
  }
  [[nodiscard]] std::size_t told_to_go() {
    return a_.load.tally().told_to_go + in_.load.tally().told_to_go + out_.load.tally().told_to_go;
  }

 private:
  struct Some {
    Some(const Place& from, const char* name, const Place& to, std::uint16_t port) : load(name, from, to, port, 4) {}
    Load load;
  };

  ScriptServer server_, outside_;
  Some a_, in_, out_;
  GrpcLoad grpc_;
};

void put_isolation(const Scene& scene, const std::string& isolation) {
  scene.world.objects.put_text(
      "mesh.yaml", "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\nspec: {isolation: " +
                       isolation + "}\n");
}

TEST_CASE("faults: another worker takes over under load, there and back, and no request fails") {
  const Scene scene("off", {}, "{isolation: namespace}");
  Traffic traffic(scene);
  traffic.let_run();
  for (const auto& [isolation, from, to] :
       {std::tuple{"shared", "shop", "_shared"}, {"namespace", "_shared", "shop"}}) {
    CAPTURE(std::string(isolation));
    put_isolation(scene, isolation);
    CHECK(eventually(seconds(20), [&] { return scene.worker(to).size() == 1 && scene.worker(from).empty(); }));
    traffic.let_run();
  }
  CHECK(traffic.told_to_go() > 0);
  traffic.check();
}

TEST_CASE("faults: workers are upgraded under load, and no request fails") {
  Scene scene("off",
              {.program = "other_version_agent", .more = {"--proxy", built_program("other_version_worker").string()}});
  Traffic traffic(scene);
  traffic.let_run();
  const pid_t old = scene.worker_pid();
  scene.world.agent.kill9();
  Agent next(scene.world.sandbox);
  next.start();
  CHECK(eventually(seconds(20), [&] {
    const auto now = scene.worker();
    return now.size() == 1 && now.front() != old;
  }));
  traffic.let_run();
  CHECK(traffic.told_to_go() > 0);
  traffic.check();
}

TEST_CASE("faults: a pod that is not captured any more under load: no request fails") {
  const Scene scene;
  Traffic traffic(scene);
  traffic.let_run();
  scene.world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  scene.wait_not_captured("b");
  CHECK(eventually(seconds(20), [&] { return scene.worker().empty(); }));
  traffic.let_run();
  traffic.check();
}

TEST_CASE("faults: a worker is killed under load: later requests are served, and none is told twice") {
  const Scene scene;
  const ScriptServer server(scene.at("b"), answer_all());
  Load load("k", scene.at("out"), scene.at("b"), server.port(), 8);
  REQUIRE(load.goes_on());
  const pid_t old = scene.worker_pid();
  ::kill(old, SIGKILL);
  REQUIRE(eventually(seconds(10), [&] {
    const auto now = scene.worker();
    return now.size() == 1 && now.front() != old;
  }));
  const std::size_t before = load.tally().answered;
  CHECK(load.goes_on());
  const Load::Tally tally = load.stop();
  CHECK(tally.breaks > 0);
  CHECK_MESSAGE(tally.breaks <= 16, tally.breaks << " broken, as " << first_of(tally.broken));
  // What the killed one had not written yet is lost, and nothing else.
  std::map<std::string, int> times;
  const bool all_there = eventually(seconds(10), [&] {
    times.clear();
    for (const std::string& line : access_log(scene)) {
      const auto at = line.find(R"("path":")");
      if (at != std::string::npos) ++times[line.substr(at + 8, line.find('"', at + 8) - at - 8)];
    }
    return std::all_of(tally.answered_paths.begin() + static_cast<std::ptrdiff_t>(before), tally.answered_paths.end(),
                       [&](const std::string& path) { return times.contains(path); });
  });
  CHECK(all_there);
  for (const auto& [path, count] : times) CHECK_MESSAGE(count == 1, path);
}

}  // namespace
}  // namespace underpass::test
