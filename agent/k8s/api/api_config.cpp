// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/api_config.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include "agent/k8s/field.h"
#include "agent/k8s/names.h"
#include "agent/k8s/read_file.h"

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// At the start nobody asks again: whoever has a file open for writing is waited for.
constexpr milliseconds kPatience(2000), kPause(20);

Result<std::string> read_whole(const std::string& path, milliseconds patience = milliseconds(0)) {
  for (const auto until = steady_clock::now() + patience;; std::this_thread::sleep_for(kPause)) {
    auto read = read_file(AT_FDCWD, path, kMaxCredentialBytes);
    if (read) return std::move(read->text);
    if (read.error().kind != ReadError::Kind::kWriting || steady_clock::now() >= until)
      return fail(path + ": " + read.error().cause);
  }
}

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == ':';
  });
}

std::string bracketed(const std::string& host) { return host.contains(':') ? "[" + host + "]" : host; }

Result<ApiConfig> in_cluster(const std::string& folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == '\0' || *port == '\0') {
    return fail(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: not in a pod; a kubeconfig is needed");
  }
  ApiConfig config;
  if (auto parsed = parse_server("https://" + bracketed(host) + ":" + port, config); !parsed) {
    return fail_in("KUBERNETES_SERVICE_HOST", parsed.error());
  }
  config.ca.file = folder + "/ca.crt";
  config.token_file = folder + "/token";
  if (auto ca = read_pem(config.ca); !ca) return fail_in("service account", ca.error());
  if (auto token = read_whole(config.token_file, kPatience); !token) return fail_in("service account", token.error());
  return config;
}

}  // namespace

Result<void> parse_server(std::string_view url, ApiConfig& config) {
  const auto bad = [&](std::string_view cause) { return fail(show(url) + ": " + std::string(cause)); };
  auto rest = url;
  config.tls = rest.starts_with("https://");
  if (!config.tls && !rest.starts_with("http://")) return bad("must start with https:// or http://");
  rest.remove_prefix(config.tls ? 8 : 7);

  const auto slash = std::min(rest.find('/'), rest.size());
  auto authority = rest.substr(0, slash);
  auto prefix = rest.substr(slash);
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (std::ranges::any_of(prefix, [](unsigned char c) { return c <= 0x20 || c >= 0x7f || c == '?' || c == '#'; })) {
    return bad("not a path in front of the API");
  }

  std::string_view port = config.tls ? "443" : "80";
  const bool v6 = authority.starts_with('[');
  const auto close = authority.find(']');
  if (v6 && close == std::string_view::npos) return bad("\"[\" without \"]\"");
  const auto colon = authority.find(':', v6 ? close : 0);
  if (colon != std::string_view::npos) {
    port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (v6) {
    if (authority.size() != close + 1) return bad("something between \"]\" and the port");
    authority = authority.substr(1, close - 1);
  }
  if (!is_host(authority) || v6 != authority.contains(':')) return bad("not a host name or an IP address");
  if (!parse_port(port)) return bad("not a port from 1 to 65535");

  config.host = authority;
  config.port = port;
  config.prefix = prefix;
  config.server_name = authority;
  config.server = std::string(config.tls ? "https://" : "http://") + bracketed(config.host) + ":" + config.port;
  return {};
}

Result<std::string> read_pem(const Pem& pem) {
  if (pem.file.empty()) return pem.text;
  return read_whole(pem.file);
}

Result<ApiConfig> load_api_config(const ApiOptions& options) {
  if (options.kubeconfig.empty()) return in_cluster(options.service_account_dir);
  const auto text = read_whole(options.kubeconfig, kPatience);
  if (!text) return fail_in("kubeconfig", text.error());
  const auto folder = std::filesystem::absolute(options.kubeconfig).parent_path().string();
  auto config = parse_kubeconfig(*text, folder);
  if (!config) return fail_in("kubeconfig " + options.kubeconfig, config.error());
  return config;
}

}  // namespace underpass::k8s
