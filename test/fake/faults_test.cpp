// SPDX-License-Identifier: Apache-2.0
// The fake API server itself, with curl as its client: that each misbehaviour is one.
#include <doctest/doctest.h>

#include <string>

#include "test/fake/curl.h"
#include "test/fake/objects.h"
#include "test/support/fake_api.h"

namespace underpass::fake {
namespace {

using test::eventually;
using test::FakeApi;
using test::Fault;
using test::Process;
using test::seconds;
using What = test::Fault::What;

constexpr const char* kPods = "/api/v1/pods";
const Options kBrief{"--max-time", "1"};

// What a watch of pods from now on tells under this fault when these objects are put and the first is removed.
struct Watched {
  CurlAnswer answer;
  std::string events;  // versions are counted from the start of the watch
};

Watched watch_under(FakeApi& api, Fault fault) {
  api.put(pod_object("shop", "old", "node-1"));
  const auto from = api.version();
  api.put_all({pod_object("shop", "web", "node-1"), pod_object("shop", "web", "node-1", 2),
               pod_object("shop", "web", "node-1", 3)});
  api.remove("Pod", "shop", "old");
  api.misbehave(std::move(fault));
  api.set_bookmarks(std::chrono::milliseconds(300));
  Watched watched;
  watched.answer = curl(
      api, "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=" + std::to_string(from),
      {"--max-time", "2"});
  for (const auto& event : events_in(watched.answer.body)) {
    auto text = show_event(event);
    const auto at = text.find(" 1");
    if (at != std::string::npos) {
      text = text.substr(0, at + 1) +
             std::to_string(static_cast<long>(std::stoull(text.substr(at + 1))) - static_cast<long>(from));
    }
    if (text.starts_with("BOOKMARK") && watched.events.ends_with(text)) continue;
    watched.events += (watched.events.empty() ? "" : ", ") + text;
  }
  return watched;
}

const std::string kAll = "ADDED web 1, MODIFIED web 2, MODIFIED web 3, DELETED old 4";

TEST_CASE("faults: answers of their own, as often as was said") {
  FakeApi api;
  api.misbehave(Fault::too_many_requests(7).at(kPods).times(2));
  for (int i = 0; i < 2; ++i) {
    const auto answer = curl(api, kPods);
    CHECK(answer.status == 429);
    CHECK(answer.has_header("Retry-After: 7"));
    CHECK(answer.json().at("reason") == "TooManyRequests");
  }
  CHECK(curl(api, kPods).status == 200);
  const auto number = api.misbehave(Fault::answer(503).always());
  CHECK(curl(api, kPods).status == 503);
  CHECK(curl(api, "/api/v1/nodes").status == 503);
  api.behave(number);
  CHECK(curl(api, kPods).status == 200);
  api.misbehave(Fault::text(200, "text/html", "<html>log in</html>"));
  CHECK(curl(api, kPods).body == "<html>log in</html>");
  api.misbehave(Fault::text(302, "text/plain", "").header("Location", "https://192.0.2.1/"));
  CHECK(curl(api, kPods).has_header("Location: https://192.0.2.1/"));
  api.misbehave(Fault::forbidden().at(kPods).lists());
  CHECK(curl(api, kPods)
            .json()
            .at("message")
            .as_string()
            .starts_with("pods is forbidden: User \"system:serviceaccount:"));
  api.misbehave(Fault::gone().at(kPods));
  CHECK(curl(api, kPods).status == 410);
}

TEST_CASE("faults: an empty list") {
  FakeApi api;
  api.put(pod_object("shop", "web", "node-1"));
  for (const unsigned status : {503U, 200U}) {
    api.misbehave(Fault::empty_list(status).at(kPods));
    const auto answer = curl(api, kPods);
    CHECK(answer.status == static_cast<int>(status));
    CHECK(answer.json().at("items").as_array().empty());
  }
}

TEST_CASE("faults: answers that are not whole") {
  FakeApi api;
  api.put(pod_object("shop", "web", "node-1"));
  const auto whole = curl(api, kPods).body;
  api.misbehave(Fault::reset_after(40).at(kPods));
  const auto reset = curl(api, kPods);
  CHECK(reset.exit == 56);
  CHECK(reset.body == whole.substr(0, 40));
  Fault longer = Fault::make(What::kMoreLength);
  longer.after = 10;
  api.misbehave(longer);
  CHECK(curl(api, kPods).exit != 0);
  Fault shorter = Fault::make(What::kLessLength);
  shorter.after = 10;
  api.misbehave(shorter);
  CHECK(curl(api, kPods).body == whole.substr(0, whole.size() - 10));
  Fault tail = Fault::make(What::kTail);
  tail.body = "}garbage";
  api.misbehave(tail);
  CHECK(curl(api, kPods).body == whole + "}garbage");
  api.put_broken(pod_object("shop", "web", "@BROKEN@"), "@BROKEN@", "\xff\xfe");
  CHECK(curl(api, kPods).body.find("\xff\xfe") != std::string::npos);
}

TEST_CASE("faults: slow and silent") {
  FakeApi api;
  api.misbehave(Fault::stall().at(kPods));
  CHECK(curl(api, kPods, kBrief).exit == 28);
  api.misbehave(Fault::drip().at(kPods));
  Process slow(curl_command(api, kPods));
  CHECK(eventually(seconds(5), [&] { return !slow.out().empty() && !slow.out().ends_with("}"); }));
  const auto end = slow.wait(seconds(5));
  REQUIRE(end.has_value());
  CHECK(end->code == 0);
  CHECK(slow.out().ends_with("}"));
}

TEST_CASE("faults: watches that end in every way") {
  FakeApi api;
  SUBCASE("none") {
    const auto watched = watch_under(api, Fault::answer(500).at("/elsewhere"));
    CHECK(watched.answer.exit == 0);
    CHECK(watched.events == kAll + ", BOOKMARK 4");
  }
  SUBCASE("ERROR") {
    const auto watched = watch_under(api, Fault::error_event(410, 2));
    CHECK(watched.answer.exit == 0);
    CHECK(watched.events == "ADDED web 1, MODIFIED web 2, ERROR 410");
  }
  SUBCASE("at once") {
    const auto watched = watch_under(api, Fault::watch(What::kEnd));
    CHECK(watched.answer.exit == 0);
    CHECK(watched.events.empty());
  }
  SUBCASE("cut") {
    const auto watched = watch_under(api, Fault::watch(What::kCut, 3));
    CHECK(watched.answer.exit != 0);
    CHECK(watched.events == "ADDED web 1, MODIFIED web 2, MODIFIED web 3");
  }
  SUBCASE("in the middle of an object") {
    const auto watched = watch_under(api, Fault::watch(What::kReset, 2));
    CHECK(watched.answer.exit == 56);
    CHECK(watched.events == "ADDED web 1, MODIFIED web 2");
    CHECK_FALSE(watched.answer.body.ends_with("\n"));
  }
  SUBCASE("silence") {
    for (const auto what : {What::kSilence, What::kBlackHole}) {
      const auto watched = watch_under(api, Fault::watch(what, 1));
      CHECK(watched.answer.exit == 28);
    }
  }
}

TEST_CASE("faults: watches that tell it wrongly") {
  FakeApi api;
  SUBCASE("twice") {
    CHECK(watch_under(api, Fault::watch(What::kDuplicates)).events ==
          "ADDED web 1, ADDED web 1, MODIFIED web 2, MODIFIED web 2, MODIFIED web 3, MODIFIED web 3, "
          "DELETED old 4, DELETED old 4, BOOKMARK 4");
  }
  SUBCASE("in the other order") {
    CHECK(watch_under(api, Fault::watch(What::kSwap)).events ==
          "MODIFIED web 2, ADDED web 1, MODIFIED web 3, DELETED old 4, BOOKMARK 4");
  }
  SUBCASE("not added") {
    CHECK(watch_under(api, Fault::watch(What::kModifiedNotAdded)).events.starts_with("MODIFIED web 1, MODIFIED web 2"));
  }
  SUBCASE("deleted twice") {
    CHECK(watch_under(api, Fault::watch(What::kDeletedTwice)).events == kAll + ", DELETED old 4, BOOKMARK 4");
  }
  SUBCASE("old bookmarks") {
    CHECK(watch_under(api, Fault::watch(What::kOldBookmarks)).events == kAll + ", BOOKMARK -1");
  }
  SUBCASE("a line of garbage") {
    const auto watched = watch_under(api, Fault::line("garbage", 1));
    CHECK(watched.events == kAll + ", BOOKMARK 4");
    CHECK(watched.answer.body.find("}\ngarbage\n{") != std::string::npos);
  }
}

TEST_CASE("faults: what a black hole swallows gets no answer from the kernel either") {
  FakeApi api;
  api.misbehave(Fault::watch(What::kBlackHole));
  Process watch(curl_command(api, "/api/v1/pods?watch=true&resourceVersion=0", {"--keepalive-time", "1"}));
  CHECK(eventually(seconds(5), [&] { return api.open_watches() == 1; }));
  api.put(pod_object("shop", "web", "node-1"));
  const auto end = watch.wait(seconds(8));
  REQUIRE(end.has_value());
  CHECK(end->code == 28);
  CHECK(events_in(watch.out()).empty());
  CHECK(api.open_watches() == 1);  // the server was not told that curl went
}

}  // namespace
}  // namespace underpass::fake
