// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/enrolment.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace underpass::compile {
namespace {

template <typename T>
Chosen<T> choose(const std::optional<T>& pod, const std::optional<T>& ns, T otherwise) {
  if (pod) return {*pod, "annotation on Pod"};
  if (ns) return {*ns, "annotation on Namespace"};
  return {otherwise, "default"};
}

// "10.0.0.8, fd00::8, …", without the loopback addresses that every namespace has.
std::string list_addresses(const std::vector<IpAddress>& addresses) {
  constexpr int kListed = 8;
  std::string out;
  int count = 0;
  for (const auto& address : addresses) {
    if (!is_usable(address)) continue;
    if (count == kListed) return out + ", …";
    out += (count == 0 ? "" : ", ") + address.to_string();
    ++count;
  }
  return count == 0 ? "none" : out;
}

std::optional<std::string> find_netns_obstacle(const std::vector<IpAddress>& ips, const NetnsFact& fact,
                                               const Options& options) {
  const auto netns = "network namespace " + fact.path;
  if (fact.cookie == 0) return netns + " has no cookie: Linux 5.14 or newer is needed";
  if (fact.cookie == options.host_netns) return netns + " is the node's own, not a pod's";
  for (const auto& ip : ips) {
    if (std::ranges::find(fact.addresses, ip) == fact.addresses.end()) {
      return netns + " does not own " + ip.to_string() + " (it has " + list_addresses(fact.addresses) + ")";
    }
  }
  return std::nullopt;
}

}  // namespace

bool is_usable(const IpAddress& ip) {
  const auto bytes = std::to_array(ip.to_abi().bytes);
  if (ip.is_v4()) {
    const auto first = bytes[12];
    return first != 0 && first != 127 && first < 224;  // this network, loopback, multicast and above
  }
  const bool high_zero = std::all_of(bytes.begin(), bytes.end() - 1, [](auto byte) { return byte == 0; });
  return bytes[0] != 0xff && !(high_zero && bytes[15] <= 1);  // multicast; :: and ::1
}

bool is_wanted_in_mesh(const model::Pod& pod, const model::Namespace* ns) {
  return pod.settings.mesh.value_or(ns != nullptr && ns->settings.mesh.value_or(false));
}

Wish decide_wish(const model::Pod& pod, const model::Namespace* ns, const Options& options) {
  const model::MeshSettings of_ns = ns == nullptr ? model::MeshSettings{} : ns->settings;
  Wish wish{
      .mesh = is_wanted_in_mesh(pod, ns),
      .why_not = "",
      .short_circuit = choose(pod.settings.short_circuit, of_ns.short_circuit, model::ShortCircuit::kAuto),
      .peers =
          choose(pod.settings.short_circuit_peers, of_ns.short_circuit_peers, model::ShortCircuitPeers::kNamespace),
      .capture = choose(pod.settings.capture, of_ns.capture, model::Capture::kAuto),
      .local_mtls = choose(pod.settings.local_mtls, of_ns.local_mtls, model::LocalMtls::kAuto),
  };
  if (!wish.mesh) {
    if (pod.settings.mesh) {
      wish.why_not = "label underpass.dev/mesh: disabled on Pod";
    } else if (of_ns.mesh) {
      wish.why_not = "label underpass.dev/mesh: disabled on Namespace";
    } else {
      wish.why_not = "no label underpass.dev/mesh on Pod or Namespace";
    }
  } else if (std::ranges::find(options.detached_namespaces, pod.id.ns) != options.detached_namespaces.end()) {
    wish.mesh = false;
    wish.why_not = "namespace " + pod.id.ns + " is detached until `underpassctl attach`";
  }
  return wish;
}

std::optional<std::string> find_obstacle(const model::Pod& pod, const Result<NetnsFact>* fact, const Options& options) {
  if (pod.terminated) return "the pod has terminated";
  if (pod.host_network) return "host network: the pod has no network namespace of its own";
  if (pod.other_mesh) return "another mesh captures this pod (istio-proxy container, or Istio ambient redirection)";
  const auto& ips = addresses_of(pod, fact);
  if (ips.empty()) return "no IP address yet: status.podIP is empty";
  for (const auto& ip : ips) {
    if (!is_usable(ip)) return ip.to_string() + " is no address of a pod (loopback, unspecified or multicast)";
  }
  if (fact != nullptr && !*fact) return fact->error().message;
  if (fact != nullptr) return find_netns_obstacle(ips, **fact, options);
  if (!pod.netns_path.empty()) return "network namespace " + pod.netns_path + " was not looked at yet";
  return "its network namespace is not known: set the annotation underpass.dev/netns on the Pod, "
         "for example to /var/run/netns/" +
         pod.id.name;
}

}  // namespace underpass::compile
