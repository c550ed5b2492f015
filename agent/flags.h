// SPDX-License-Identifier: Apache-2.0
// What the flags of the agent and of the controller have in common.
#pragma once

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "underpass/ids.h"

namespace underpass {

inline constexpr int kStartFailure = 1;
inline constexpr int kUsage = 2;

inline const std::map<std::string, std::int64_t> kTimeUnits{{"s", 1}, {"m", 60}, {"h", 3600}};
inline constexpr std::int64_t kShortestLifetime = 2;  // seconds, of a certificate
inline constexpr std::int64_t kLongestLifetime = 30LL * 24 * 3600;

inline std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// "24h", "90m", "30s", as seconds; `unset`: what --help says of one that is not given.
inline void add_seconds(CLI::App& app, const std::string& name, std::int64_t& seconds, const std::string& unset,
                        std::int64_t least, const std::string& help) {
  app.add_option(name, seconds, help)
      ->default_str(unset)
      ->transform(CLI::AsNumberWithUnit(kTimeUnits, CLI::AsNumberWithUnit::CASE_SENSITIVE))
      ->check(CLI::Range(least, kLongestLifetime));
}

inline void add_ports(CLI::App& app, std::string& metrics, std::string& ready) {
  app.add_option("--metrics", metrics, "HOST:PORT for Prometheus, path /metrics; port 0: any.")->capture_default_str();
  app.add_option("--ready", ready, "HOST:PORT for probes, paths /healthz/ready and /healthz/live; port 0: any.")
      ->capture_default_str();
}

inline void add_log_level(CLI::App& app, std::string& level) {
  app.add_option("--log-level", level, "error, warn, info or debug.")
      ->capture_default_str()
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
}

// For CLI11: what is wrong with a text that must be NAMESPACE/NAME.
inline std::string is_namespaced_name(const std::string& text) {
  const auto slash = text.find('/');
  const bool pair = slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
                    text.find('/', slash + 1) == std::string::npos;
  return pair ? "" : text + ": must be NAMESPACE/NAME";
}

// Of one that is.
inline NamespacedName to_namespaced_name(const std::string& text) {
  const auto slash = text.find('/');
  return {.ns = text.substr(0, slash), .name = text.substr(slash + 1)};
}

inline void start_log(const char* name, const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt(name));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

}  // namespace underpass
