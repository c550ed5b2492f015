// SPDX-License-Identifier: Apache-2.0
// From the pods that tunnel to what their workers are given, and to what operators are told.
#include "agent/certificates.h"

#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>

#include "agent/ca/folder_issuer.h"
#include "test/support/temp_folder.h"
#include "test/unit/k8s_api_server.h"

namespace underpass {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

const std::string kWeb = "spiffe://cluster.local/ns/shop/sa/web";
const std::string kDb = "spiffe://cluster.local/ns/shop/sa/db";

compile::WorkerPlan plan_of(const std::vector<std::pair<std::string, bool>>& pods) {
  compile::WorkerPlan plan{.name = "shop"};
  for (const auto& [identity, tunnels] : pods) {
    auto& pod = plan.pods[NetnsCookie{plan.pods.size() + 1}];
    pod.identity = identity;
    pod.tunnels = tunnels;
  }
  return plan;
}

struct Scene {
  explicit Scene(std::chrono::seconds life = 24h)
      : certificates(io,
                     {.keeper = {.issuer = std::make_unique<ca::FolderIssuer>(folder / "ca",
                                                                              ca::UpkeepOptions{.svid_life = life}),
                                 .svid_life = life}},
                     [this] { ++changes; }) {}

  [[nodiscard]] compile::WorkerPlan filled() const {
    auto plan = plan_of({{kWeb, true}, {kWeb, true}, {kDb, false}});
    certificates.fill(plan);
    return plan;
  }
  [[nodiscard]] std::string text_of_metrics() const {
    std::string out;
    for (const auto& family : certificates.collect())
      for (const auto& metric : family.metric) {
        out += family.name;
        for (const auto& label : metric.label) out += " " + label.value;
        if (family.type == prometheus::MetricType::Counter)
          out += " " + std::to_string(static_cast<int>(metric.counter.value));
        out += "\n";
      }
    return out;
  }

  test::TempFolder folder;
  boost::asio::io_context io;
  int changes = 0;
  Certificates certificates;
};

TEST_CASE("certificates: those of pods that tunnel are wanted") {
  CHECK(wanted_certificates({{"shop", plan_of({{kWeb, true}, {kWeb, true}, {kDb, false}})}, {"bank", plan_of({})}}) ==
        std::set<std::string>{kWeb});
}

TEST_CASE("certificates: a plan is filled with what there is, and told of anew when that changes") {
  Scene scene(4s);
  CHECK(scene.filled().certificates.empty());
  scene.certificates.set_wanted({kWeb});
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 1; }));
  const auto plan = scene.filled();
  REQUIRE(plan.certificates.size() == 1);
  CHECK(plan.certificates.at(kWeb).chain.starts_with("-----BEGIN CERTIFICATE-----\n"));
  CHECK(plan.trust_bundle.starts_with("-----BEGIN CERTIFICATE-----\n"));
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 3; }));  // renewed, by its own timer
  CHECK(scene.filled().certificates.at(kWeb) != plan.certificates.at(kWeb));
  CHECK(scene.filled().trust_bundle == plan.trust_bundle);
  // What does not tunnel is given nothing of it.
  auto other = plan_of({{kDb, false}});
  scene.certificates.fill(other);
  CHECK(other == plan_of({{kDb, false}}));
}

TEST_CASE("certificates: nothing is done for nobody") {
  Scene scene;
  scene.certificates.set_wanted({});
  CHECK(scene.io.run_for(50ms) == 0);
  CHECK_FALSE(std::filesystem::exists(scene.folder / "ca"));
  CHECK(scene.certificates.view({}) == json::array());
}

TEST_CASE("certificates: a bad folder is a problem, and gone once it is mended") {
  Scene scene(2s);
  scene.folder.write("ca", "no folder");
  scene.certificates.set_wanted({kWeb});
  REQUIRE(test::run_until(scene.io, [&] { return scene.certificates.problems().size() == 2; }));
  CHECK(scene.certificates.problems()[0].starts_with("ca " + (scene.folder / "ca").string() +
                                                     ": is not a folder, since "));
  CHECK(scene.certificates.problems()[1].starts_with("certificate " + kWeb + ": there is none: "));
  CHECK(scene.text_of_metrics() ==
        "underpass_certificate_renewals_total success 0\nunderpass_certificate_renewals_total failure 1\n");
  scene.folder.remove("ca");
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 1; }));
  CHECK(scene.certificates.problems().empty());
}

TEST_CASE("certificates: what is told of them has no key") {
  Scene scene;
  scene.certificates.set_wanted({kWeb});
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 1; }));
  const auto rows = scene.certificates.view({}).value().as_array();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("kind") == "root");
  CHECK(rows[0].at("renewalAt").is_null());
  CHECK(rows[0].at("issuer") == rows[0].at("subject"));
  CHECK(rows[1].at("kind") == "intermediate");
  CHECK(rows[1].at("issuer") == rows[0].at("subject"));
  CHECK(rows[2].at("kind") == "svid");
  CHECK(rows[2].at("identity") == json::string(kWeb));
  CHECK(rows[2].at("subject").is_null());
  CHECK(rows[2].at("issuer") == rows[1].at("subject"));
  CHECK(rows[2].at("problem").is_null());
  for (const auto& row : rows) {
    CHECK(row.at("state") == "valid");
    CHECK_FALSE(row.as_object().contains("pem"));
  }
  const auto with_pem = json::serialize(scene.certificates.view({{"pem", true}}).value());
  CHECK(with_pem.contains("-----BEGIN CERTIFICATE-----"));
  CHECK_FALSE(with_pem.contains("PRIVATE"));
  const auto subject = [&](int row) { return std::string(rows[row].at("subject").as_string()); };
  CHECK(scene.text_of_metrics() ==
        "underpass_certificate_expiry_seconds " + subject(0) + " root\nunderpass_certificate_expiry_seconds " +
            subject(1) + " intermediate\nunderpass_certificate_expiry_seconds " + kWeb +
            " svid\nunderpass_certificate_renewals_total success 1\nunderpass_certificate_renewals_total failure 0\n");
}

TEST_CASE("certificates: another root, when it is asked for") {
  Scene scene;
  CHECK(
      scene.certificates.rotate_root().error().message.ends_with("/ca: has no root-key.pem: its root is replaced by "
                                                                 "whoever has that key"));
  scene.certificates.set_wanted({kWeb});
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 1; }));
  const auto before = scene.filled().trust_bundle;
  CHECK(scene.certificates.rotate_root());
  REQUIRE(test::run_until(scene.io, [&] { return scene.changes == 2; }));
  CHECK(scene.filled().trust_bundle.starts_with(before));
  CHECK(scene.filled().trust_bundle.size() > before.size() + 100);
  CHECK_FALSE(scene.certificates.rotate_root());
}

}  // namespace
}  // namespace underpass
