// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/pod_cgroup.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace underpass::dataplane {
namespace {

constexpr std::string_view kSlice = ".slice";
constexpr std::string_view kPods = "kubepods";

// A pod that a path names, and below what: the path up to the first group that the kubelet made for it.
struct NamedPod {
  std::string_view root;
  PodProcess process;
};

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// A UUID, with the underscores that systemd's names have for dashes or without; or a hash.
std::optional<std::string> read_uid(std::string_view text) {
  constexpr std::size_t kHash = 32, kUuid = 36;
  if (text.size() == kHash && is_hex(text)) return std::string(text);
  if (text.size() != kUuid) return std::nullopt;
  std::string out(text);
  for (const std::size_t at : {8U, 13U, 18U, 23U}) {
    if (out[at] != '-' && out[at] != '_') return std::nullopt;
    out[at] = '0';
  }
  if (!is_hex(out)) return std::nullopt;
  for (const std::size_t at : {8U, 13U, 18U, 23U}) out[at] = '-';
  return out;
}

bool is_class(std::string_view name) { return name == "burstable" || name == "besteffort"; }

// CRI-O: "crio-conmon-<id>.scope", podman: "conmon", "libpod-conmon-<id>.scope".
bool is_helper(std::string_view part) { return part == "conmon" || part.contains("conmon-"); }

// "kubepods-burstable-pod<uid>.slice" without its ".slice"; also at the head of "….slice:cri-containerd:<id>", which a
// runtime makes of it that has another driver than the kubelet.
std::optional<std::string_view> read_slice(std::string_view part) {
  part = part.substr(0, part.find(':'));
  if (!part.ends_with(kSlice)) return std::nullopt;
  part.remove_suffix(kSlice.size());
  return part;
}

bool is_pods_slice(std::string_view slice) {
  return slice.ends_with(kPods) && (slice.size() == kPods.size() || slice[slice.size() - kPods.size() - 1] == '-');
}

std::optional<std::string> read_pod_slice(std::string_view slice) {
  const auto at = slice.rfind("-pod");
  if (at == std::string_view::npos) return std::nullopt;
  auto parent = slice.substr(0, at);
  if (const auto dash = parent.rfind('-'); dash != std::string_view::npos && is_class(parent.substr(dash + 1)))
    parent = parent.substr(0, dash);
  if (!is_pods_slice(parent)) return std::nullopt;
  return read_uid(slice.substr(at + 4));
}

std::optional<std::string> read_pod_folder(std::string_view part) {
  return part.starts_with("pod") ? read_uid(part.substr(3)) : std::nullopt;
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  for (std::size_t begin = 1; begin < path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    out.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

// How many of the groups before parts[at] are the kubelet's; nothing if such a pod cannot stand there.
std::optional<std::size_t> skip_kubelets(const std::vector<std::string_view>& parts, std::size_t at) {
  if (const auto slice = read_slice(parts[at])) {
    // systemd has a-b.slice below a.slice.
    while (at > 0) {
      const auto parent = read_slice(parts[at - 1]);
      if (!parent || !slice->starts_with(*parent) || (*slice)[parent->size()] != '-') break;
      --at;
    }
    return at;
  }
  if (at > 0 && is_class(parts[at - 1])) --at;
  if (at > 0 && parts[at - 1] == kPods) return at - 1;
  if (at > 0 && parts[at - 1] == "..") return at;
  return std::nullopt;
}

// The outermost first.
std::vector<NamedPod> named_pods(std::string_view path) {
  std::vector<NamedPod> out;
  if (!path.contains("pod")) return out;
  const auto parts = split(path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto slice = read_slice(parts[i]);
    auto uid = slice ? read_pod_slice(*slice) : read_pod_folder(parts[i]);
    if (!uid) continue;
    const auto first = skip_kubelets(parts, i);
    if (!first) continue;
    const auto length = static_cast<std::size_t>(parts[*first].data() - path.data()) - 1;
    const bool helper = i + 1 < parts.size() && is_helper(parts[i + 1]);
    out.push_back({.root = path.substr(0, length), .process = {.uid = std::move(*uid), .helper = helper}});
  }
  return out;
}

// Calls `f` with the path of each hierarchy: "4:memory:/path", "1:name=systemd:/path", "0::/path".
template <typename F>
void for_each_path(std::string_view proc_cgroup, F&& f) {
  for (std::size_t begin = 0; begin < proc_cgroup.size();) {
    const auto end = std::min(proc_cgroup.find('\n', begin), proc_cgroup.size());
    const auto line = proc_cgroup.substr(begin, end - begin);
    begin = end + 1;
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second != std::string_view::npos) f(line.substr(second + 1));
  }
}

// Where the kubelet begins that started the agent, in each hierarchy that tells.
std::vector<std::string_view> roots_of(std::string_view own) {
  std::vector<std::string_view> out;
  for_each_path(own, [&out](std::string_view path) {
    const auto pods = named_pods(path);
    if (!pods.empty()) out.push_back(pods.back().root);
  });
  return out;
}

bool is_above(std::string_view root) {
  const auto parts = split(root);
  return std::ranges::all_of(parts, [](std::string_view part) { return part == ".."; });
}

const NamedPod* choose(const std::vector<NamedPod>& pods, const std::vector<std::string_view>& roots) {
  if (pods.empty()) return nullptr;
  if (roots.empty()) {
    const auto& first = pods.front();
    return first.root.starts_with("/..") && !is_above(first.root) ? nullptr : &first;
  }
  const auto found =
      std::ranges::find_if(pods, [&](const auto& pod) { return std::ranges::find(roots, pod.root) != roots.end(); });
  return found == pods.end() ? nullptr : &*found;
}

}  // namespace

bool is_pods_root(std::string_view name) {
  if (name == kPods) return true;
  const auto slice = read_slice(name);
  return slice && is_pods_slice(*slice);
}

bool is_pod(std::string_view name) {
  const auto slice = read_slice(name);
  return (slice ? read_pod_slice(*slice) : read_pod_folder(name)).has_value();
}

std::optional<PodProcess> find_pod(std::string_view proc_cgroup, std::string_view own) {
  if (!proc_cgroup.contains("pod")) return std::nullopt;
  const auto roots = roots_of(own);
  std::optional<PodProcess> out;
  bool contradiction = false;
  for_each_path(proc_cgroup, [&](std::string_view path) {
    const auto pods = named_pods(path);
    const auto* pod = choose(pods, roots);
    if (pod == nullptr) return;
    if (!out)
      out = pod->process;
    else if (out->uid != pod->process.uid)
      contradiction = true;
    else
      out->helper = out->helper || pod->process.helper;
  });
  return contradiction ? std::nullopt : out;
}

}  // namespace underpass::dataplane
