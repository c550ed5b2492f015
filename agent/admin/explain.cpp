// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/explain.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <charconv>
#include <optional>
#include <vector>

#include "agent/admin/explain_policy.h"
#include "agent/admin/explain_way.h"
#include "agent/admin/service_views.h"
#include "agent/admin/views.h"
#include "underpass/abi_names.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;
using compile::Frontend;
using compile::PodStatus;
using compile::PortTables;
using ServicePort = PortTables::value_type;  // key and table

constexpr std::string_view kClusterDomain = "cluster.local";

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

bool is_dns_name(std::string_view text) {
  return !text.empty() && text.size() <= 254 && text.front() != '.' && !text.contains("..") &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
         });
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = end == text.data() + text.size();
  return error == std::errc{} && whole && port != 0 ? std::optional(port) : std::nullopt;
}

std::vector<std::string> labels_of(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::vector<std::string> labels;
  for (std::size_t at = 0; at <= host.size();) {
    const std::size_t end = std::min(host.find('.', at), host.size());
    labels.emplace_back(host.substr(at, end - at));
    at = end + 1;
  }
  for (std::string& label : labels)
    for (char& c : label) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return labels;
}

// The Service that a pod of namespace `ns` means by this name: web, web.shop, web.shop.svc, web.shop.svc.cluster.local.
std::optional<NamespacedName> service_of_name(std::string_view host, const std::string& ns) {
  const std::vector<std::string> labels = labels_of(host);
  if (labels.size() == 1) return NamespacedName{.ns = ns, .name = labels[0]};
  const NamespacedName service{.ns = labels[1], .name = labels[0]};
  if (labels.size() == 2) return service;
  if (labels[2] != "svc") return std::nullopt;
  if (labels.size() == 3) return service;
  return labels.size() == 5 && labels[3] + "." + labels[4] == kClusterDomain ? std::optional(service) : std::nullopt;
}

std::string_view upper_of(model::Protocol protocol) { return protocol == model::Protocol::kUdp ? "UDP" : "TCP"; }

// "10.96.0.1:80/TCP": how a conflict's cause names a frontend.
std::string with_protocol(const IpAddress& ip, std::uint16_t port, model::Protocol protocol) {
  return endpoint_text(ip, port) + "/" + std::string(upper_of(protocol));
}

IpAddress unspecified_of(const IpAddress& family) {
  return family.is_v4() ? IpAddress::parse("0.0.0.0").value() : IpAddress();
}

const PodStatus* find_pod(const ExplainInput& input, const NamespacedName& id) {
  const auto found = std::ranges::find(input.pods, id, &PodStatus::id);
  return found != input.pods.end() ? &*found : nullptr;
}

// As connect() looks up: the address itself, then, at an address of a node, a NodePort.
const ServicePort* find_service_at(const ExplainInput& input, const Frontend& dialled) {
  const auto find = [&](const Frontend& wanted) -> const ServicePort* {
    const auto found = std::ranges::find_if(input.services, [&](const ServicePort& port) {
      return port.first.protocol == wanted.protocol && std::ranges::binary_search(port.second.frontends, wanted);
    });
    return found != input.services.end() ? &*found : nullptr;
  };
  if (const ServicePort* exact = find(dialled)) return exact;
  if (std::ranges::find(input.node_addresses, dialled.ip) == input.node_addresses.end()) return nullptr;
  return find({.ip = unspecified_of(dialled.ip), .port = dialled.port, .protocol = dialled.protocol});
}

// What is known of a Service that is not in force, or not whole.
std::string refusals_of(const ExplainInput& input, const NamespacedName& service) {
  std::string out;
  for (const model::Diagnostic& diagnostic : input.conflicts) {
    if (diagnostic.kind != "Service" || diagnostic.id != service) continue;
    out += (out.empty() ? "" : "; ") + (diagnostic.path.empty() ? "" : diagnostic.path + ": ") + diagnostic.cause;
  }
  return out;
}

struct Target {
  Frontend dialled;
  const ServicePort* service = nullptr;  // nullptr: no Service is there
};

