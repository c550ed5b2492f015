// SPDX-License-Identifier: Apache-2.0
// The Kubernetes objects of a test: one YAML file each in the folder that `underpassd --source dir:` watches, always
// written whole and renamed into place.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace underpass::test {

// Values of our label and annotations; absent: the key is not in the object.
struct Settings {
  std::optional<std::string> mesh{};           // "enabled" | "disabled"
  std::optional<std::string> short_circuit{};  // "on" | "auto" | "off"
  std::optional<std::string> peers{};          // "namespace" | "mesh"
};

struct NamespaceObject {
  std::string name;
  Settings settings{};
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
};

class Objects {
 public:
  explicit Objects(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void put(const NamespaceObject& object) const;
  void put(const PodObject& object) const;
  void put_service_account(const std::string& ns, const std::string& name) const;
  void remove_namespace(const std::string& name) const;
  void remove_pod(const std::string& ns, const std::string& name) const;
  // Any text as a file of the folder, good or bad.
  void put_text(const std::string& file, const std::string& text) const;
  void remove_text(const std::string& file) const;

 private:
  std::filesystem::path folder_;
};

std::string to_yaml(const NamespaceObject& object);
std::string to_yaml(const PodObject& object);

}  // namespace underpass::test
