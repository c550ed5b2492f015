// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_rest.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <ranges>
#include <string_view>

namespace underpass::test {
namespace json = boost::json;

namespace {

constexpr std::string_view kPartial = "as=PartialObjectMetadata";

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  for (const auto part : std::views::split(text, by)) parts.emplace_back(std::string_view(part));
  return parts;
}

FakeAnswer json_answer(unsigned status, std::string body) {
  return {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = std::move(body)};
}

FakeAnswer not_found_page() {
  return {.status = 404,
          .headers = {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}},
          .body = "404 page not found\n"};
}

// What fields of it are asked for, as pairs; only those that the server knows.
std::map<std::string, std::string> selected_fields(const FakeCall& call) {
  std::map<std::string, std::string> fields;
  for (const auto& term : split(call.parameter("fieldSelector"), ',')) {
    const auto equals = term.find('=');
    if (equals == std::string::npos) continue;
    fields[term.substr(0, equals)] = term.substr(term.find_first_not_of('=', equals));
  }
  return fields;
}

bool knows_field(const FakeCall& call, const std::string& field) {
  return field == "metadata.name" || field == "metadata.namespace" ||
         (field == "spec.nodeName" && call.resource->kind == "Pod");
}

// A continue token: "<version> <namespace> <name>" of the last object told, in characters that a URL does not take.
std::string continue_token(std::uint64_t version, const NamespacedName& last) {
  return std::to_string(version) + "+/=&% " + last.ns + " " + last.name;
}

struct Continued {
  std::uint64_t version = 0;
  NamespacedName after;
};

std::optional<Continued> parse_token(const std::string& token) {
  const auto parts = split(token, ' ');
  if (parts.size() != 3 || !parts[0].ends_with("+/=&%")) return std::nullopt;
  return Continued{std::strtoull(parts[0].c_str(), nullptr, 10), {parts[1], parts[2]}};
}

std::string list_head(const FakeCall& call) {
  const bool partial = call.accept.find(kPartial) != std::string::npos;
  const std::string kind = partial ? "PartialObjectMetadataList" : call.resource->kind + "List";
  const std::string version = partial ? "meta.k8s.io/v1" : call.resource->api_version(call.version);
  return R"({"kind":")" + kind + R"(","apiVersion":")" + version + R"(","metadata":)";
}

// The members of a built-in kind's list say neither kind nor version.
std::string list_element(const FakeCall& call, const FakeObject& object) {
  if (call.resource->custom || call.accept.find(kPartial) != std::string::npos) {
    return text_for(call, object, object.version);
  }
  return object.text("{", object.version);
}

struct Page {
  std::uint64_t version = 0;
  std::size_t limit = 0;  // 0: none
  NamespacedName after;
};

FakeAnswer list_page(const FakeCall& call, const FakeObjectMap& objects, const Page& page) {
  std::string items;
  std::size_t count = 0, rest = 0;
  NamespacedName last;
  for (auto at = page.after.name.empty() ? objects.begin() : objects.upper_bound(page.after); at != objects.end();
       ++at) {
    if (!call_sees(call, *at->second)) continue;
    if (page.limit != 0 && count == page.limit) {
      ++rest;
      continue;
    }
    items += (count++ == 0 ? "" : ",") + list_element(call, *at->second);
    last = at->first;
  }
  json::object metadata{{"resourceVersion", std::to_string(page.version)}};
  if (rest > 0) {
    metadata["continue"] = continue_token(page.version, last);
    // Not told for a part of the objects, as by the real one.
    if (call.parameter("fieldSelector").empty()) metadata["remainingItemCount"] = rest;
  }
  return json_answer(200, list_head(call) + json::serialize(metadata) + R"(,"items":[)" + items + "]}");
}

FakeAnswer answer_list(const FakeCall& call, const FakeObjects& objects) {
  for (const auto& [field, value] : selected_fields(call)) {
    if (!knows_field(call, field)) {
      return status_answer(400, "BadRequest", "field label not supported: " + field);
    }
  }
  Page page{.version = objects.version()};
  page.limit = std::strtoull(call.parameter("limit").c_str(), nullptr, 10);
  const auto wanted = call.parameter("resourceVersion");
  if (const auto token = call.parameter("continue"); !token.empty()) {
    const auto continued = parse_token(token);
    if (!continued) return status_answer(400, "BadRequest", "continue key is not valid: " + token);
    if (!wanted.empty() && wanted != "0") {
      return status_answer(400, "BadRequest", "specifying resource version is not allowed when using continue");
    }
    page.version = continued->version;
    page.after = continued->after;
    const auto then = objects.objects_at(*call.resource, page.version);
    return then ? list_page(call, *then, page) : expired_answer();
  }
  if (std::strtoull(wanted.c_str(), nullptr, 10) > page.version) {
    return status_answer(504, "Timeout",
                         "Too large resource version: " + wanted + ", current: " + std::to_string(page.version));
  }
  if (wanted == "0") page.limit = 0;  // answered from the watch cache, which knows no pages
  return list_page(call, objects.objects(*call.resource), page);
}

