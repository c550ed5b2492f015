// SPDX-License-Identifier: Apache-2.0
// Written by hand, not through a JSON value: it runs once for every connection.
#include "userspace_proxy/log/access_line.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

#include "underpass/ip_address.h"

namespace underpass::log {
namespace {

using session::Record;

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

// JSON (RFC 8259 §7). Names are the API server's, so the escapes are for what cannot be and must not break the line.
void append_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_name(std::string& out, std::string_view key, std::string_view text) {
  out += key;
  if (text.empty())
    out += "null";
  else
    append_string(out, text);
}

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

// RFC 3339 in UTC. Not gmtime(), which looks for the timezone's file.
void append_time(std::string& out, std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<milliseconds>(time - day));
  std::array<char, 40> text{};
  auto put = [at = text.data()](unsigned number, int digits, char after) mutable {
    for (int i = digits; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
    at[digits] = after;
    at += digits + 1;
    return static_cast<const char*>(at);
  };
  put(static_cast<unsigned>(static_cast<int>(date.year())), 4, '-');
  put(static_cast<unsigned>(date.month()), 2, '-');
  put(static_cast<unsigned>(date.day()), 2, 'T');
  put(static_cast<unsigned>(clock.hours().count()), 2, ':');
  put(static_cast<unsigned>(clock.minutes().count()), 2, ':');
  put(static_cast<unsigned>(clock.seconds().count()), 2, '.');
  const char* end = put(static_cast<unsigned>(clock.subseconds().count()), 3, 'Z');
  out.append(static_cast<const char*>(text.data()), end);
}

}  // namespace

void append_access_line(std::string& out, const Record& record, const Ended& ended) {
  out += R"({"start":")";
  append_time(out, record.start);
  out += R"(","durationMs":)";
  append_number(out, static_cast<std::uint64_t>(ended.duration.count()));
  // Of a connection that nobody knows there is no direction either.
  if (record.client_port == 0)
    out += R"(,"direction":null)";
  else
    out += record.inbound ? R"(,"direction":"inbound")" : R"(,"direction":"outbound")";
  out += R"(,"way":"proxied")";
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
  out += R"(,"protocol":"tcp","flags":)";
  append_string(out, session::name_of(ended.flag));
  append_name(out, R"(,"details":)", ended.details);
  out += R"(,"bytesSent":)";
  append_number(out, ended.sent);
  out += R"(,"bytesReceived":)";
  append_number(out, ended.received);
  out += "}\n";
}

}  // namespace underpass::log
