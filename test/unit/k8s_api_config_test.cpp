// SPDX-License-Identifier: Apache-2.0
// Whom a kubeconfig and a service account make us talk to and as whom, and tokens that change in their file.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "agent/k8s/api/api_config.h"
#include "agent/k8s/api/token_source.h"
#include "test/support/temp_folder.h"
#include "underpass/unique_fd.h"

namespace underpass::k8s {
namespace {

using test::TempFolder;

std::string kubeconfig(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
         "contexts: [{name: there, context: {cluster: x, user: x}}, {name: here, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {" +
         cluster + "}}]\nusers: [{name: u, user: {" + user + "}}]\n";
}

// What a configuration comes to, in one line.
std::string text_of(const Result<ApiConfig>& config) {
  if (!config) return config.error().message;
  const auto pem = [](const std::string& name, const Pem& pem) {
    return pem.empty() ? "" : " " + name + "=" + (pem.file.empty() ? "'" + pem.text + "'" : pem.file);
  };
  return config->server + config->prefix + (config->server_name == config->host ? "" : " as " + config->server_name) +
         (config->verify ? "" : " unverified") + pem("ca", config->ca) + pem("cert", config->client_certificate) +
         pem("key", config->client_key) + (config->token.empty() ? "" : " token=" + config->token) +
         (config->token_file.empty() ? "" : " token-file=" + config->token_file);
}

TEST_CASE("kubeconfig: the current context's cluster and user") {
  const struct {
    const char* cluster;
    const char* user;
    const char* expected;
  } rows[] = {
      {"server: 'https://k.example'", "", "https://k.example:443"},
      {"server: 'https://10.0.0.1:6443/'", "token: abc", "https://10.0.0.1:6443 token=abc"},
      {"server: 'https://[fd00::1]:6443/k8s/c-1/'", "", "https://[fd00::1]:6443/k8s/c-1"},
      {"server: 'http://127.0.0.1:8001'", "", "http://127.0.0.1:8001"},
      {"server: 'http://localhost'", "", "http://localhost:80"},
      {"server: 'https://k', tls-server-name: other", "", "https://k:443 as other"},
      {"server: 'https://k', insecure-skip-tls-verify: true", "", "https://k:443 unverified"},
      {"server: 'https://k', certificate-authority: pki/ca.crt", "", "https://k:443 ca=/etc/kube/pki/ca.crt"},
      {"server: 'https://k', certificate-authority: /pki/ca.crt", "", "https://k:443 ca=/pki/ca.crt"},
      {"server: 'https://k', certificate-authority-data: aGFsbG8=, certificate-authority: x", "",
       "https://k:443 ca='hallo'"},
      {"server: 'https://k'", "client-certificate: c.pem, client-key-data: a2V5",
       "https://k:443 cert=/etc/kube/c.pem key='key'"},
      {"server: 'https://k'", "tokenFile: t, token: old", "https://k:443 token-file=/etc/kube/t"},
      {"server: 'https://k', certificate-authority-data: '*'", "",
       "clusters[0].cluster[certificate-authority-data]: not base64"},
      {"server: 'https://k', proxy-url: 'http://p'", "",
       "clusters[0].cluster[proxy-url]: HTTP proxies are not supported"},
      {"server: 'https://k', insecure-skip-tls-verify: true, certificate-authority: x", "",
       "clusters[0].cluster[insecure-skip-tls-verify]: must not be true where there is a certificate-authority"},
      {"server: 'https://k', insecure-skip-tls-verify: 'no'", "",
       "clusters[0].cluster[insecure-skip-tls-verify]: \"no\": must be true or false"},
      {"a: b", "", "clusters[0].cluster.server: missing"},
      {"server: k", "", "clusters[0].cluster.server: \"k\": must start with https:// or http://"},
      {"server: 'https://a b'", "", "clusters[0].cluster.server: \"https://a b\": not a host name or an IP address"},
      {"server: 'https://k:0'", "", "clusters[0].cluster.server: \"https://k:0\": not a port from 1 to 65535"},
      {"server: 'https://u:p@k'", "", "clusters[0].cluster.server: \"https://u:p@k\": not a port from 1 to 65535"},
      {"server: \"https://k/a\\r\\nX: y\"", "",
       "clusters[0].cluster.server: \"https://k/a\\r\\nX: y\": not a path in front of the API"},
      {"server: 'https://k'", "exec: {command: aws}",
       "users[0].user.exec: credential plugins are not supported; use a token or a certificate"},
      {"server: 'https://k'", "auth-provider: {name: gcp}",
       "users[0].user[auth-provider]: credential plugins are not supported; use a token or a certificate"},
      {"server: 'https://k'", "username: a, password: b",
       "users[0].user.username: API servers do not know passwords any more"},
      {"server: 'https://k'", "as: admin", "users[0].user.as: to act as somebody else is not supported"},
      {"server: 'https://k'", "client-certificate: c.pem",
       "users[0].user[client-key]: missing: a certificate and its key go together"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.cluster);
    CAPTURE(row.user);
    CHECK(text_of(parse_kubeconfig(kubeconfig(row.cluster, row.user), "/etc/kube")) == row.expected);
  }
}

TEST_CASE("kubeconfig: what does not lead to a cluster") {
  const struct {
    const char* text;
    const char* expected;
  } rows[] = {
      {"", "must be one document, not 0"},
      {"a: [", "line 1: end of sequence flow not found"},
      {"clusters: []", "[current-context]: missing"},
      {"current-context: x", "[current-context]: \"x\": no such entry in contexts"},
      {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]",
       "contexts[0].context.cluster: \"c\": no such entry in clusters"},
      {"current-context: x\ncontexts: [{name: x}]", "contexts[0].context.cluster: missing"},
      {"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
       "clusters: [{name: c, cluster: {server: 'https://k'}}]",
       "contexts[0].context.user: \"u\": no such entry in users"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(text_of(parse_kubeconfig(row.text, "/etc/kube")) == row.expected);
  }
}

TEST_CASE("api config: a kubeconfig that is being written is waited for") {
  const TempFolder folder;
  const ApiOptions options{.kubeconfig = (folder.path() / "config").string()};
  folder.write("config", kubeconfig("server: 'https://k'", "token: t"));
  UniqueFd writer(::open(options.kubeconfig.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer);
  std::thread closes([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    writer.reset();
  });
  CHECK(text_of(load_api_config(options)) == "https://k:443 token=t");
  closes.join();
}

TEST_CASE("api config: in a pod") {
  const TempFolder folder;
  const ApiOptions options{.service_account_dir = folder.path().string()};
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
  CHECK(
      text_of(load_api_config(options)).starts_with("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"));
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  const auto dir = folder.path().string();
  CHECK(text_of(load_api_config(options)) == "service account: " + dir + "/ca.crt: No such file or directory");
  folder.write("ca.crt", "ca");
  CHECK(text_of(load_api_config(options)) == "service account: " + dir + "/token: No such file or directory");
  folder.write("token", "secret");
  CHECK(text_of(load_api_config(options)) ==
        "https://[fd00::1]:443 ca=" + dir + "/ca.crt token-file=" + dir + "/token");
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
}

TEST_CASE("token: read again when its file changes") {
  const TempFolder folder;
  TokenSource token("", (folder / "token").string());
  REQUIRE_FALSE(token.get());
  CHECK(token.get().error().message == "token file " + (folder / "token").string() + ": No such file or directory");
  folder.write("token", "one\n");
  CHECK(token.get() == "one");
  folder.replace("token", "two\n");
  CHECK(token.get() == "two");
  folder.replace("token", "not\na token");
  CHECK(token.get() == "two");
  folder.remove("token");
  CHECK(token.get() == "two");
  folder.write("token", "three");
  CHECK(token.get() == "three");
}

// Where the clock of a file system is coarse a file's stamp may say nothing; this one's never does.
TEST_CASE("token: under the same stamp it is read again once a minute, and when it was refused") {
  const auto write = [](const char* text) { REQUIRE(::prctl(PR_SET_NAME, text) == 0); };
  std::array<char, 16> name{};
  REQUIRE(::prctl(PR_GET_NAME, name.data()) == 0);
  std::chrono::steady_clock::time_point now;
  TokenSource token("", "/proc/thread-self/comm", [&] { return now; });
  write("one");
  CHECK(token.get() == "one");
  write("two");
  CHECK(token.get() == "one");
  token.refused();
  CHECK(token.get() == "two");
  write("three");
  now += std::chrono::seconds(59);
  CHECK(token.get() == "two");
  now += std::chrono::seconds(2);
  CHECK(token.get() == "three");
  write(name.data());
}

TEST_CASE("token: what would not fit a header is none") {
  CHECK(TokenSource("abc\n", "").get() == "abc");
  CHECK(TokenSource("", "").get() == "");
  CHECK_FALSE(TokenSource("a\r\nb", "").get());
}

TEST_CASE("version: older than 1.30 is said, newer is not") {
  CHECK_FALSE(version_warning("v1.30.0"));
  CHECK_FALSE(version_warning("v1.34.2+k3s1"));
  CHECK_FALSE(version_warning("v2.0.0"));
  CHECK(version_warning("v1.29.9") == "the API server is v1.29.9: Kubernetes 1.30 or newer is needed");
  CHECK(version_warning("") == "the API server's version \"\" says nothing: Kubernetes 1.30 or newer is needed");
}

}  // namespace
}  // namespace underpass::k8s