// Where the name leads: in the family of the pod's first address if the Service has it, else in the other one.
std::expected<Target, CommandError> find_named(const ExplainRequest& request, const ExplainInput& input,
                                               const PodStatus& client) {
  const auto service = service_of_name(request.to.host, request.from.ns);
  if (!service) {
    return refuse(ErrorCode::kNotFound,
                  in_quotes(request.to.host) + " is not the name of a Service: give the address that it resolves to");
  }
  std::string others;
  std::vector<const ServicePort*> ports;  // IPv4 first
  for (auto at = input.services.lower_bound({.service = *service, .protocol = {}, .port = 0, .v6 = false});
       at != input.services.end() && at->first.service == *service; ++at) {
    if (at->first.port == request.to.port && at->first.protocol == request.protocol) {
      ports.push_back(&*at);
    } else {
      const std::string port = std::to_string(at->first.port) + "/" + std::string(upper_of(at->first.protocol));
      if (!others.ends_with(port)) others += (others.empty() ? "" : ", ") + port;
    }
  }
  const std::string name = "Service " + service->to_string();
  if (ports.empty()) {
    const std::string refusals = refusals_of(input, *service);
    const std::string why = !refusals.empty() ? ": " + refusals : "";
    if (others.empty() && why.empty()) {
      return refuse(ErrorCode::kNotFound, name +
                                              ": not found among those that have an address of their own (the name " +
                                              "of a headless one resolves to its pods: give a pod's address)");
    }
    return refuse(ErrorCode::kNotFound, name + " has no port " + std::to_string(request.to.port) + "/" +
                                            std::string(upper_of(request.protocol)) + " in force" + why +
                                            (others.empty() ? "" : " (it has " + others + ")"));
  }
  const bool v6 = !client.ips.empty() && !client.ips.front().is_v4();
  const auto preferred = std::ranges::find(ports, v6, [](const ServicePort* port) { return port->first.v6; });
  const ServicePort* chosen = preferred != ports.end() ? *preferred : ports.front();
  const auto& frontends = chosen->second.frontends;
  // A name resolves to the cluster IP, where the port is the Service's own.
  const auto own = std::ranges::find_if(frontends, [&](const Frontend& frontend) {
    return frontend.port == chosen->first.port && frontend.ip != unspecified_of(frontend.ip);
  });
  return Target{.dialled = own != frontends.end() ? *own : frontends.front(), .service = chosen};
}

std::expected<Target, CommandError> find_target(const ExplainRequest& request, const ExplainInput& input,
                                                const PodStatus& client) {
  const auto ip = IpAddress::parse(request.to.host);
  if (!ip) return find_named(request, input, client);
  const Frontend dialled{.ip = *ip, .port = request.to.port, .protocol = request.protocol};
  return Target{.dialled = dialled, .service = find_service_at(input, dialled)};
}

// What policy says of a connection to each of several ends.
struct Judgements {
  std::size_t count = 0;
  std::size_t denied = 0;
  Judgement first;         // of those that are allowed
  Judgement first_denied;  // and of the others
};

Judgements judge_all(const PodStatus& client, bool attested, const PodIndex& pods,
                     const std::vector<compile::Backend>& ends, const std::optional<RequestQuestion>& request,
                     const ExplainInput& input) {
  Judgements out;
  for (const auto& end : ends) {
    const PodStatus* server = pods.find(end.ip);
    const bool local = server != nullptr && server->enrolled && input.policy_of;
    auto judgement = local ? judge(client, attested, *server, end.ip, end.port, input.policy_of(*server).get(),
                                   input.workers.contains(server->netns_cookie))
                           : Judgement();
    if (request && judgement.worker_decides && server->http)
      judgement = judge_request(*request, client, attested, *server, end.ip, end.port, *server->http,
                                input.path_normalization, judgement);
    Judgement& first = judgement.allowed ? out.first : out.first_denied;
    if (!judgement.allowed) ++out.denied;
    if (first.reason.empty()) first = std::move(judgement);
    ++out.count;
  }
  return out;
}

void add_policy(const Judgements& judged, const std::string& service, json::object& out) {
  const std::string all = std::to_string(judged.count);
  std::string reason(out["reason"].as_string());
  if (judged.denied == 0 || judged.denied < judged.count) {
    if (judged.denied != 0)
      reason +=
          "; " + std::to_string(judged.denied) + " of " + all + " backends are denied: " + judged.first_denied.reason;
    if (judged.denied == 0 && !judged.first.reason.empty()) reason += "; " + judged.first.reason;
    if (judged.denied == 0 && !judged.first.decided_by.is_null()) out["decidedBy"] = judged.first.decided_by;
    out["reason"] = reason;
    return;
  }
  out["verdict"] = "deny";
  out["way"] = "direct";
  out["decidedBy"] = judged.first_denied.decided_by;
  out["reason"] = (service.empty() ? "" : service + ": ") + judged.first_denied.reason +
                  (judged.count > 1 ? " (and likewise of all " + all + " backends)" : "");
}

