// SPDX-License-Identifier: Apache-2.0
// Routing tables, as a worker reads them. The first byte chooses what the rest is:
//   0  the table's text
//   1  which value of a whole table (two bytes) is replaced, and by what
//   2  which member (two bytes) is called what instead
//   3  where in the text of a whole table (two bytes) how many bytes (one) are cut out, and what is put there
// A table that is taken comes out as text that is read as the same table, and can be worked with; a member of another
// name is never taken for the one that is missing.
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/routing_table_example.h"
#include "underpass/routing_table_json.h"
#include "userspace_proxy/http/normal_form.h"
#include "userspace_proxy/session/routes.h"

using namespace underpass;
namespace json = boost::json;

namespace {

void expect(bool holds) {
  if (!holds) __builtin_trap();
}

std::size_t take_byte(std::string_view& text) {
  if (text.empty()) return 0;
  const auto byte = static_cast<unsigned char>(text.front());
  text.remove_prefix(1);
  return byte;
}
std::size_t take_two(std::string_view& text) {
  const auto high = take_byte(text) << 8U;
  return high | take_byte(text);
}

const json::value& whole() {
  static const auto value = to_json(test::example_table());
  return value;
}

template <typename Use>
void for_each_value(json::value& value, const Use& use) {
  use(value);
  if (auto* object = value.if_object())
    for (auto& member : *object) for_each_value(member.value(), use);
  if (auto* array = value.if_array())
    for (auto& element : *array) for_each_value(element, use);
}

// Whether its keys are data: all of the example's other objects have members that stand for something.
bool is_map(std::string_view name) {
  constexpr std::string_view kMaps[] = {
      "labels", "ports", "selector", "identities", "providers", "jwks", "includeAdditionalHeaders"};
  return std::ranges::find(kMaps, name) != std::end(kMaps);
}

struct Member {
  json::object* of;
  std::string name;
};

void collect_members(json::value& value, bool of_map, std::vector<Member>& into) {
  if (auto* array = value.if_array())
    for (auto& element : *array) collect_members(element, false, into);
  auto* object = value.if_object();
  if (object == nullptr) return;
  for (auto& member : *object) {
    const std::string name(member.key().data(), member.key().size());
    if (!of_map) into.push_back({.of = object, .name = name});
    collect_members(member.value(), !of_map && is_map(name), into);
  }
}

// A request of a stranger, by every set of policies.
void work_with(const RoutingTable& table) {
  const session::Routes routes(table);
  for (const auto& pod : table.pods) {
    expect(routes.find_pod(pod.netns) != nullptr);
    const auto* policing = routes.policing_of(pod.netns);
    expect((policing != nullptr) == pod.policies.has_value());
    if (policing == nullptr) continue;
    http::Request request;
    request.method = "GET";
    request.authority = "a.example.com";
    request.path = "/a/x/b/c";
    const auto form = http::normalize(request, table.settings.http.path_normalization);
    expect(form.has_value());
    const auto known = policing->authorizer.know({.identity = "spiffe://td/ns/shop/sa/web",
                                                  .client_ip = test::ip("10.0.0.1"),
                                                  .remote_ip = test::ip("10.0.0.1"),
                                                  .server_ip = test::ip("10.0.0.2"),
                                                  .server_port = 1});
    const authz::Subject subject{.request = request, .host = form->host, .path = form->path};
    const auto verdict = policing->authorizer.decide(known, subject);
    if (!policing->set.closed_by.empty()) expect(verdict.kind == authz::Verdict::Kind::kDeny);
  }
}

void try_text(std::string_view text) {
  const auto table = decode_routing_table(text);
  if (!table) return expect(table.error().message.starts_with("routing table: "));
  const auto said = to_text(*table);
  const auto again = decode_routing_table(said);
  expect(again.has_value() && *again == *table && to_text(*again) == said);
  work_with(*table);
}

void try_value(std::string_view rest) {
  const auto place = take_two(rest);
  auto table = whole();
  std::vector<json::value*> values;
  for_each_value(table, [&](json::value& value) { values.push_back(&value); });
  json::error_code error;
  auto value = json::parse({rest.data(), rest.size()}, error);
  if (error && !std::ranges::all_of(rest, [](char c) { return c > 0; })) return;  // no text that JSON has
  *values[place % values.size()] = error ? json::value(json::string(rest.data(), rest.size())) : std::move(value);
  try_text(json::serialize(table));
}

void try_member(std::string_view rest) {
  const auto place = take_two(rest);
  if (!std::ranges::all_of(rest, [](char c) { return c > 0; })) return;
  auto table = whole();
  std::vector<Member> members;
  collect_members(table, false, members);
  const auto& member = members[place % members.size()];
  if (member.of->contains({rest.data(), rest.size()})) return;
  auto value = std::move(member.of->at(member.name));
  member.of->erase(member.name);
  member.of->emplace(json::string_view(rest.data(), rest.size()), std::move(value));
  expect(!decode_routing_table(json::serialize(table)));
}

void try_splice(std::string_view rest) {
  static const auto example = json::serialize(whole());
  const auto place = take_two(rest) % example.size();
  const auto gone = take_byte(rest);
  auto text = example;
  text.replace(place, gone, rest);
  try_text(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 == 0) try_text(rest);
  if (data[0] % 4 == 1) try_value(rest);
  if (data[0] % 4 == 2) try_member(rest);
  if (data[0] % 4 == 3) try_splice(rest);
  return 0;
}
