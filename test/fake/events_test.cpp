// SPDX-License-Identifier: Apache-2.0
// Events that the agent makes, as the cluster has them then.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "agent/k8s/api/events.h"
#include "test/fake/objects.h"
#include "test/fake/scene.h"

namespace underpass::fake {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeApi;
using test::Fault;

const k8s::EventSubject kPolicy{"security.istio.io/v1", "AuthorizationPolicy", {"shop", "allow"}, "uid-1"};

// As one node's agent has it.
struct Recorder {
  Scene scene;
  std::unique_ptr<k8s::EventRecorder> events;

  Recorder(FakeApi& api, const std::string& node)
      : scene(api), events(k8s::EventRecorder::make(scene.client(), node)) {}
};

std::string text_at(const boost::json::value& value, const std::string& pointer) {
  const auto& found = value.at_pointer(pointer);
  return found.is_string() ? std::string(found.as_string()) : boost::json::serialize(found);
}

TEST_CASE("events: one is made, however many agents see the reason") {
  FakeApi api;
  Recorder first(api, "node-1"), second(api, "node-2");
  first.events->warn(kPolicy, "Refused", "spec.rules: too many");
  CHECK(first.scene.until([&] { return api.objects("Event").size() == 1; }, seconds(5)));
  CHECK(first.scene.until([&] { return first.events->made() == 1; }, seconds(5)));
  api.forget_requests();
  second.events->warn(kPolicy, "Refused", "spec.rules: too many");
  CHECK(second.scene.until([&] { return api.count("create") == 1; }, seconds(5)));
  second.scene.run_for(milliseconds(100));
  CHECK(second.events->problem().empty());  // that it is there already is no failure
  CHECK(api.objects("Event").size() == 1);
  CHECK(api.count("create") == 1);
  const auto event = api.objects("Event").at(0);
  CHECK(text_at(event, "/type") == "Warning");
  CHECK(text_at(event, "/reason") == "Refused");
  CHECK(text_at(event, "/metadata/namespace") == "shop");
  CHECK(boost::json::serialize(event).find("spec.rules: too many") != std::string::npos);
  CHECK(boost::json::serialize(event).find("uid-1") != std::string::npos);

  second.events->warn(kPolicy, "Refused", "spec.rules: another reason");
  CHECK(second.scene.until([&] { return api.objects("Event").size() == 2; }, seconds(5)));
}

TEST_CASE("events: of an object without a namespace, and with a note that is too long") {
  FakeApi api;
  Recorder recorder(api, "node-1");
  std::string note;
  for (int i = 0; i < 1000; ++i) note += "ä";  // two bytes each
  recorder.events->warn({"underpass.dev/v1alpha1", "Mesh", {"", "default"}, "uid-2"}, "Refused", "x" + note);
  CHECK(recorder.scene.until([&] { return api.objects("Event").size() == 1; }, seconds(5)));
  const auto event = api.objects("Event").at(0);
  CHECK(text_at(event, "/metadata/namespace") == "default");
  const auto* text = event.as_object().if_contains("note");
  if (text == nullptr) text = event.as_object().if_contains("message");
  REQUIRE(text != nullptr);
  CHECK(text->as_string().size() <= 1024);
  CHECK(text->as_string().size() > 900);
}

TEST_CASE("events: a storm of them is cut, and counted") {
  FakeApi api;
  Recorder recorder(api, "node-1");
  for (int i = 0; i < 2000; ++i) recorder.events->warn(kPolicy, "Refused", "reason " + std::to_string(i));
  recorder.scene.run_for(seconds(2));
  CHECK(recorder.events->dropped() > 1000);
  CHECK(api.count("create") < 500);
  CHECK(recorder.scene.until([&] { return recorder.events->made() == api.count("create"); }, seconds(5)));
}

TEST_CASE("events: a server that does not take them is told of, and costs nothing else") {
  FakeApi api;
  put_some(api);
  const auto fault = api.misbehave(Fault::forbidden().at("/api/v1/events").always());
  const auto other = api.misbehave(Fault::forbidden().at("/apis/events.k8s.io/v1/events").always());
  Recorder recorder(api, "node-1");
  REQUIRE(recorder.scene.start_and_sync());
  recorder.events->warn(kPolicy, "Refused", "first");
  CHECK(recorder.scene.until([&] { return recorder.events->problem().find("403") != std::string::npos; }, seconds(5)));
  api.behave(fault);
  api.behave(other);
  recorder.events->warn(kPolicy, "Refused", "second");
  CHECK(recorder.scene.until([&] { return recorder.events->problem().empty(); }, seconds(5)));
  CHECK(recorder.scene.until_well());
}

}  // namespace
}  // namespace underpass::fake