// Why what this pod dials there is none of the mesh's business; empty: it is.
std::string why_outside(const PodStatus& client, const Frontend& dialled, const ExplainInput& input) {
  const std::string name = "Pod " + client.id.to_string();
  if (!client.enrolled) return name + " is not enrolled" + (client.reason.empty() ? "" : " (" + client.reason + ")");
  const bool excluded =
      dialled.protocol == model::Protocol::kTcp && input.excluded.contains({client.netns_cookie, dialled.port, false});
  return excluded ? name + " excludes port " + std::to_string(dialled.port) + " (exclude-outbound-ports)" : "";
}

json::value text_or_null(std::string_view text) { return text.empty() ? json::value(nullptr) : json::value(text); }

}  // namespace

Result<Destination> parse_destination(std::string_view text) {
  const auto malformed = [&](std::string_view why) {
    return fail(in_quotes(text) + ": " + std::string(why) + " (write NAME:PORT, 10.0.0.1:PORT or [fd00::1]:PORT)");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed("has no port");
  std::string_view host = text.substr(0, colon);
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return malformed("the port is not a number from 1 to 65535");
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool v6 = host.contains(':');
  if (v6 != bracketed) return malformed("only an IPv6 address stands in brackets, and always does");
  // All digits and dots is an address or nothing: no name ends in a number (RFC 1123 §2.1).
  const bool address = v6 || host.find_first_not_of("0123456789.") == std::string_view::npos;
  if (address && !IpAddress::parse(std::string(host))) return malformed("not an IP address");
  if (!address && !is_dns_name(host)) return malformed("the host is neither an address nor a name");
  return Destination{.host = std::string(host), .port = *port};
}

Result<NamespacedName> parse_pod_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == 0 || slash >= text.size() - 1 || text.find('/', slash + 1) != std::string_view::npos)
    return fail(in_quotes(text) + ": must be NAMESPACE/NAME");
  return NamespacedName{.ns = std::string(text.substr(0, slash)), .name = std::string(text.substr(slash + 1))};
}

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// None: it is not about a request.
std::expected<std::optional<RequestQuestion>, CommandError> decode_question(const json::object& request) {
  const json::value* method = request.if_contains("method");
  const json::value* path = request.if_contains("path");
  const json::value* headers = request.if_contains("headers");
  if (method == nullptr && path == nullptr && headers == nullptr) return std::nullopt;
  RequestQuestion out;
  if (method != nullptr) {
    if (!method->is_string() || method->get_string().empty()) return refuse(ErrorCode::kUsage, "method: not a method");
    out.method = method->get_string();
  }
  if (path != nullptr) {
    if (!path->is_string() || !path->get_string().starts_with("/"))
      return refuse(ErrorCode::kUsage, "path: must begin with /");
    out.path = path->get_string();
  }
  if (headers == nullptr) return out;
  if (!headers->is_array()) return refuse(ErrorCode::kUsage, "headers: not a list");
  for (const auto& header : headers->get_array()) {
    const std::string_view text = header.is_string() ? std::string_view(header.get_string()) : std::string_view();
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return refuse(ErrorCode::kUsage, "headers: " + in_quotes(text) + ": must be NAME:VALUE");
    out.headers.emplace_back(lower(text.substr(0, colon)), trimmed(text.substr(colon + 1)));
  }
  return out;
}

}  // namespace

std::expected<ExplainRequest, CommandError> decode_explain(const json::object& request) {
  const auto text_of = [&](std::string_view name) -> std::optional<std::string> {
    const json::value* value = request.if_contains(name);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string(value->get_string());
  };
  const auto from = parse_pod_name(text_of("from").value_or(""));
  if (!from) return refuse(ErrorCode::kUsage, "from: " + from.error().message);
  const auto to = parse_destination(text_of("to").value_or(""));
  if (!to) return refuse(ErrorCode::kUsage, "to: " + to.error().message);

  ExplainRequest out{.from = *from, .to = *to};
  if (const json::value* protocol = request.if_contains("protocol"); protocol != nullptr && !protocol->is_null()) {
    const std::string name = text_of("protocol").value_or("");
    if (name != "tcp" && name != "udp") return refuse(ErrorCode::kUsage, "protocol: neither tcp nor udp");
    if (name == "udp") out.protocol = model::Protocol::kUdp;
  }
  auto question = decode_question(request);
  if (!question) return std::unexpected(question.error());
  out.request = std::move(*question);
  return out;
}