json::value details_of(const FakeCall& call) {
  json::object details{{"kind", call.resource->plural}};
  if (!call.resource->group.empty()) details["group"] = call.resource->group;
  if (!call.name.empty()) details["name"] = call.name;
  return details;
}

FakeAnswer not_found(const FakeCall& call) {
  return status_answer(404, "NotFound", call.resource->full_name() + " \"" + call.name + "\" not found",
                       details_of(call));
}

FakeAnswer answer_write(const FakeCall& call, FakeObjects& objects) {
  boost::system::error_code error;
  json::value value = json::parse(call.body, error);
  if (error || !value.is_object() || !value.as_object().contains("metadata")) {
    return status_answer(400, "BadRequest", "the object provided is unrecognized");
  }
  auto& object = value.as_object();
  auto& metadata = object.at("metadata").as_object();
  FakeCall named = call;
  if (const auto* name = metadata.if_contains("name"); name != nullptr) named.name = name->as_string().c_str();
  if (call.resource->namespaced) metadata["namespace"] = call.ns;
  const NamespacedName id{call.resource->namespaced ? call.ns : "", named.name};
  const auto& there = objects.objects(*call.resource);
  if (call.method == "POST" && there.contains(id)) {
    return status_answer(409, "AlreadyExists", call.resource->full_name() + " \"" + named.name + "\" already exists",
                         details_of(named));
  }
  if (call.method == "PUT" && !there.contains(id)) return not_found(named);
  object["kind"] = call.resource->kind;
  object["apiVersion"] = call.resource->api_version(call.version);
  objects.put(value);
  const auto& made = *objects.objects(*call.resource).at(id);
  return json_answer(call.method == "POST" ? 201 : 200, text_for(call, made, made.version));
}

FakeAnswer answer_delete(const FakeCall& call, FakeObjects& objects) {
  if (!objects.remove(*call.resource, {call.ns, call.name})) return not_found(call);
  FakeAnswer answer = status_answer(200, "", "", details_of(call));
  answer.body = json::serialize(
      json::value{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}});
  return answer;
}

FakeAnswer answer_object(const FakeCall& call, const FakeObjects& objects) {
  const auto& there = objects.objects(*call.resource);
  const auto found = there.find({call.ns, call.name});
  if (found == there.end()) return not_found(call);
  return json_answer(200, text_for(call, *found->second, found->second->version));
}

// /apis/GROUP/VERSION: which resources there are.
FakeAnswer answer_discovery(const FakeCall& call, const FakeObjects& objects) {
  json::array resources;
  std::string group_version;
  for (const auto& resource : fake_resources()) {
    for (const auto& version : resource.versions) {
      if (call.path != resource.group_path(version) || !objects.serves(resource, version)) continue;
      group_version = resource.api_version(version);
      resources.push_back({{"name", resource.plural},
                           {"singularName", ""},
                           {"namespaced", resource.namespaced},
                           {"kind", resource.kind},
                           {"verbs", {"create", "delete", "get", "list", "update", "watch"}}});
    }
  }
  if (resources.empty()) return not_found_page();
  return json_answer(200, json::serialize(json::value{{"kind", "APIResourceList"},
                                                      {"apiVersion", "v1"},
                                                      {"groupVersion", group_version},
                                                      {"resources", resources}}));
}

}  // namespace

std::string percent_decoded(std::string_view text, bool plus_is_blank) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '%' && at + 2 < text.size()) {
      out += static_cast<char>(std::strtol(std::string(text.substr(at + 1, 2)).c_str(), nullptr, 16));
      at += 2;
    } else {
      out += text[at] == '+' && plus_is_blank ? ' ' : text[at];
    }
  }
  return out;
}

std::string FakeCall::parameter(const std::string& key) const {
  const auto found = query.find(key);
  return found == query.end() ? "" : found->second;
}

std::string FakeCall::collection() const {
  return resource == nullptr ? path : resource->group_path(version) + "/" + resource->plural;
}

bool FakeCall::is_watch() const {
  const auto watch = parameter("watch");
  return resource != nullptr && method == "GET" && name.empty() && (watch == "true" || watch == "1");
}

bool FakeCall::is_list() const { return resource != nullptr && method == "GET" && name.empty() && !is_watch(); }

std::string FakeCall::verb() const {
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "DELETE") return "delete";
  return is_watch() ? "watch" : is_list() ? "list" : "get";
}

