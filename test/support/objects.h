// SPDX-License-Identifier: Apache-2.0
// The Kubernetes objects of a test: one YAML file each in the folder that `underpassd --source dir:` watches, always
// written whole and renamed into place.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace underpass::test {

// Values of our label and annotations; absent: the key is not in the object.
struct Settings {
  std::optional<std::string> mesh{};           // "enabled" | "disabled"
  std::optional<std::string> short_circuit{};  // "on" | "auto" | "off"
  std::optional<std::string> peers{};          // "namespace" | "mesh"
  std::optional<std::string> capture{};        // "auto" | "always"
};

struct NamespaceObject {
  std::string name;
  Settings settings{};
};

using Strings = std::map<std::string, std::string>;

struct ContainerPortObject {
  std::string name;
  int port = 0;
  std::string protocol = "TCP";
};

struct PodObject {
  std::string ns;
  std::string name;
  std::string node;
  std::string netns{};  // path; empty: no annotation
  std::vector<std::string> ips{};
  std::string service_account = "default";
  Settings settings{};
  std::string image = "app";
  Strings labels{};
  Strings annotations{};
  std::vector<ContainerPortObject> ports{};
  std::optional<bool> ready{};  // absent: no condition, which counts as ready
  bool deleting = false;
};

struct ServicePortObject {
  std::string name{};
  int port = 0;
  std::string target{};  // a number or a name; empty: as `port`
  std::string protocol = "TCP";
  int node_port = 0;  // 0: none
};

struct ServiceObject {
  std::string ns;
  std::string name;
  std::vector<std::string> cluster_ips{};  // "None": headless
  std::vector<ServicePortObject> ports{};
  Strings selector{};
  std::string type = "ClusterIP";
  std::vector<std::string> external_ips{};
  std::vector<std::string> balancer_ips{};  // status.loadBalancer
  std::string external_name{};
  int affinity_seconds = 0;  // 0: sessionAffinity None
  bool publish_not_ready = false;
  bool internal_local = false;
  Strings annotations{};
  std::string created{};  // RFC 3339
};

struct EndpointObject {
  std::string ip;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::string node{};
};

struct EndpointSliceObject {
  std::string ns;
  std::string name;
  std::string service;
  std::vector<ServicePortObject> ports{};  // their names, ports and protocols
  std::vector<EndpointObject> endpoints{};
  bool v6 = false;
};

struct NodeObject {
  std::string name;
  std::vector<std::string> addresses{};
};

class Objects {
 public:
  explicit Objects(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void put(const NamespaceObject& object) const;
  void put(const PodObject& object) const;
  void put(const ServiceObject& object) const;
  void put(const EndpointSliceObject& object) const;
  void put(const NodeObject& object) const;
  void put_service_account(const std::string& ns, const std::string& name) const;
  void remove_namespace(const std::string& name) const;
  void remove_pod(const std::string& ns, const std::string& name) const;
  void remove_service(const std::string& ns, const std::string& name) const;
  void remove_slice(const std::string& ns, const std::string& name) const;
  // Any text as a file of the folder, good or bad.
  void put_text(const std::string& file, const std::string& text) const;
  void remove_text(const std::string& file) const;

 private:
  std::filesystem::path folder_;
};

std::string to_yaml(const NamespaceObject& object);
std::string to_yaml(const PodObject& object);
std::string to_yaml(const ServiceObject& object);
// JSON, which is YAML too and decoded faster: slices are large and written often.
std::string to_yaml(const EndpointSliceObject& object);
std::string to_yaml(const NodeObject& object);

}  // namespace underpass::test
