// SPDX-License-Identifier: Apache-2.0
// What a kubeconfig or the pod's service account says, as a value: where the API server is, by what it is recognised,
// and who we are. Certificates and tokens that stand in files stay files here, since they change under a running agent.
#pragma once

#include <string>
#include <string_view>

#include "agent/k8s/api/api_client.h"
#include "underpass/result.h"

namespace underpass::k8s {

// PEM text, or the file in which it stands; both empty: there is none.
struct Pem {
  std::string file;
  std::string text;

  [[nodiscard]] bool empty() const { return file.empty() && text.empty(); }
};

struct ApiConfig {
  std::string server;  // for messages: "https://10.96.0.1:443"
  bool tls = true;
  std::string host;    // without brackets
  std::string port;    // "443"
  std::string prefix;  // in front of every path: "/k8s/clusters/c-1"; mostly empty

  std::string server_name;  // what the server's certificate must say; also sent as SNI unless it is an address
  bool verify = true;       // false: insecure-skip-tls-verify
  Pem ca;                   // empty: the system's

  Pem client_certificate;
  Pem client_key;
  std::string token;
  std::string token_file;
};

inline constexpr std::size_t kMaxCredentialBytes = std::size_t{1} << 20;

Result<ApiConfig> load_api_config(const ApiOptions& options);

// The current context of a kubeconfig's text. Relative paths in it are below `folder`. Plugins that make credentials
// (exec, auth-provider) are refused: they would have to be in the agent's image, and run as it.
Result<ApiConfig> parse_kubeconfig(std::string_view text, const std::string& folder);

// Fills in server, tls, host, port, prefix and server_name from "https://host[:port][/prefix]".
Result<void> parse_server(std::string_view url, ApiConfig& config);

// What a PEM is, read again from its file where it stands in one.
Result<std::string> read_pem(const Pem& pem);

}  // namespace underpass::k8s
