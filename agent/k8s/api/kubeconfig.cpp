// SPDX-License-Identifier: Apache-2.0
// The current context of a kubeconfig (v1 Config of client-go's clientcmd/api), and of its cluster and user the fields
// that Underpass can honour. A field that would change whom we talk to or who we are, and that is not honoured, is
// refused and not overlooked.
#include <boost/json/value.hpp>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "agent/k8s/api/api_config.h"
#include "agent/k8s/base64.h"
#include "agent/k8s/field.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

class Reader {
 public:
  Reader(const Field& root, std::string folder) : root_(root), folder_(std::move(folder)) {}

  ApiConfig read() {
    const auto current = root_["current-context"];
    const auto name = text(current);
    if (name.empty()) {
      current.refuse_field("missing");
      return {};
    }
    const auto context = find("contexts", name, "context", current);
    if (!context) return {};
    read_named(*context, "cluster", "clusters", &Reader::read_cluster);
    if (context->operator[]("user").present()) read_named(*context, "user", "users", &Reader::read_user);
    return config_;
  }

 private:
  static std::string text(const Field& field) { return field.string().value_or(""); }

  // Of the list's elements the one with this name; where there is none, `said_at` is what is wrong.
  std::optional<Field> find(std::string_view list, const std::string& name, std::string_view member,
                            const Field& said_at) {
    for (const auto& element : root_[list].elements()) {
      if (element["name"].string() == name) return element[member];
    }
    said_at.refuse("no such entry in " + std::string(list));
    return std::nullopt;
  }

  void read_named(const Field& context, std::string_view key, std::string_view list,
                  void (Reader::*read)(const Field&)) {
    const auto field = context[key];
    const auto name = text(field);
    if (name.empty()) return field.refuse_field("missing");
    if (const auto found = find(list, name, key, field)) (this->*read)(*found);
  }

  static void refuse_all(const Field& object, std::initializer_list<std::string_view> keys, std::string_view cause) {
    for (const auto key : keys) {
      if (object[key].present()) object[key].refuse_field(cause);
    }
  }

  // `KEY-data` wins over `KEY`, as in kubectl.
  Pem read_pem(const Field& object, std::string_view key, std::string_view data_key) {
    const auto data = object[data_key];
    if (const auto encoded = text(data); !encoded.empty()) {
      auto decoded = decode_base64(encoded);
      if (!decoded) data.refuse_field("not base64");
      return {.file = {}, .text = decoded.value_or("")};
    }
    return {.file = path(object[key]), .text = {}};
  }

  [[nodiscard]] std::string path(const Field& field) const {
    const auto said = text(field);
    return said.empty() ? "" : (std::filesystem::path(folder_) / said).string();
  }

  void read_cluster(const Field& cluster) {
    refuse_all(cluster, {"proxy-url"}, "HTTP proxies are not supported");
    const auto server = cluster["server"];
    const auto url = text(server);
    if (url.empty()) return server.refuse_field("missing");
    if (auto parsed = parse_server(url, config_); !parsed) return server.refuse_field(parsed.error().message);
    config_.ca = read_pem(cluster, "certificate-authority", "certificate-authority-data");
    if (auto name = text(cluster["tls-server-name"]); !name.empty()) config_.server_name = std::move(name);
    config_.verify = !cluster["insecure-skip-tls-verify"].boolean().value_or(false);
    if (!config_.verify && !config_.ca.empty()) {
      cluster["insecure-skip-tls-verify"].refuse_field("must not be true where there is a certificate-authority");
    }
  }

  void read_user(const Field& user) {
    refuse_all(user, {"exec", "auth-provider"}, "credential plugins are not supported; use a token or a certificate");
    refuse_all(user, {"username", "password"}, "API servers do not know passwords any more");
    refuse_all(user, {"as", "as-uid", "as-groups", "as-user-extra"}, "to act as somebody else is not supported");
    config_.client_certificate = read_pem(user, "client-certificate", "client-certificate-data");
    config_.client_key = read_pem(user, "client-key", "client-key-data");
    if (config_.client_certificate.empty() != config_.client_key.empty()) {
      user[config_.client_key.empty() ? "client-key" : "client-certificate"].refuse_field(
          "missing: a certificate and its key go together");
    }
    // As in kubectl the file wins; the text beside it is what was in it once.
    config_.token_file = path(user["tokenFile"]);
    if (config_.token_file.empty()) config_.token = text(user["token"]);
  }

  const Field root_;
  std::string folder_;
  ApiConfig config_;
};

}  // namespace

Result<ApiConfig> parse_kubeconfig(std::string_view text, const std::string& folder) {
  const auto documents = parse_yaml(text);
  if (!documents) return fail("line " + std::to_string(documents.error().line) + ": " + documents.error().cause);
  if (documents->size() != 1) return fail("must be one document, not " + std::to_string(documents->size()));
  Findings findings;
  auto config = Reader(Field(documents->front().value, findings), folder).read();
  if (findings.error) return fail(findings.error->path + ": " + findings.error->cause);
  return config;
}

}  // namespace underpass::k8s
