// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/protocol.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "underpass/strict_json.h"

namespace underpass::cni {
namespace {

namespace json = boost::json;
using strict_json::Object;
using strict_json::Problem;

// Raised with each change that the other end would misunderstand.
constexpr std::uint64_t kProtocol = 1;

constexpr std::array<std::pair<Command, std::string_view>, 3> kCommands{{
    {Command::kAdd, "ADD"},
    {Command::kCheck, "CHECK"},
    {Command::kDel, "DEL"},
}};

Command command_of(std::string_view name, Problem& problem) {
  for (const auto& [command, known] : kCommands)
    if (name == known) return command;
  problem.add("command", "\"" + std::string(name) + "\": must be ADD, CHECK or DEL");
  return Command::kAdd;
}

void decode_ip(const json::value& value, const std::string& path, std::vector<IpAddress>& ips, Problem& problem) {
  const auto* text = value.if_string();
  const auto ip = text == nullptr ? std::nullopt : IpAddress::parse({text->data(), text->size()});
  if (ip)
    ips.push_back(*ip);
  else
    problem.add(path, "not an IP address");
}

}  // namespace

std::string_view name_of(Command command) {
  for (const auto& [known, name] : kCommands)
    if (known == command) return name;
  return "";
}

std::string encode_request(const Request& request) {
  json::array ips;
  for (const auto& ip : request.ips) ips.emplace_back(ip.to_string());
  return json::serialize(json::object{
      {"protocol", kProtocol},
      {"command", name_of(request.command)},
      {"containerId", request.container_id},
      {"interface", request.interface},
      {"namespace", request.pod.ns},
      {"pod", request.pod.name},
      {"uid", request.uid},
      {"ips", std::move(ips)},
  });
}

Result<Request> decode_request(std::string_view text) {
  const auto parsed = strict_json::parse(text);
  if (!parsed) return fail_in("question", parsed.error());
  Problem problem;
  Object object(*parsed, "", problem);
  object.number("protocol", kProtocol, kProtocol);
  Request request;
  request.command = command_of(object.string("command"), problem);
  request.container_id = object.string("containerId");
  request.interface = object.string("interface");
  request.pod = {.ns = object.string("namespace"), .name = object.string("pod")};
  request.uid = object.string("uid");
  object.array(
      "ips", [&](const json::value& value, const std::string& path) { decode_ip(value, path, request.ips, problem); });
  object.end();
  if (request.pod.ns.empty() || request.pod.name.empty()) problem.add("pod", "no name or no namespace");
  if (problem) return fail("question: " + problem.message());
  return request;
}

std::string encode_answer(const Answer& answer) {
  return json::serialize(json::object{{"ok", answer.ok}, {"reason", answer.reason}});
}

std::string encode_refusal(std::string_view cause) { return json::serialize(json::object{{"refused", cause}}); }

Result<Answer> decode_answer(std::string_view text) {
  const auto parsed = strict_json::parse(text);
  if (!parsed) return fail_in("answer", parsed.error());
  Problem problem;
  Object object(*parsed, "", problem);
  if (const auto* members = parsed->if_object(); members != nullptr && members->contains("refused")) {
    const auto cause = object.string("refused");
    return fail("it refuses the question: " + (problem ? problem.message() : cause));
  }
  const Answer answer{.ok = object.boolean("ok"), .reason = object.string("reason")};
  object.end();
  if (problem) return fail("answer: " + problem.message());
  return answer;
}

}  // namespace underpass::cni
