// SPDX-License-Identifier: Apache-2.0
// The kubeconfig files of the fake API server, with each way to log in.
#include <openssl/evp.h>

#include <fstream>
#include <stdexcept>

#include "test/support/fake_api.h"

namespace underpass::test {
namespace {

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size =
      ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace

std::string FakeApi::kubeconfig(const std::filesystem::path& folder, Login login) {
  const FakeIdentity client = authority_.issue({.name = "node-admin"});
  std::string user = "{}";
  switch (login) {
    case Login::kToken:
      user = "{token: " + token_ + "}";
      break;
    case Login::kTokenFile:
      user = "{tokenFile: " + (in_cluster_folder() / "token").string() + "}";
      break;
    case Login::kCertificate:
      user =
          "{client-certificate-data: " + base64(client.certificate) + ", client-key-data: " + base64(client.key) + "}";
      break;
    case Login::kCertificateFiles:
      write(folder / "client.crt", client.certificate);
      write(folder / "client.key", client.key);
      user = "{client-certificate: client.crt, client-key: client.key}";  // relative to the kubeconfig
      break;
    case Login::kNone:
      break;
  }
  const auto path = folder / "kubeconfig";
  write(path,
        "apiVersion: v1\nkind: Config\ncurrent-context: fake\n"
        "clusters:\n- name: other\n  cluster: {server: \"https://192.0.2.1:6443\"}\n"
        "- name: fake\n  cluster:\n    server: " +
            url() + "\n    certificate-authority-data: " + base64(authority()) +
            "\ncontexts:\n- name: fake\n  context: {cluster: fake, user: fake}\n"
            "users:\n- name: fake\n  user: " +
            user + "\n");
  return path.string();
}

}  // namespace underpass::test
