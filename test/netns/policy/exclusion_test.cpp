// SPDX-License-Identifier: Apache-2.0
// Ports that a pod keeps out of the mesh, and a mesh whose settings nobody understands.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <string>

#include "test/netns/policy/scene.h"
#include "test/support/eventually.h"

namespace underpass::test {
namespace {

void annotate(const Scene& scene, const std::string& pod, const std::string& account, const Strings& annotations) {
  PodObject object = scene.world.pod_object("shop", pod);
  object.service_account = account;
  object.annotations = annotations;
  scene.world.objects.put(object);
}

TEST_CASE("exclusion: policy has no say at an excluded inbound port, and at that one alone") {
  Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd open = listen_at(scene.at("b"), family);
    const UniqueFd judged = listen_at(scene.at("b"), family);
    const Address to = local_address(open.get());
    check_refused(scene.at("evil"), open.get());
    annotate(scene, "b", "default", {{"underpass.dev/exclude-inbound-ports", std::to_string(to.port())}});
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("evil"), to).empty(); }));
    empty_queue(open.get());
    check_passes(scene.at("out"), open.get());
    check_passes(scene.at("evil"), open.get());
    check_refused(scene.at("out"), judged.get());
    check_refused(scene.at("evil"), judged.get());
    check_passes(scene.at("web"), judged.get());
    annotate(scene, "b", "default", {});
    REQUIRE(eventually(seconds(5), [&] { return is_refused(scene.at("evil"), to); }));
    REQUIRE(is_refused(scene.at("out"), to));
  }
}

TEST_CASE("exclusion: what a pod dials at an excluded outbound port is nobody's dial") {
  Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd excluded = listen_at(scene.at("b"), family);
    const UniqueFd plain = listen_at(scene.at("b"), family);
    const Address to = local_address(excluded.get());
    check_passes(scene.at("web"), excluded.get());
    annotate(scene, "web", "web", {{"underpass.dev/exclude-outbound-ports", std::to_string(to.port()) + ", 1"}});
    REQUIRE(eventually(seconds(5), [&] { return is_refused(scene.at("web"), to); }));
    check_passes(scene.at("web"), plain.get());

    scene.world.objects.remove_text("policy.yaml");
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("web"), to).empty(); }));
    empty_queue(excluded.get());
    const UniqueFd client = connect_from(scene.at("web"), to);
    const UniqueFd server = accept_from(excluded.get());
    CHECK(identity_of_client(scene, local_address(client.get())).empty());
    annotate(scene, "web", "web", {});
    scene.allow("web");
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("web"), to).empty(); }));
    empty_queue(excluded.get());
  }
}

TEST_CASE("exclusion: the kernel knows a captured pod's own ports, while it is captured") {
  Scene scene;
  const auto rows = [&] {
    std::string out;
    for (const auto& row : scene.world.ctl.json({"map", "dump", "up_excluded"}).at("entries").as_array())
      out += (row.at("key").at("inbound") == 1 ? " in:" : " out:") + boost::json::serialize(row.at("key").at("port"));
    return out;
  };
  Strings annotations{{"underpass.dev/exclude-inbound-ports", "9090"}};
  annotate(scene, "b", "default", annotations);
  annotations["underpass.dev/capture"] = "always";
  annotate(scene, "b", "default", annotations);
  CHECK(eventually(seconds(5), [&] { return rows() == " in:9090"; }));
  annotations["underpass.dev/exclude-outbound-ports"] = "9090";
  annotate(scene, "b", "default", annotations);
  CHECK(eventually(seconds(5), [&] { return rows() == " in:9090 out:9090" || rows() == " out:9090 in:9090"; }));
  annotations.erase("underpass.dev/capture");
  annotate(scene, "b", "default", annotations);
  CHECK(eventually(seconds(5), [&] { return rows() == " out:9090"; }));
}

TEST_CASE("exclusion: a Mesh of which no version was ever understood closes every pod") {
  Scene scene;
  const UniqueFd listener = listen_at(scene.at("evil"), AF_INET);
  const Address to = local_address(listener.get());
  CHECK(dial(scene.at("web"), to).empty());
  scene.world.objects.put_text(
      "mesh.yaml",
      R"({"apiVersion": "underpass.dev/v1alpha1", "kind": "Mesh", "metadata": {"name": "default"}, "spec": {"rootNamespce": "x"}})");
  CHECK(eventually(seconds(5), [&] { return is_refused(scene.at("web"), to); }));
  scene.world.objects.remove_text("mesh.yaml");
  CHECK(eventually(seconds(5), [&] { return dial(scene.at("web"), to).empty(); }));
}

}  // namespace
}  // namespace underpass::test
