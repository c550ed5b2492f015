// SPDX-License-Identifier: Apache-2.0
#include "test/support/objects.h"

#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

void put_line(std::string& out, const std::string& key, const std::optional<std::string>& value) {
  if (value) out += "    " + key + ": \"" + *value + "\"\n";
}

// The metadata that both kinds share. An empty map is written as nothing at all.
std::string metadata(const std::string& names, const Settings& settings, const std::string& netns) {
  std::string labels;
  std::string annotations;
  put_line(labels, "underpass.dev/mesh", settings.mesh);
  put_line(annotations, "underpass.dev/short-circuit", settings.short_circuit);
  put_line(annotations, "underpass.dev/short-circuit-peers", settings.peers);
  if (!netns.empty()) put_line(annotations, "underpass.dev/netns", netns);
  return "metadata:\n" + names + (labels.empty() ? "" : "  labels:\n" + labels) +
         (annotations.empty() ? "" : "  annotations:\n" + annotations);
}

std::string pod_file(const std::string& ns, const std::string& name) { return "pod-" + ns + "-" + name + ".yaml"; }

}  // namespace

std::string to_yaml(const NamespaceObject& object) {
  return "apiVersion: v1\nkind: Namespace\n" + metadata("  name: " + object.name + "\n", object.settings, "");
}

std::string to_yaml(const PodObject& object) {
  std::string text =
      "apiVersion: v1\nkind: Pod\n" +
      metadata("  name: " + object.name + "\n  namespace: " + object.ns + "\n", object.settings, object.netns) +
      "spec:\n  nodeName: " + object.node + "\n  serviceAccountName: " + object.service_account +
      "\n  containers:\n  - name: app\n    image: " + object.image + "\n";
  if (object.ips.empty()) return text;
  text += "status:\n  phase: Running\n  podIP: \"" + object.ips.front() + "\"\n  podIPs:\n";
  for (const std::string& ip : object.ips) text += "  - ip: \"" + ip + "\"\n";
  return text;
}

void Objects::put(const NamespaceObject& object) const {
  put_text("namespace-" + object.name + ".yaml", to_yaml(object));
}
void Objects::put(const PodObject& object) const { put_text(pod_file(object.ns, object.name), to_yaml(object)); }

void Objects::put_service_account(const std::string& ns, const std::string& name) const {
  put_text("serviceaccount-" + ns + "-" + name + ".yaml",
           "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: " + name + "\n  namespace: " + ns + "\n");
}

void Objects::remove_namespace(const std::string& name) const { remove_text("namespace-" + name + ".yaml"); }
void Objects::remove_pod(const std::string& ns, const std::string& name) const { remove_text(pod_file(ns, name)); }
void Objects::put_text(const std::string& file, const std::string& text) const {
  write_atomically(folder_ / file, text);
}
void Objects::remove_text(const std::string& file) const { fs::remove(folder_ / file); }

}  // namespace underpass::test