Answer explain(const ExplainRequest& request, const ExplainInput& input) {
  const PodStatus* client = find_pod(input, request.from);
  if (client == nullptr)
    return refuse(ErrorCode::kNotFound, "Pod " + request.from.to_string() + ": not found on this node");
  const auto target = find_target(request, input, *client);
  if (!target) return std::unexpected(target.error());
  const Frontend& dialled = target->dialled;

  json::object out{
      {"verdict", "allow"},       {"way", "direct"},    {"reason", ""},
      {"decidedBy", nullptr},     {"service", nullptr}, {"dialled", endpoint_text(dialled.ip, dialled.port)},
      {"backends", json::array()}};
  const PodIndex pods(input.pods);
  const std::string outside = why_outside(*client, dialled, input);
  const auto ends = target->service != nullptr
                        ? target->service->second.backends
                        : std::vector<compile::Backend>{{.ip = dialled.ip, .port = dialled.port}};
  const bool tcp = request.protocol == model::Protocol::kTcp;  // datagrams are nobody's business
  Judgements judged;
  if (tcp) judged = judge_all(*client, outside.empty(), pods, ends, request.request, input);
  if (!outside.empty()) {
    const Way way = tcp ? way_from_outside(*client, pods, ends, {input.excluded, input.workers, input.remotes}) : Way{};
    out["way"] = name_of(way.way);
    out["reason"] =
        outside + ": its connections are as without Underpass" + (way.reason.empty() ? "" : "; " + way.reason);
    if (judged.count != 0)
      add_policy(judged, target->service != nullptr ? "Service " + port_text(target->service->first) : "", out);
    return out;
  }

  std::string service;  // "Service shop/web:80", to begin a sentence
  if (target->service != nullptr) {
    const auto& [key, table] = *target->service;
    service = "Service " + port_text(key);
    out["decidedBy"] =
        json::object{{"kind", "Service"}, {"namespace", key.service.ns}, {"name", key.service.name}, {"rule", nullptr}};
    out["service"] = text_or_null(port_text(key));
    json::array& backends = out["backends"].get_array();
    for (const compile::Backend& backend : table.backends)
      backends.emplace_back(endpoint_text(backend.ip, backend.port));
    if (table.backends.empty()) {
      out["verdict"] = "deny";
      out["reason"] = service + " has no endpoint that is ready: connect() is refused";
      return out;
    }
  }

  const Way way = tcp ? way_to_any(*client, pods, ends, {input.excluded, input.workers, input.remotes})
                      : Way{UP_WAY_DIRECT, "UDP is never short-circuited"};
  out["way"] = name_of(way.way);
  if (way.refused) out["verdict"] = "deny";
  std::string reason = (service.empty() ? "" : service + ": ") + way.reason;
  // The address of a Service at another port leads nowhere; one that two Services claim has one owner.
  if (target->service == nullptr) {
    const auto near = std::ranges::find_if(input.services, [&](const ServicePort& port) {
      return std::ranges::any_of(port.second.frontends, [&](const Frontend& one) { return one.ip == dialled.ip; });
    });
    if (near != input.services.end()) {
      reason = with_protocol(dialled.ip, dialled.port, dialled.protocol) + " is no port of Service " +
               near->first.service.to_string() + ", whose address that is: it is dialled as it stands" +
               (way.way == UP_WAY_PROXIED ? "; " + way.reason : "");
    }
  }
  const std::string claimed = with_protocol(dialled.ip, dialled.port, dialled.protocol) + " ";
  for (const model::Diagnostic& conflict : input.conflicts) {
    if (conflict.kind == "Service" && conflict.cause.starts_with(claimed))
      reason += "; Service " + conflict.id.to_string() + " claims that address too and is refused";
  }
  out["reason"] = reason;
  if (judged.count != 0) add_policy(judged, service, out);
  return out;
}

}  // namespace underpass::admin