FakeCall parse_call(const std::string& method, const std::string& target, const FakeObjects& objects) {
  FakeCall call{.method = method};
  const auto question = target.find('?');
  call.path = percent_decoded(target.substr(0, question), /*plus_is_blank=*/false);
  if (question != std::string::npos) {
    for (const auto& pair : split(target.substr(question + 1), '&')) {
      const auto equals = pair.find('=');
      const auto value = equals == std::string::npos ? "" : pair.substr(equals + 1);
      call.query[percent_decoded(pair.substr(0, equals), true)] = percent_decoded(value, true);
    }
  }
  for (const auto& resource : fake_resources()) {
    for (const auto& version : resource.versions) {
      if (!call.path.starts_with(resource.group_path(version) + "/") || !objects.serves(resource, version)) continue;
      auto rest = split(call.path.substr(resource.group_path(version).size() + 1), '/');
      std::string ns;
      if (resource.namespaced && rest.size() >= 3 && rest[0] == "namespaces") {
        ns = rest[1];
        rest.erase(rest.begin(), rest.begin() + 2);
      }
      if (rest.size() > 2 || rest[0] != resource.plural) continue;
      call.resource = &resource;
      call.version = version;
      call.ns = ns;
      call.name = rest.size() == 2 ? rest[1] : "";
      return call;
    }
  }
  return call;
}

FakeAnswer status_answer(unsigned code, const std::string& reason, const std::string& message, json::value details) {
  json::object status{{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", json::object()},
                      {"status", "Failure"}, {"message", message}, {"reason", reason}};
  if (!details.is_null()) status["details"] = std::move(details);
  status["code"] = code;
  return json_answer(code, json::serialize(status) + "\n");
}

FakeAnswer usual_answer(unsigned code, const FakeCall& call) {
  switch (code) {
    case 401:
      return status_answer(401, "Unauthorized", "Unauthorized");
    case 403: {
      if (call.resource == nullptr) break;
      const std::string scope = call.ns.empty() ? "at the cluster scope" : "in the namespace \"" + call.ns + "\"";
      return status_answer(403, "Forbidden",
                           call.resource->full_name() + " is forbidden: User \"" + call.user + "\" cannot " +
                               call.verb() + " resource \"" + call.resource->plural + "\" in API group \"" +
                               call.resource->group + "\" " + scope,
                           details_of(call));
    }
    case 404:
      return not_found_page();
    case 429:
      return status_answer(429, "TooManyRequests", "Too many requests, please try again later.");
    case 500:
      return status_answer(500, "InternalError", "Internal error occurred: etcdserver: leader changed");
    case 503:
      return status_answer(503, "ServiceUnavailable", "the server is currently unable to handle the request");
    case 504:
      return status_answer(504, "Timeout", "Timeout: request did not complete within the allotted duration");
    default:
      break;
  }
  return status_answer(code, "Unknown", "made up by the fake API server");
}

FakeAnswer expired_answer() {
  return status_answer(410, "Expired",
                       "The provided continue parameter is too old to display a consistent list result.");
}

FakeAnswer empty_list_answer(const FakeCall& call, const FakeObjects& objects) {
  return json_answer(
      200, list_head(call) + R"({"resourceVersion":")" + std::to_string(objects.version()) + R"("},"items":[]})");
}

FakeAnswer answer_call(const FakeCall& call, FakeObjects& objects, const json::value& server_version) {
  if (call.path == "/version") return json_answer(200, json::serialize(server_version));
  if (call.path == "/readyz" || call.path == "/livez" || call.path == "/healthz") {
    return {.headers = {{"Content-Type", "text/plain; charset=utf-8"}}, .body = "ok"};
  }
  if (call.resource == nullptr) return answer_discovery(call, objects);
  if (call.method == "GET") return call.name.empty() ? answer_list(call, objects) : answer_object(call, objects);
  if (call.method == "POST" || call.method == "PUT") return answer_write(call, objects);
  if (call.method == "DELETE") return answer_delete(call, objects);
  return status_answer(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

bool call_sees(const FakeCall& call, const FakeObject& object) {
  if (!call.ns.empty() && call.ns != object.id.ns) return false;
  return std::ranges::all_of(selected_fields(call), [&](const auto& field) {
    if (field.first == "metadata.name") return object.id.name == field.second;
    if (field.first == "metadata.namespace") return object.id.ns == field.second;
    return object.node == field.second;
  });
}

std::string text_for(const FakeCall& call, const FakeObject& object, std::uint64_t as_version) {
  std::string text = FakeObjects::text(*call.resource, call.version, object, as_version);
  if (call.accept.find(kPartial) == std::string::npos) return text;
  return json::serialize(json::value{{"kind", "PartialObjectMetadata"},
                                     {"apiVersion", "meta.k8s.io/v1"},
                                     {"metadata", json::parse(text).at("metadata")}});
}

bool Fault::applies_to(const FakeCall& call) const {
  if (left == 0 || (!path.empty() && path != call.path && path != call.collection())) return false;
  switch (of) {
    case Of::kLists:
      return call.is_list();
    case Of::kWatches:
      return call.is_watch();
    case Of::kOthers:
      return !call.is_list() && !call.is_watch();
    case Of::kAll:
      break;
  }
  return true;
}

}  // namespace underpass::test
