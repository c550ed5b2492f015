// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/log/ends.h"

#include <arpa/inet.h>

#include "underpass/abi_names.h"
#include "underpass/ip_address.h"
#include "userspace_proxy/log/text.h"

namespace underpass::log {
namespace {

using session::Record;

void append_end(std::string& out, std::string_view key, const up_addr& addr, __be16 port, const Record& record,
                Record::Name first) {
  out += key;
  out += R"({"ip":)";
  if (port == 0) {
    out += R"(null,"port":null)";
  } else {
    append_string(out, IpAddress(addr).to_string());
    out += R"(,"port":)";
    append_number(out, ntohs(port));
  }
  append_name(out, R"(,"namespace":)", record.name(first));
  append_name(out, R"(,"pod":)", record.name(static_cast<Record::Name>(first + 1)));
  append_name(out, R"(,"identity":)", record.name(static_cast<Record::Name>(first + 2)));
  out += '}';
}

void write_way(std::string& out, const Record& record) {
  // Of a connection that nobody knows there is no direction either.
  if (record.client_port == 0)
    out += R"(,"direction":null)";
  else
    out += record.inbound ? R"(,"direction":"inbound")" : R"(,"direction":"outbound")";
  out += R"(,"way":"proxied","tunnel":)";
  append_string(out, name_of(record.tunnel));
  append_end(out, R"(,"source":)", record.client, record.client_port, record, Record::kSourceNamespace);
  append_end(out, R"(,"destination":)", record.server, record.server_port, record, Record::kDestinationNamespace);
  out += R"(,"service":)";
  if (record.dialled_port == 0) {
    out += R"(null,"dialled":null)";
  } else {
    const std::string port = std::to_string(ntohs(record.dialled_port));
    const IpAddress ip(record.dialled);
    append_string(out, std::string(record.name(Record::kServiceNamespace)) + "/" +
                           std::string(record.name(Record::kServiceName)) + ":" + port);
    out += R"(,"dialled":)";
    append_string(out, (ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]") + ":" + port);
  }
}

}  // namespace

void append_way(std::string& out, const Record& record) {
  if (record.written.empty()) write_way(record.written, record);
  out += record.written;
}

}  // namespace underpass::log
