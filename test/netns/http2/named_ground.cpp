// SPDX-License-Identifier: Apache-2.0
#include "test/netns/http2/named_ground.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

std::uint64_t revision_of(const Scene& scene) {
  return scene.world.ctl.json({"proxy", "config", "shop/b"}).at("config").at("revision").to_number<std::uint64_t>();
}

std::string service_of(const std::string& address) {
  std::string ports;
  for (const auto& [name, port, protocol] :
       {std::tuple{"one", kHttp1Port, "http"}, std::tuple{"http2-web", kHttp2Port, ""},
        std::tuple{"two", kH2cPort, "kubernetes.io/h2c"}, std::tuple{"grpc-cart", kGrpcPort, ""}}) {
    ports += std::string("{name: ") + name + ", port: " + std::to_string(port);
    ports += *protocol == '\0' ? "}, " : std::string(", appProtocol: ") + protocol + "}, ";
  }
  return "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: named}\nspec: {clusterIP: None, ports: [" +
         ports + "]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: shop, name: " +
         "named-1, labels: {kubernetes.io/service-name: named}}\naddressType: IPv4\nports: [" + ports +
         "]\nendpoints: [{addresses: [" + address + "]}]\n";
}

}  // namespace

NamedGround::NamedGround() {
  const auto before = revision_of(scene);
  scene.world.objects.put_text("named.yaml", service_of(scene.at("b").v4));
  const bool there = eventually(seconds(10), [&] {
    const auto now = revision_of(scene);
    return now > before && scene.world.agent.log().contains("config-in-force revision=" + std::to_string(now));
  });
  if (!there) throw std::runtime_error("the worker does not know the named ports\n" + scene.world.agent.log());
}

std::vector<json::object> request_lines(const Scene& scene, std::size_t count) {
  std::vector<json::object> out;
  const auto read = [&] {
    out.clear();
    std::istringstream lines(scene.world.agent.log());
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with('{') && line.contains("\"method\":")) out.push_back(json::parse(line).as_object());
    return out.size();
  };
  if (!eventually(seconds(10), [&] { return read() >= count; }))
    throw std::runtime_error("the access log has " + std::to_string(out.size()) + " lines of requests, not " +
                             std::to_string(count) + "\n" + scene.world.agent.log());
  (void)eventually(milliseconds(300), [&] { return read() > count; });
  return out;
}

double metric_sum(const Scene& scene, const std::string& name, const std::vector<std::string>& labels, double wanted) {
  const auto listen = text_of(scene.world.ctl.json({"status"}).at("listen").at("metrics"));
  double sum = 0;
  (void)eventually(seconds(10), [&] {
    sum = 0;
    std::istringstream lines(run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}}));
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(name + "{") &&
          std::ranges::all_of(labels, [&](const auto& label) { return line.contains(label); }))
        sum += std::stod(line.substr(line.rfind(' ')));
    return sum >= wanted;
  });
  return sum;
}

bool is_skipped(const std::string& what, const std::string& program) {
  std::istringstream folders(std::string(std::getenv("PATH")) + ":/usr/sbin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (fs::exists(fs::path(folder) / program)) return false;
  std::cout << "SKIPPED: " << what << ": " << program << " is not installed\n";
  return true;
}

std::string program_text(const std::string& name) { return read_file(std::string(UNDERPASS_PROGRAMS) + "/" + name); }

}  // namespace underpass::test
