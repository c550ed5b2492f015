// SPDX-License-Identifier: Apache-2.0
#include "test/bench/cluster_objects.h"

#include <boost/json.hpp>
#include <string>
#include <vector>

namespace underpass::bench {
namespace json = boost::json;

namespace {

// What kubelets and controllers leave in a pod and nobody here reads: managed fields, conditions, volumes.
constexpr std::size_t kPadding = 4000;

std::string address_of(int pod, int version) {
  const int number = (pod * 7 + version) % 60'000;
  return "10." + std::to_string(100 + version % 100) + "." + std::to_string(number / 250) + "." +
         std::to_string(1 + number % 250);
}

std::string namespace_of(int pod) { return "ns-" + std::to_string(pod / kPodsOfService % kClusterNamespaces); }
std::string service_of(int pod) { return "service-" + std::to_string(pod / kPodsOfService); }
std::string node_of(int pod) { return "node-" + std::to_string(pod % kClusterNodes); }

json::value pod_object(int pod, int version) {
  json::array containers;
  containers.push_back({{"name", "app"}, {"image", "registry.example/app:1"}});
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"namespace", namespace_of(pod)},
            {"name", "pod-" + std::to_string(pod)},
            {"labels", {{"app", service_of(pod)}, {"version", std::to_string(version)}}},
            {"annotations", {{"padding", std::string(kPadding, 'x')}}}}},
          {"spec", {{"nodeName", node_of(pod)}, {"serviceAccountName", "default"}, {"containers", containers}}},
          {"status", {{"phase", "Running"}, {"podIP", address_of(pod, version)}}}};
}

json::value slice_object(int pod, int version) {
  const int first = pod / kPodsOfService * kPodsOfService;
  json::array endpoints, ports;
  for (int i = first; i < first + kPodsOfService; ++i) {
    json::array addresses;
    addresses.emplace_back(address_of(i, i == pod ? version : 0));
    endpoints.push_back({{"addresses", addresses},
                         {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
                         {"nodeName", node_of(i)},
                         {"targetRef",
                          {{"kind", "Pod"},
                           {"namespace", namespace_of(i)},
                           {"name", "pod-" + std::to_string(i)},
                           {"uid", "6e9a1c58-3b7c-4b0f-9d55-0242ac120002"}}},
                         {"zone", "zone-a"}});
  }
  ports.push_back({{"name", "http"}, {"protocol", "TCP"}, {"port", 8080}});
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata",
           {{"namespace", namespace_of(pod)},
            {"name", service_of(pod) + "-abcde"},
            {"labels", {{"kubernetes.io/service-name", service_of(pod)}}}}},
          {"addressType", "IPv4"},
          {"ports", ports},
          {"endpoints", endpoints}};
}

json::value service_object(int pod) {
  json::array ports;
  ports.push_back({{"name", "http"}, {"protocol", "TCP"}, {"port", 80}});
  const int number = pod / kPodsOfService;
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"namespace", namespace_of(pod)}, {"name", service_of(pod)}}},
          {"spec",
           {{"clusterIP", "10.96." + std::to_string(number / 250) + "." + std::to_string(1 + number % 250)},
            {"ports", ports}}}};
}

}  // namespace

void put_namespace(test::FakeApi& api, const std::string& name) {
  api.put({{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}});
}

void put_cluster(test::FakeApi& api) {
  std::vector<json::value> objects;
  for (int node = 0; node < kClusterNodes; ++node) {
    objects.push_back({{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", node_of(node)}}}});
  }
  for (int pod = 0; pod < kClusterPods; ++pod) {
    objects.push_back(pod_object(pod, 0));
    if (pod % kPodsOfService != 0) continue;
    objects.push_back(service_object(pod));
    objects.push_back(slice_object(pod, 0));
  }
  api.put_all(objects);
  for (int i = 0; i < kClusterNamespaces; ++i) put_namespace(api, "ns-" + std::to_string(i));
}

void change_cluster(test::FakeApi& api, int number) {
  const int pod = number * 17 % kClusterPods;
  api.put_all({pod_object(pod, number + 1), slice_object(pod, number + 1)});
}

}  // namespace underpass::bench
