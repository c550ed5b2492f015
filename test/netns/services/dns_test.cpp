// SPDX-License-Identifier: Apache-2.0
// DNS to a ClusterIP with the resolvers that applications have: glibc, musl, busybox and c-ares, over connected and
// unconnected sockets, and over TCP. The server is dnsmasq in a backend's pod.
#include <doctest/doctest.h>

#include <optional>

#include "test/netns/services/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr const char* kDns4 = "10.96.0.10";
constexpr const char* kDns6 = "fd00:96::a";
constexpr const char* kName = "payroll.cluster.local";
constexpr const char* kKnown = "198.51.100.77";

class DnsScene {
 public:
  DnsScene() {
    const fs::path folder = scene.world.sandbox.root();
    write_atomically(folder / "names", std::string(kKnown) + " " + kName + "\n");
    scene.world.net.add("dns");
    const Place& place = scene.world.at("dns");
    server_.emplace(Command{.argv = {"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                                     "--no-hosts", "--addn-hosts=" + (folder / "names").string(), "--user=root",
                                     "--listen-address=" + place.v4 + "," + place.v6, "--bind-interfaces", "--pid-file",
                                     "--log-facility=-"},
                            .netns = place.netns});
    PodObject pod = scene.world.pod_object("shop", "dns");
    pod.labels = {{"app", "dns"}};
    scene.world.objects.put(pod);
    scene.world.objects.put(ServiceObject{
        .ns = "shop",
        .name = "dns",
        .cluster_ips = {kDns4, kDns6},
        .ports = {{.name = "dns", .port = 53, .protocol = "UDP"}, {.name = "dns-tcp", .port = 53, .protocol = "TCP"}},
        .selector = {{"app", "dns"}}});
    const ServiceTables tables = scene.tables();
    const bool up = eventually(seconds(10), [&] {
      return tables.slots(Address::of(kDns4, 53), IPPROTO_UDP).size() == 1 &&
             tables.slots(Address::of(kDns6, 53), IPPROTO_UDP).size() == 1 &&
             in_pod({"busybox", "nslookup", "-type=a", kName, kDns4}).exit.ok();
    });
    if (!up) throw std::runtime_error("no DNS: " + server_->err() + scene.world.agent.log());
  }

  // In pod "a".
  [[nodiscard]] Finished in_pod(const std::vector<std::string>& argv) const {
    return run({.argv = argv, .netns = scene.client().netns});
  }
  // The same with a resolv.conf of its own, which a mount namespace of its own has.
  [[nodiscard]] Finished with_resolver(const std::string& resolv_conf, const std::string& command) const {
    const fs::path file = scene.world.sandbox.root() / "resolv.conf";
    write_atomically(file, resolv_conf);
    return in_pod(
        {"unshare", "--mount", "sh", "-c", "mount --bind " + file.string() + " /etc/resolv.conf && exec " + command});
  }

  Scene scene;

 private:
  std::optional<Process> server_;
};

bool knows(const Finished& finished) { return finished.exit.ok() && finished.out.find(kKnown) != std::string::npos; }
std::string text(const Finished& finished) { return finished.exit.to_string() + "\n" + finished.out + finished.err; }

TEST_CASE("resolvers of all kinds resolve a name at a ClusterIP") {
  const DnsScene dns;
  for (const std::string ip : {kDns4, kDns6}) {
    CAPTURE(ip);
    const std::string conf = "nameserver " + ip + "\n";
    const std::string name = kName;
    const std::string at = ip == kDns4 ? ip : "[" + ip + "]:53";
    const std::vector<std::pair<std::string, Finished>> lookups{
        {"glibc, which connects", dns.with_resolver(conf, "getent ahostsv4 " + name)},
        {"glibc over TCP", dns.with_resolver(conf + "options use-vc\n", "getent ahostsv4 " + name)},
        {"musl, which uses sendto() and drops answers from elsewhere",
         dns.with_resolver(conf, built_program("musl_lookup").string() + " " + name)},
        {"busybox", dns.in_pod({"busybox", "nslookup", "-type=a", name, ip})},
        {"c-ares", dns.in_pod({built_program("cares_lookup"), name, at})},
    };
    for (const auto& [resolver, done] : lookups) {
      CAPTURE(resolver);
      CHECK_MESSAGE(knows(done), text(done));
    }
  }
}

}  // namespace
}  // namespace underpass::test
