// SPDX-License-Identifier: Apache-2.0
// Texts that nobody meant: random bytes, and real ones cut, spliced and bitten. Whatever they are, they are decoded or
// refused, in bounded time and memory. The seed is fixed, so that what fails once fails always.
#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>
#include <string_view>

#include "agent/k8s/folder.h"

namespace underpass::k8s {
namespace {

constexpr std::string_view kReal = R"(# a namespace and its pod
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {underpass.dev/mesh: enabled}}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: "web"
    namespace: 'shop'
    labels: &labels
      app: web
    annotations:
      underpass.dev/netns: /var/run/netns/web
      text: |
        one
        two
  spec: {nodeName: node-a, containers: [{name: web, env: *labels}]}
  status:
    podIP: 10.0.0.7
    podIPs: [{ip: 10.0.0.7}, {ip: "fd00::7"}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
)";

constexpr std::string_view kPolicies = R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop, annotations: {istio.io/dry-run: "false"}}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules:
  - from:
    - source: {principals: [cluster.local/ns/a/sa/*], ipBlocks: [10.0.0.0/8, "fd00::/8"], notNamespaces: ["*-x"]}
    - source: {serviceAccounts: [web, other/api]}
    to: [{operation: {ports: ["80"], paths: [/a]}}]
    when: [{key: "request.headers[x]", values: [a]}, {key: destination.port, notValues: ["81"]}]
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}}
---
apiVersion: underpass.dev/v1alpha1
kind: Mesh
metadata: {name: default}
spec: {trustDomain: cluster.local, rootNamespace: istio-system}
)";

constexpr std::string_view kPieces[] = {"---\n", "...\n",
                                        "- ",    ": ",
                                        "{",     "}",
                                        "[",     "]",
                                        "&a ",   "*a",
                                        "<<: ",  "? ",
                                        "!!x ",  "|\n",
                                        ">-\n",  "\"",
                                        "'",     "#",
                                        "\t",    "\n",
                                        "  ",    "%YAML 1.2\n",
                                        "\\x",   "\\u",
                                        "\xff",  std::string_view("\0", 1),
                                        "null",  "true",
                                        "!<",    "@",
                                        "`",     "kind: Pod\n"};

class Garbage {
 public:
  // A real text with up to eight wounds.
  std::string mutated(std::string_view real) {
    std::string text(real);
    for (auto wounds = pick(8) + 1; wounds > 0; --wounds) {
      const auto at = pick(text.size() + 1);
      const auto length = std::min(pick(40), text.size() - at);
      switch (pick(5)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, kPieces[pick(std::size(kPieces))]);
          break;
        case 2:
          text.insert(at, text.substr(pick(text.size() + 1), length));
          break;
        case 3:
          if (at < text.size()) text[at] = static_cast<char>(pick(256));
          break;
        default:
          if (pick(4) == 0) text.resize(at);
      }
    }
    return text;
  }

  std::string of_pieces() {
    std::string text;
    for (auto count = pick(200); count > 0; --count) text += kPieces[pick(std::size(kPieces))];
    return text;
  }

  std::string of_bytes() {
    std::string text(pick(300), '\0');
    for (auto& c : text) c = static_cast<char>(pick(256));
    return text;
  }

 private:
  std::size_t pick(std::size_t below) { return below == 0 ? 0 : random_() % below; }

  std::mt19937 random_{20260102};
};

TEST_CASE("garbage: neither crashes nor hangs the decoder") {
  Garbage garbage;
  std::size_t items = 0;
  std::size_t unreadable = 0;
  for (int i = 0; i < 3000; ++i) {
    for (const auto& text :
         {garbage.mutated(kReal), garbage.mutated(kPolicies), garbage.of_pieces(), garbage.of_bytes()}) {
      const auto file = decode_file("garbage.yaml", text, {.netns_annotation = true});
      items += file.items.size();
      unreadable += file.unreadable.size();
    }
  }
  // Neither all of it nor nothing survives.
  CHECK(items > 500);
  CHECK(unreadable > 3000);
}

TEST_CASE("garbage: every prefix of a real text is decoded or refused") {
  for (const auto real : {kReal, kPolicies}) {
    for (std::size_t length = 0; length <= real.size(); ++length) {
      const auto file = decode_file("prefix.yaml", real.substr(0, length), {.netns_annotation = true});
      CHECK(file.items.size() + file.unreadable.size() <= 3);
    }
  }
}

TEST_CASE("garbage: time grows with the text, not with its square") {
  constexpr std::size_t kBytes = 256 * 1024;
  for (const std::string_view piece :
       {"[",     "{",     "- ",   "? ",         "a: ",         "{a: ",    "&a ",        "*a ",
        "!x ",   "'",     "\"",   "''",         "|\n",         "a: |\n ", "%TAG ! x\n", "---\n",
        "...\n", "# x\n", "a b ", "a\n",        " \n",         "- a\n",   "a: b\n",     "[a, ",
        "[],",   "{}:",   "\\",   "\"\\x41\" ", "a: {b: c}\n", "\t",      "- - a\n"}) {
    std::string text;
    while (text.size() < kBytes) text += piece;
    const auto start = std::chrono::steady_clock::now();
    static_cast<void>(decode_file("long.yaml", text, {}));
    CAPTURE(piece);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
}

}  // namespace
}  // namespace underpass::k8s
