// SPDX-License-Identifier: Apache-2.0
// What a container runtime asks of the plugin, by environment and standard input (CNI specification 1.1.0, §2), read
// into one value. Pure: it opens nothing.
#pragma once

#include <array>
#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include "agent/cni/protocol.h"

namespace underpass::cni {

// Versions of the specification in which plugins can be chained and ours does all that is asked.
inline constexpr std::array<std::string_view, 4> kCniVersions{"0.3.1", "0.4.0", "1.0.0", "1.1.0"};
bool is_supported(std::string_view version);

// §5 of the specification; from 100 a plugin's own.
enum class CniCode {
  kVersion = 1,
  kEnvironment = 4,
  kNotJson = 6,
  kConfiguration = 7,
  kTryLater = 11,
};

struct CniError {
  CniCode code;
  std::string message;
};

struct Environment {
  std::string command;       // CNI_COMMAND
  std::string container_id;  // CNI_CONTAINERID
  std::string netns;         // CNI_NETNS
  std::string interface;     // CNI_IFNAME
  std::string args;          // CNI_ARGS: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"

  static Environment of_process();
};

// Our entry in the list.
struct Settings {
  std::string socket = "/run/underpass/cni.sock";
  std::string enrolment = "/var/lib/underpass/enrolment.json";
  std::chrono::seconds timeout{20};  // how long an agent may think about a pod of the mesh
};

struct Call {
  std::string version;
  Request request;  // pod is empty where no kubelet asked for this sandbox
  std::string netns;
  Settings settings;
  std::string result;  // of the plugins before us, in the version that is asked for
};

// The version that the configuration asks for; empty where it does not say one, or is no JSON.
std::string version_of(std::string_view input);

// ADD, CHECK and DEL.
std::expected<Call, CniError> decode_call(const Environment& environment, std::string_view input);

}  // namespace underpass::cni
