// SPDX-License-Identifier: Apache-2.0
// From what a source has to what is in force: good versions that stay, failures that are reported, and deletions.
#include <doctest/doctest.h>

#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "agent/k8s/folder.h"
#include "agent/state/store.h"

namespace underpass::state {
namespace {

using std::chrono::minutes;
using std::chrono::system_clock;

std::string make_namespace(const std::string& name, const std::string& mesh = "enabled") {
  return "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + ", labels: {underpass.dev/mesh: " + mesh +
         "}}}\n---\n";
}

std::string make_pod(const std::string& name, const std::string& ip) {
  return "{apiVersion: v1, kind: Pod, metadata: {name: " + name + ", namespace: shop}, status: {podIP: '" + ip +
         "'}}\n---\n";
}

// A store with a clock that moves when told, fed with texts.
class Fed {
 public:
  using Texts = std::initializer_list<std::pair<std::string, std::string>>;

  bool feed(Texts texts, std::optional<k8s::Unreadable> lost = std::nullopt) {
    k8s::Contents contents;
    for (const auto& [name, text] : texts) {
      contents.files.push_back(std::make_shared<const k8s::File>(k8s::decode_file(name, text, {})));
    }
    contents.lost = std::move(lost);
    return store.update(contents);
  }

  // Objects, then diagnostics, one a line.
  [[nodiscard]] std::string text() const {
    const auto& snapshot = *store.snapshot();
    std::string out;
    for (const auto& [name, ns] : snapshot.namespaces)
      out += "Namespace " + name + (*ns.settings.mesh ? " on\n" : " off\n");
    for (const auto& [id, account] : snapshot.service_accounts) out += "ServiceAccount " + id.to_string() + "\n";
    for (const auto& [id, pod] : snapshot.pods) out += "Pod " + id.to_string() + " " + pod.ips.at(0).to_string() + "\n";
    for (const auto& diagnostic : snapshot.diagnostics) {
      out += diagnostic.state == model::Diagnostic::State::kStale ? "stale " : "refused ";
      if (!diagnostic.kind.empty()) out += k8s::object_name(diagnostic.kind, diagnostic.id) + " ";
      out += diagnostic.path + ": " + diagnostic.cause + " since " + diagnostic.since.substr(11) + "\n";
    }
    return out;
  }

  system_clock::time_point now = system_clock::from_time_t(1767322800);  // 2026-01-02T03:00:00Z
  Store store{[this] { return now; }};
};

TEST_CASE("store: empty at first, and told apart when it changes") {
  Fed fed;
  CHECK(*fed.store.snapshot() == model::Snapshot{});
  CHECK_FALSE(fed.feed({}));
  CHECK(fed.feed({{"a.yaml", make_namespace("shop") + make_pod("web", "10.0.0.7")}}));
  CHECK(fed.text() == "Namespace shop on\nPod shop/web 10.0.0.7\n");
  const auto before = fed.store.snapshot();
  fed.now += minutes(1);
  CHECK_FALSE(fed.feed({{"b.yaml", make_pod("web", "10.0.0.7")}, {"c.yaml", make_namespace("shop")}}));
  CHECK(fed.store.snapshot() == before);
  CHECK(fed.feed({{"b.yaml", make_pod("web", "10.0.0.8")}}));
  CHECK(fed.text() == "Pod shop/web 10.0.0.8\n");
  CHECK(before->pods.at({"shop", "web"}).ips.at(0).to_string() == "10.0.0.7");  // a snapshot never changes
  CHECK(fed.feed({}));
  CHECK(fed.text() == "");
}

TEST_CASE("store: an object that no longer decodes stays, one that never did is refused") {
  Fed fed;
  fed.feed({{"a.yaml", make_pod("old", "10.0.0.7")}});
  fed.feed({{"a.yaml", make_pod("old", "10.0.0") + make_pod("new", "10.0.1")}});
  CHECK(fed.text() ==
        "Pod shop/old 10.0.0.7\n"
        "refused Pod shop/new status.podIP: \"10.0.1\": not an IP address since 03:00:00Z\n"
        "stale Pod shop/old status.podIP: \"10.0.0\": not an IP address since 03:00:00Z\n");
  CHECK(fed.store.snapshot()->diagnostics.at(0).since == "2026-01-02T03:00:00Z");

  SUBCASE("since when is kept, also when the mistake changes") {
    fed.now += minutes(5);
    CHECK_FALSE(fed.feed({{"a.yaml", make_pod("old", "10.0.0") + make_pod("new", "10.0.1")}}));
    CHECK(fed.feed({{"a.yaml", make_pod("old", "10.0.0.x")}}));
    CHECK(fed.text() ==
          "Pod shop/old 10.0.0.7\n"
          "stale Pod shop/old status.podIP: \"10.0.0.x\": not an IP address since 03:00:00Z\n");
  }
  SUBCASE("a new failure after a good version has its own time") {
    fed.feed({{"a.yaml", make_pod("old", "10.0.0.9")}});
    CHECK(fed.text() == "Pod shop/old 10.0.0.9\n");
    fed.now += minutes(5);
    fed.feed({{"a.yaml", make_pod("old", "10")}});
    CHECK(fed.text() ==
          "Pod shop/old 10.0.0.9\nstale Pod shop/old status.podIP: \"10\": not an IP address since 03:05:00Z\n");
  }
  SUBCASE("it may move to another file meanwhile") {
    fed.now += minutes(5);
    fed.feed({{"b.yaml", make_pod("old", "10.0.0")}});
    CHECK(fed.text() ==
          "Pod shop/old 10.0.0.7\nstale Pod shop/old status.podIP: \"10.0.0\": not an IP address since 03:00:00Z\n");
  }
  SUBCASE("deleted, it is gone with its diagnostic and its last good version") {
    fed.feed({});
    CHECK(fed.text() == "");
    fed.feed({{"a.yaml", make_pod("old", "10.0.0")}});
    CHECK(fed.text() == "refused Pod shop/old status.podIP: \"10.0.0\": not an IP address since 03:00:00Z\n");
  }
}

TEST_CASE("store: a text that does not parse changes nothing that it held") {
  Fed fed;
  const auto held = make_namespace("shop") + make_pod("web", "10.0.0.7") + make_pod("bad", "10");
  fed.feed({{"a.yaml", held}, {"b.yaml", make_namespace("other")}});
  fed.now += minutes(1);
  const std::string broken =
      "Namespace other on\n"
      "Namespace shop on\n"
      "Pod shop/web 10.0.0.7\n"
      "stale Namespace shop a.yaml:1: end of map flow not found since 03:01:00Z\n"
      "refused Pod shop/bad a.yaml:1: end of map flow not found since 03:00:00Z\n"
      "stale Pod shop/web a.yaml:1: end of map flow not found since 03:01:00Z\n";
  fed.feed({{"a.yaml", "{"}, {"b.yaml", make_namespace("other")}});
  CHECK(fed.text() == broken);
  fed.now += minutes(1);
  CHECK_FALSE(fed.feed({{"a.yaml", "{"}, {"b.yaml", make_namespace("other")}}));  // ... however long
  fed.feed({{"a.yaml", make_pod("web", "10.0.0.9")}, {"b.yaml", make_namespace("other")}});
  CHECK(fed.text() == "Namespace other on\nPod shop/web 10.0.0.9\n");

  SUBCASE("nothing was held: the text itself is refused") {
    fed.feed({{"c.yaml", "{"}});
    CHECK(fed.text() == "refused c.yaml:1: end of map flow not found since 03:02:00Z\n");
  }
  SUBCASE("the file is deleted: so is what it held") {
    fed.feed({{"a.yaml", "{"}});
    fed.feed({});
    CHECK(fed.text() == "");
  }
}

TEST_CASE("store: a document that does not say what it is keeps what the rest does not name") {
  Fed fed;
  fed.feed({{"a.yaml", make_namespace("shop") + make_pod("web", "10.0.0.7")}});
  fed.feed({{"a.yaml", make_namespace("shop", "disabled") + "{apiVersion: v1, kind: Pod, metadata: {name: }}"}});
  CHECK(fed.text() ==
        "Namespace shop off\n"
        "Pod shop/web 10.0.0.7\n"
        "stale Pod shop/web a.yaml:3: Pod: metadata.name: missing since 03:00:00Z\n");
  fed.feed({{"a.yaml", make_namespace("shop") + make_pod("web", "10.0.0.7") + "{}\n---\n5\n"}});
  CHECK(fed.text() ==
        "Namespace shop on\n"
        "Pod shop/web 10.0.0.7\n"
        "refused a.yaml:5: kind: missing: not a Kubernetes object since 03:00:00Z\n"
        "refused a.yaml:7: 5: must be a mapping since 03:00:00Z\n");
}

TEST_CASE("store: of two that define one object, the first file's counts") {
  Fed fed;
  fed.feed({{"a.yaml", make_pod("web", "10.0.0.7")}, {"b.yaml", "\n" + make_pod("web", "10.0.0.8")}});
  CHECK(fed.text() ==
        "Pod shop/web 10.0.0.7\n"
        "refused Pod shop/web b.yaml:2: already defined at a.yaml:1: only the first one counts since 03:00:00Z\n");
  SUBCASE("also while the first does not decode") {
    fed.feed({{"a.yaml", make_pod("web", "10")}, {"b.yaml", "\n" + make_pod("web", "10.0.0.8")}});
    CHECK(fed.text() ==
          "Pod shop/web 10.0.0.7\n"
          "refused Pod shop/web b.yaml:2: already defined at a.yaml:1: only the first one counts since 03:00:00Z\n"
          "stale Pod shop/web status.podIP: \"10\": not an IP address since 03:00:00Z\n");
  }
  SUBCASE("also while the first file does not parse") {
    fed.feed({{"a.yaml", "{"}, {"b.yaml", "\n" + make_pod("web", "10.0.0.8")}});
    CHECK(fed.text() ==
          "Pod shop/web 10.0.0.7\n"
          "stale Pod shop/web a.yaml:1: end of map flow not found since 03:00:00Z\n"
          "refused Pod shop/web b.yaml:2: already defined at a.yaml:1: only the first one counts since 03:00:00Z\n");
  }
  SUBCASE("when the first goes, the second takes over") {
    fed.feed({{"b.yaml", make_pod("web", "10.0.0.8")}});
    CHECK(fed.text() == "Pod shop/web 10.0.0.8\n");
  }
  SUBCASE("twice in one file") {
    fed.feed({{"a.yaml", make_pod("web", "10.0.0.7") + make_pod("web", "10.0.0.8")}});
    CHECK(fed.text() ==
          "Pod shop/web 10.0.0.7\n"
          "refused Pod shop/web a.yaml:3: already defined at a.yaml:1: only the first one counts since 03:00:00Z\n");
  }
}

TEST_CASE("store: names of different kinds and namespaces do not meet") {
  Fed fed;
  fed.feed({{"a.yaml",
             "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}\n---\n"
             "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: other}}\n---\n" +
                 make_namespace("web") + make_pod("web", "10.0.0.7")}});
  CHECK(fed.text() == "Namespace web on\nServiceAccount other/web\nServiceAccount shop/web\nPod shop/web 10.0.0.7\n");
}

TEST_CASE("store: a source that is lost is said, and changes nothing") {
  Fed fed;
  fed.feed({{"a.yaml", make_namespace("shop")}});
  fed.now += minutes(1);
  CHECK(fed.feed({{"a.yaml", make_namespace("shop")}}, k8s::Unreadable{"/etc/mesh", "No such file or directory"}));
  CHECK(fed.text() == "Namespace shop on\nstale /etc/mesh: No such file or directory since 03:01:00Z\n");
  CHECK(fed.feed({{"a.yaml", make_namespace("shop")}}));
  CHECK(fed.text() == "Namespace shop on\n");
}

}  // namespace
}  // namespace underpass::state
