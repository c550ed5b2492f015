// SPDX-License-Identifier: Apache-2.0
// A provider as JSON, without its name: it is the key of a map.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "underpass/routing_table.h"
#include "underpass/routing_table_json/values.h"

namespace underpass::routing_table_json {

inline json::value encode_address(const IpAddress& address) { return json::value(address.to_string()); }

inline IpAddress decode_address(const json::value& value, const std::string& path, Problem& problem) {
  const auto* text = value.if_string();
  const auto address = text == nullptr ? std::nullopt : IpAddress::parse(std::string(text->data(), text->size()));
  if (!address) problem.add(path, "not an IP address");
  return address.value_or(IpAddress{});
}

inline json::object encode_provider(const RoutingTable::Provider& told) {
  const auto& provider = told.settings;
  const auto matches = [](const auto& list) { return encode_each(list, encode_string_match); };
  return {{"service", json::object{{"namespace", provider.service.ns}, {"name", provider.service.name}}},
          {"port", provider.port},
          {"addresses", encode_each(told.addresses, encode_address)},
          {"timeoutMs", provider.timeout.count()},
          {"failOpen", provider.fail_open},
          {"statusOnError", provider.status_on_error},
          {"pathPrefix", provider.path_prefix},
          {"includeRequestHeaders", matches(provider.include_request_headers)},
          {"includeAdditionalHeaders", encode_map(provider.include_additional_headers)},
          {"maxRequestBytes", provider.max_request_bytes},
          {"allowPartialMessage", provider.allow_partial_message},
          {"headersToUpstreamOnAllow", matches(provider.headers_to_upstream_on_allow)},
          {"headersToDownstreamOnDeny", matches(provider.headers_to_downstream_on_deny)},
          {"headersToDownstreamOnAllow", matches(provider.headers_to_downstream_on_allow)}};
}

inline NamespacedName decode_service_name(const json::value& value, const std::string& path, Problem& problem) {
  Object service(value, path, problem);
  auto out = decode_id(service);
  service.end();
  return out;
}

inline RoutingTable::Provider decode_provider(const json::value& value, const std::string& path, std::string name,
                                              Problem& problem) {
  Object provider(value, path, problem);
  const auto matches = [&](std::string_view list) { return decode_each(provider, list, problem, decode_string_match); };
  RoutingTable::Provider told;
  auto& out = told.settings;
  out.name = std::move(name);
  if (const auto* service = provider.member("service"))
    out.service = decode_service_name(*service, provider.path_of("service"), problem);
  out.port = provider.number<std::uint16_t>("port", 1);
  told.addresses = decode_each(provider, "addresses", problem, decode_address);
  out.timeout = decode_duration(provider, "timeoutMs", 1);
  out.fail_open = provider.boolean("failOpen");
  out.status_on_error = provider.number<unsigned>("statusOnError", 400, 599);
  out.path_prefix = provider.string("pathPrefix");
  out.include_request_headers = matches("includeRequestHeaders");
  out.include_additional_headers = decode_map(provider, "includeAdditionalHeaders", problem);
  out.max_request_bytes = provider.number<std::size_t>("maxRequestBytes");
  out.allow_partial_message = provider.boolean("allowPartialMessage");
  out.headers_to_upstream_on_allow = matches("headersToUpstreamOnAllow");
  out.headers_to_downstream_on_deny = matches("headersToDownstreamOnDeny");
  out.headers_to_downstream_on_allow = matches("headersToDownstreamOnAllow");
  provider.end();
  return told;
}

}  // namespace underpass::routing_table_json
